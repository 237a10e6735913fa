#include "filer/exports.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace duet::filer {

namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool is_mapped(const Address& address) {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin());
}

std::uint8_t mask_of(std::uint32_t prefix_bits, std::size_t byte) {
  const auto before = static_cast<std::uint32_t>(byte * 8);
  if (prefix_bits >= before + 8) {
    return 0xFF;
  }
  if (prefix_bits <= before) {
    return 0;
  }
  return static_cast<std::uint8_t>((0xFF00U >> (prefix_bits - before)) & 0xFFU);
}

bool matches(const ExportRule& rule, const Address& client) {
  for (std::size_t i = 0; i < client.size(); ++i) {
    if (((client[i] ^ rule.network[i]) & mask_of(rule.prefix_bits, i)) != 0) {
      return false;
    }
  }
  return true;
}

constexpr Error kBadClient{Errc::kInvalid, "export: a client is an address, a subnet or *"};

}  // namespace

const ExportRule* ExportTable::find(std::string_view path, const Address& client) const {
  for (const Export& entry : exports) {
    if (entry.path != path) {
      continue;
    }
    for (const ExportRule& rule : entry.rules) {
      if (matches(rule, client)) {
        return &rule;
      }
    }
    return nullptr;
  }
  return nullptr;
}

Result<ExportRule> parse_client(std::string_view text) {
  ExportRule rule;
  if (text == "*") {
    return rule;
  }
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  std::uint32_t first_bit = 0;
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    first_bit = 96;
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), rule.network.begin());
    std::memcpy(rule.network.data() + kMappedPrefix.size(), &v4, sizeof(v4));
  } else if (inet_pton(AF_INET6, address.c_str(), rule.network.data()) != 1) {
    return kBadClient;
  }
  rule.prefix_bits = 128;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    std::uint32_t bits = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() ||
        bits > 128 - first_bit) {
      return kBadClient;
    }
    rule.prefix_bits = first_bit + bits;
  }
  for (std::size_t i = 0; i < rule.network.size(); ++i) {
    rule.network[i] &= mask_of(rule.prefix_bits, i);
  }
  return rule;
}

std::string address_text(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_mapped(address)) {
    inet_ntop(AF_INET, address.data() + kMappedPrefix.size(), text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, address.data(), text, sizeof(text));
  }
  return text;
}

std::string client_text(const ExportRule& rule) {
  if (rule.prefix_bits == 0) {
    return "*";
  }
  std::string text = address_text(rule.network);
  if (rule.prefix_bits == 128) {
    return text;
  }
  const bool v4 = is_mapped(rule.network) && rule.prefix_bits >= 96;
  return text + "/" + std::to_string(rule.prefix_bits - (v4 ? 96 : 0));
}

}  // namespace duet::filer
