// XDR (RFC 4506): how ONC RPC writes numbers, strings and unions.
//
// XdrReader reads bytes that a stranger sent and that may lie in several pieces.  It copies
// only what straddles two pieces, never WRITE data; believes no length before it has
// compared it with the bytes that are there; and is sticky: after the first thing that does not
// fit, ok() is false and everything reads as zero or empty.  Check ok() before using what
// was read.
//
// XdrWriter makes the bytes of a message: small things copied, large ones referenced.
//
// Ownership: the reader borrows the pieces, the writer what gather() was given.
// Thread-safety: one thread at a time.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"

namespace duet::server {

inline constexpr std::size_t kXdrUnit = 4;
constexpr std::size_t xdr_padding(std::size_t bytes) {
  return (kXdrUnit - bytes % kXdrUnit) % kXdrUnit;
}

inline std::uint32_t load_big32(const std::byte* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof(value));
  return __builtin_bswap32(value);
}
inline void store_big32(std::byte* at, std::uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(at, &value, sizeof(value));
}
inline void store_big64(std::byte* at, std::uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof(value));
}

// Room for the things that straddle pieces.  All that one request may need at once:
// credentials 400, two handles 128, two names 512, a link's target 4096.
class XdrScratch {
 public:
  static constexpr std::size_t kBytes = 8192;
  // Empty: there is no room.
  MutableBytes take(std::size_t bytes);
  void reset() {
    memory_.reset();
    used_ = 0;
  }

 private:
  std::unique_ptr<std::byte[]> memory_;  // on first use
  std::size_t used_ = 0;
};

class XdrReader {
 public:
  XdrReader() = default;
  explicit XdrReader(ConstBytes bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  XdrReader(std::span<const ConstBytes> pieces, XdrScratch& scratch);

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t remaining() const { return here() + later_bytes_; }
  void fail();

  std::uint32_t u32() {
    if (here() < 4) [[unlikely]] {
      return u32_across();
    }
    const std::uint32_t value = load_big32(at_);
    at_ += 4;
    return value;
  }
  std::uint64_t u64() {
    const std::uint64_t high = u32();
    return high << 32U | u32();
  }
  // Fails on anything but 0 and 1.
  bool boolean();
  // Fails on anything from `bound` on.
  std::uint32_t enumeration(std::uint32_t bound);

  // opaque<max>: fails when it is longer.  Valid as long as the pieces and the scratch.
  ConstBytes opaque(std::size_t max);
  // opaque<>: its first `kept` bytes, so that a length can be judged (NAMETOOLONG) by who knows
  // the rule; the rest is skipped.
  ConstBytes opaque_prefix(std::size_t kept);
  std::string_view string_prefix(std::size_t kept);
  // opaque[bytes].
  ConstBytes fixed(std::size_t bytes);
  // opaque<>, appended to `pieces` where it lies; its length.
  std::uint32_t data(std::vector<ConstBytes>& pieces);
  void skip(std::size_t bytes);

  // CRC-32C of what is left.
  [[nodiscard]] std::uint32_t checksum() const;
  // The last four bytes of what is left, as a number; 0 when there are fewer.
  [[nodiscard]] std::uint32_t last_u32() const;

 private:
  [[nodiscard]] std::size_t here() const { return static_cast<std::size_t>(end_ - at_); }
  void next_piece();
  std::uint32_t u32_across();
  std::uint32_t length();
  ConstBytes take(std::size_t bytes);
  void copy(MutableBytes into);

  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  std::span<const ConstBytes> later_;
  std::size_t later_bytes_ = 0;
  XdrScratch* scratch_ = nullptr;
  bool ok_ = true;
};

class XdrWriter {
 public:
  XdrWriter() = default;
  XdrWriter(const XdrWriter&) = delete;
  XdrWriter& operator=(const XdrWriter&) = delete;

  void u32(std::uint32_t value) { store_big32(room(4), value); }
  void u64(std::uint64_t value) { store_big64(room(8), value); }
  void boolean(bool value) { u32(value ? 1 : 0); }
  // opaque<>, copied.
  void opaque(ConstBytes bytes);
  void string(std::string_view text) { opaque(std::as_bytes(std::span(text))); }
  // opaque[n], copied and padded.
  void fixed(ConstBytes bytes);
  // Bytes that are sent from where they lie; they must stay.  The caller pads.
  void gather(ConstBytes bytes);
  void pad(std::size_t bytes_before);

  [[nodiscard]] std::size_t size() const { return closed_bytes_ + open_bytes(); }
  // The message so far.  Valid until the next call that writes.
  std::span<ConstBytes> parts();
  // The first four bytes, to be filled in later.  REQUIRES: size() >= 4.
  [[nodiscard]] std::byte* front() { return first_.data(); }
  // Empty again.
  void reset();

 private:
  static constexpr std::size_t kFirstBytes = 640;  // every reply without names or data fits
  static constexpr std::size_t kBlockBytes = 16 * 1024;

  [[nodiscard]] std::size_t open_bytes() const { return static_cast<std::size_t>(at_ - open_); }
  std::byte* room(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes) [[unlikely]] {
      grow();
    }
    std::byte* place = at_;
    at_ += bytes;
    return place;
  }
  void grow();
  void close_part();
  void copy(ConstBytes bytes);

  std::array<std::byte, kFirstBytes> first_;
  std::byte* open_ = first_.data();  // the part being written
  std::byte* at_ = first_.data();
  std::byte* end_ = first_.data() + kFirstBytes;
  std::size_t closed_bytes_ = 0;
  std::vector<ConstBytes> parts_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
};

}  // namespace duet::server
