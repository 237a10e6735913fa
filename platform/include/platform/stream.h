// ByteStream: one connected, ordered, reliable byte stream, as TCP gives.
//
// Implementations: platform/linux (a socket on epoll) and sim (memory, with
// chunks and delays drawn from a seed).
//
// Rules for both:
//   - at most one read and one write are under way at a time;
//   - an operation that can complete at once does, without a scheduler turn;
//   - destroying a waiting operation abandons it; its bytes may be partly moved,
//     so only close() may follow;
//   - the stream outlives its operations.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <coroutine>
#include <cstddef>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/wait.h"

namespace duet {

// A read or write the stream carries out; the caller owns it and its bytes.
// Its run() is called once `result` is set.
struct ReadOperation : Continuation {
  std::span<std::byte> buffer;
  Result<std::size_t> result = std::size_t{0};

 protected:
  ~ReadOperation() = default;
};

struct WriteOperation : Continuation {
  std::span<ConstBytes> parts;  // what is still to be written; the stream advances it
  Status result = Ok{};

 protected:
  ~WriteOperation() = default;
};

class ByteStream {
 public:
  class Read;
  class WriteAll;

  virtual ~ByteStream() = default;

  // Reads 1 .. buffer.size() bytes; 0 means the peer ended the stream.
  // REQUIRES: !buffer.empty().
  // Error: kIo when the connection broke.
  Read read_some(std::span<std::byte> buffer);

  // Hands every byte of `parts`, in order, to the stream.  Uses up `parts`.
  // Error: kIo when the connection broke; the peer may have got some of it.
  WriteAll write_all(std::span<ConstBytes> parts);

  // Ends both directions.  Waiting operations complete: the read with 0 bytes,
  // the write with kIo.
  virtual void close() = 0;

  // The same without coroutines.  True: `operation.result` is set and run() will
  // not be called.  False: run() is called in a later turn.
  [[nodiscard]] virtual bool start_read(ReadOperation& operation) = 0;
  [[nodiscard]] virtual bool start_write(WriteOperation& operation) = 0;
};

class [[nodiscard]] ByteStream::Read final : public ReadOperation {
 public:
  Read(ByteStream& stream, std::span<std::byte> into) : stream_(stream) { buffer = into; }
  void run() override { coroutine_.resume(); }
  bool await_ready() { return stream_.start_read(*this); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept { coroutine_ = coroutine; }
  Result<std::size_t> await_resume() const { return result; }

 private:
  ByteStream& stream_;
  std::coroutine_handle<> coroutine_;
};

class [[nodiscard]] ByteStream::WriteAll final : public WriteOperation {
 public:
  WriteAll(ByteStream& stream, std::span<ConstBytes> from) : stream_(stream) { parts = from; }
  void run() override { coroutine_.resume(); }
  bool await_ready() { return stream_.start_write(*this); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept { coroutine_ = coroutine; }
  Status await_resume() const { return result; }

 private:
  ByteStream& stream_;
  std::coroutine_handle<> coroutine_;
};

inline ByteStream::Read ByteStream::read_some(std::span<std::byte> buffer) {
  DUET_CHECK(!buffer.empty());
  return {*this, buffer};
}
inline ByteStream::WriteAll ByteStream::write_all(std::span<ConstBytes> parts) {
  return {*this, parts};
}

// Removes the first `count` bytes of `parts`.
// REQUIRES: count <= the bytes in `parts`.
inline void advance(std::span<ConstBytes>& parts, std::size_t count) {
  while (!parts.empty() && count >= parts.front().size()) {
    count -= parts.front().size();
    parts = parts.subspan(1);
  }
  if (count > 0) {
    DUET_CHECK(!parts.empty());
    parts.front() = parts.front().subspan(count);
  }
}

}  // namespace duet
