// FrameReader: takes frames off a stream with few calls and few copies.
//
// One read brings as many small frames as have arrived; the payload of a large one goes straight to
// where it belongs, but for what came with its header.
//
// Thread-safety: the scheduler's thread only.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "platform/stream.h"
#include "platform/task.h"

namespace duet::shelf {

class FrameReader {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{256} << 10U;
  // Less than this is better read together with what follows it, and copied.
  static constexpr std::size_t kDirectBytes = std::size_t{32} << 10U;
  // What is read ahead with a header while payloads are large, and so copied.
  static constexpr std::size_t kAheadBytes = std::size_t{4} << 10U;

  explicit FrameReader(ByteStream& stream)
      : stream_(stream), buffer_(std::make_unique_for_overwrite<std::byte[]>(kBufferBytes)) {}

  [[nodiscard]] ConstBytes buffered() const { return {buffer_.get() + begin_, end_ - begin_}; }
  // REQUIRES: bytes <= buffered().size().
  void consume(std::size_t bytes) { begin_ += bytes; }

  // Moves what is buffered to the front of `into`, which shrinks.  True: nothing is left of it.
  bool take(MutableBytes& into) {
    const std::size_t count = std::min(into.size(), end_ - begin_);
    if (count > 0) {
      std::memcpy(into.data(), buffer_.get() + begin_, count);
      begin_ += count;
      into = into.subspan(count);
    }
    return into.empty();
  }

  // The payload of this frame went straight to its place: the next one probably will, too.
  void expect_large(bool large) { large_ = large; }

  // Waits until `bytes` are buffered.  False: the stream ended before.
  // REQUIRES: bytes <= kBufferBytes / 2.
  Task<bool> fill(std::size_t bytes) {
    while (end_ - begin_ < bytes) {
      make_room();
      const std::size_t room =
          large_ ? std::min(kAheadBytes, kBufferBytes - end_) : kBufferBytes - end_;
      const Result<std::size_t> got =
          co_await stream_.read_some(MutableBytes(buffer_.get() + end_, room));
      if (!got.ok() || got.value() == 0) {
        co_return false;
      }
      end_ += got.value();
    }
    co_return true;
  }

  // The rest of `into` that take() left.  False: the stream ended before.
  Task<bool> take_rest(MutableBytes into) {
    while (!into.empty()) {
      if (!large_) {
        // The end of a large payload, exactly; of a small one, what follows it as well.
        const bool filled = co_await fill(1);
        if (!filled) {
          co_return false;
        }
        take(into);
        continue;
      }
      const Result<std::size_t> got = co_await stream_.read_some(into);
      if (!got.ok() || got.value() == 0) {
        co_return false;
      }
      into = into.subspan(got.value());
    }
    co_return true;
  }

 private:
  void make_room() {
    if (begin_ == end_) {
      begin_ = end_ = 0;
    } else if (kBufferBytes - end_ < kBufferBytes / 2) {
      std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
  }

  ByteStream& stream_;
  std::unique_ptr<std::byte[]> buffer_;
  bool large_ = false;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace duet::shelf
