// XDR (RFC 4506) and ONC RPC (RFC 5531) coding for the benchmark, and one blocking TCP connection.
//
// Shared by the client and by the null server.  Nothing of the product is used here: a benchmark
// that shares its codec with the server measures neither.  Everything is for one thread; a
// protocol violation of the peer ends the program (die), as a benchmark has nothing to save.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace duet::bench {

inline constexpr uint32_t kNfsProgram = 100003;
inline constexpr uint32_t kMountProgram = 100005;
inline constexpr uint32_t kLastFragment = 0x80000000U;  // RFC 5531 section 11

// Prints `what` (and errno's text if errno is set) and exits with code 1.
[[noreturn]] void die(std::string_view what);

// Appends big-endian XDR items to a buffer that it owns.
class Encoder {
 public:
  void u32(uint32_t value);
  void u64(uint64_t value);
  void opaque(std::span<const uint8_t> bytes);  // length, bytes, padding
  void string(std::string_view text);
  void fixed(std::span<const uint8_t> bytes);  // bytes and padding
  void zeros(size_t count_bytes);

  // A record: begin() leaves room for the mark, end() fills it in; `later_bytes` follow the
  // encoded part on the wire without being in the buffer.
  size_t begin_record();
  void end_record(size_t mark_at, size_t later_bytes);

  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  void put_u32(size_t at, uint32_t value);
  std::vector<uint8_t> bytes_;
};

// Reads XDR items; never beyond the span: what is not there makes failed() true and reads as zero.
class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> bytes) : rest_(bytes) {}
  uint32_t u32();
  uint64_t u64();
  std::span<const uint8_t> opaque();
  void skip(size_t count_bytes);
  bool failed() const { return failed_; }

 private:
  std::span<const uint8_t> take(size_t count_bytes);
  std::span<const uint8_t> rest_;
  bool failed_ = false;
};

// A blocking TCP stream of RPC records, each in a single fragment.
class Stream {
 public:
  // Takes ownership of a connected socket and sets TCP_NODELAY.
  explicit Stream(int socket);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // The next whole record that has already been received (valid until receive()); empty if none.
  std::span<const uint8_t> next_record();
  // Waits for more bytes.  False when the peer has closed.
  bool receive();
  // Sends both parts, all of them.
  void send(std::span<const uint8_t> head, std::span<const uint8_t> data = {});

 private:
  int socket_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;  // buffer_[begin_, end_) is received and not yet handed out
  size_t end_ = 0;
};

// Connects to a numeric IPv4 address; -1 with errno set when refused.
int connect_tcp(const std::string& host, uint16_t port);

}  // namespace duet::bench
