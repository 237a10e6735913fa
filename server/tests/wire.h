// Messages written byte by byte, without the code under test.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace duet::server::test {

class Wire {
 public:
  Wire& u32(std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      bytes_.push_back(static_cast<std::byte>(value >> shift));
    }
    return *this;
  }
  Wire& u64(std::uint64_t value) {
    return u32(static_cast<std::uint32_t>(value >> 32U)).u32(static_cast<std::uint32_t>(value));
  }
  Wire& raw(std::string_view text) {
    for (const char c : text) {
      bytes_.push_back(static_cast<std::byte>(c));
    }
    return *this;
  }
  // opaque<> or string<>.
  Wire& text(std::string_view text) {
    u32(static_cast<std::uint32_t>(text.size())).raw(text);
    while (bytes_.size() % 4 != 0) {
      bytes_.push_back(std::byte{0});
    }
    return *this;
  }
  Wire& add(const Wire& other) {
    bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
    return *this;
  }

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  friend bool operator==(const Wire&, const Wire&) = default;

 private:
  std::vector<std::byte> bytes_;
};

// One fragment, the last.
inline Wire record(const Wire& body) {
  return Wire().u32(0x8000'0000U | static_cast<std::uint32_t>(body.size())).add(body);
}
// In fragments of `bytes`.
inline Wire fragmented(const Wire& body, std::size_t bytes) {
  Wire out;
  const std::string_view all(reinterpret_cast<const char*>(body.bytes().data()), body.size());
  for (std::size_t at = 0; at < all.size(); at += bytes) {
    const std::string_view part = all.substr(at, bytes);
    const std::uint32_t last = at + bytes >= all.size() ? 0x8000'0000U : 0;
    out.u32(last | static_cast<std::uint32_t>(part.size())).raw(part);
  }
  return out;
}

inline Wire no_auth() { return Wire().u32(0).u32(0); }
inline Wire sys_auth(std::uint32_t uid, std::uint32_t gid, const std::vector<std::uint32_t>& groups,
                     std::string_view machine = "host") {
  Wire body;
  body.u32(0x1234).text(machine).u32(uid).u32(gid);
  body.u32(static_cast<std::uint32_t>(groups.size()));
  for (const std::uint32_t group : groups) {
    body.u32(group);
  }
  return Wire().u32(1).u32(static_cast<std::uint32_t>(body.size())).add(body);
}

// A call, without its record mark.
inline Wire call_to(std::uint32_t xid, std::uint32_t program, std::uint32_t version,
                    std::uint32_t procedure, const Wire& arguments = {},
                    const Wire& credentials = no_auth()) {
  return Wire()
      .u32(xid)
      .u32(0)
      .u32(2)
      .u32(program)
      .u32(version)
      .u32(procedure)
      .add(credentials)
      .add(no_auth())
      .add(arguments);
}
inline Wire nfs_call(std::uint32_t xid, std::uint32_t procedure, const Wire& arguments = {}) {
  return record(call_to(xid, 100003, 3, procedure, arguments, sys_auth(1000, 100, {4, 5})));
}

// An accepted reply, with its record mark.
inline Wire accepted(std::uint32_t xid, std::uint32_t status, const Wire& results = {}) {
  return record(Wire().u32(xid).u32(1).u32(0).u32(0).u32(0).u32(status).add(results));
}
inline Wire success(std::uint32_t xid, const Wire& results = {}) {
  return accepted(xid, 0, results);
}

}  // namespace duet::server::test
