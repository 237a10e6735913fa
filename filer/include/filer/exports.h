// ExportTable: who may mount what, and as whom.
//
// Thread-safety: a value; const functions from any thread.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "filer/request.h"

namespace duet::filer {

enum class Squash : std::uint8_t { kNone, kRoot, kAll };

// Clients of one address or subnet, and what they may do.
struct ExportRule {
  Address network{};
  std::uint32_t prefix_bits = 0;  // of the IPv6 form: an IPv4 /24 is 120; 0 is everybody
  bool read_write = true;
  Squash squash = Squash::kRoot;
  std::uint32_t anonymous_uid = 65'534;
  std::uint32_t anonymous_gid = 65'534;
  bool secure_ports = false;  // only from ports below 1024
  friend bool operator==(const ExportRule&, const ExportRule&) = default;
};

struct Export {
  std::string path;               // "/vol0": the volume of that name
  std::vector<ExportRule> rules;  // the first that matches the client counts
  friend bool operator==(const Export&, const Export&) = default;
};

struct ExportTable {
  std::vector<Export> exports;

  // Null: no such export, or no rule for this client.
  [[nodiscard]] const ExportRule* find(std::string_view path, const Address& client) const;
  friend bool operator==(const ExportTable&, const ExportTable&) = default;
};

// "10.1.0.0/16", "::1", "*" (everybody).  Error: kInvalid.
Result<ExportRule> parse_client(std::string_view text);
[[nodiscard]] std::string client_text(const ExportRule& rule);
[[nodiscard]] std::string address_text(const Address& address);

// More than this in bytes is refused: the filer could not open again.
inline constexpr std::uint64_t kExportTableBytesMax = 16U << 20U;

// The bytes in which the system volume keeps the table (JSON, so that people can read it).
[[nodiscard]] std::string encode(const ExportTable& table);
// Error: kCorrupt.
Result<ExportTable> decode_exports(std::string_view text);

}  // namespace duet::filer
