#include "shelf/linux/disk_url.h"

#include <charconv>

#include "shelf/wire_format.h"

namespace duet::shelf {

namespace {

constexpr std::size_t kSocketPathMax = 107;  // sockaddr_un::sun_path less its NUL

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

bool is_name(std::string_view name) { return !name.empty() && name.size() <= kDiskNameMax; }

Result<DiskUrl> parse_unix(std::string_view rest) {
  const std::size_t hash = rest.rfind('#');
  if (hash == std::string_view::npos || hash == 0 || !is_name(rest.substr(hash + 1))) {
    return Error{Errc::kInvalid, "a shelf's disk is shelf+unix://path#name"};
  }
  if (hash > kSocketPathMax) {
    return Error{Errc::kInvalid, "the path of the shelf's socket is longer than 107 bytes"};
  }
  return DiskUrl{.kind = DiskUrl::Kind::kShelfUnix,
                 .path = std::string(rest.substr(0, hash)),
                 .address = {},
                 .disk = std::string(rest.substr(hash + 1)),
                 .key_file = {}};
}

Result<DiskUrl> parse_tcp(std::string_view rest, DiskUrl::Kind kind) {
  constexpr std::string_view kKeyFile = "?key_file=";
  std::string_view key_file;
  if (kind == DiskUrl::Kind::kShelfTls) {
    const std::size_t query = rest.find('?');
    if (query != std::string_view::npos) {
      key_file = rest.substr(query);
      rest = rest.substr(0, query);
      if (!take_prefix(key_file, kKeyFile) || key_file.empty()) {
        return Error{Errc::kInvalid, "behind a disk of a shelf may stand ?key_file=path"};
      }
    }
  }
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || !is_name(rest.substr(slash + 1))) {
    return Error{Errc::kInvalid, "a shelf's disk is shelf+tls://address:port/name, or shelf+tcp"};
  }
  const Result<os::TcpAddress> address = parse_address(rest.substr(0, slash));
  if (!address.ok()) {
    return address.error();
  }
  return DiskUrl{.kind = kind,
                 .path = {},
                 .address = address.value(),
                 .disk = std::string(rest.substr(slash + 1)),
                 .key_file = std::string(key_file)};
}

}  // namespace

std::string without_password(std::string_view url) {
  constexpr std::string_view kIscsi = "iscsi://";
  if (!url.starts_with(kIscsi)) {
    return std::string(url);
  }
  const std::string_view authority = url.substr(0, url.find('/', kIscsi.size()));
  const std::size_t at = authority.rfind('@');
  const std::size_t percent = authority.find('%');
  if (at == std::string_view::npos || percent > at) {
    return std::string(url);
  }
  return std::string(url.substr(0, percent)) + std::string(url.substr(at));
}

std::string_view without_key_file(std::string_view url) {
  return url.starts_with("shelf+tls://") ? url.substr(0, url.find('?')) : url;
}

Result<os::TcpAddress> parse_address(std::string_view text) {
  constexpr Error kWrong{Errc::kInvalid, "an address is 192.0.2.7:7420 or [2001:db8::7]:7420"};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return kWrong;
  }
  std::string_view ip = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = ip.starts_with('[') && ip.ends_with(']');
  if (bracketed) {
    ip = ip.substr(1, ip.size() - 2);
  }
  if (bracketed != (ip.find(':') != std::string_view::npos)) {
    return kWrong;
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty()) {
    return kWrong;
  }
  return os::TcpAddress::parse(ip, port);
}

Result<DiskUrl> DiskUrl::parse(std::string_view text) {
  if (text.empty() || text.find('\0') != std::string_view::npos) {
    return Error{Errc::kInvalid, "a disk needs a place"};
  }
  if (take_prefix(text, "shelf+unix://")) {
    return parse_unix(text);
  }
  if (take_prefix(text, "shelf+tcp://")) {
    return parse_tcp(text, Kind::kShelfTcp);
  }
  if (take_prefix(text, "shelf+tls://")) {
    return parse_tcp(text, Kind::kShelfTls);
  }
  DiskUrl url;
  if (take_prefix(text, "block://")) {
    if (!text.starts_with('/')) {
      return Error{Errc::kInvalid, "a block device is block:///absolute/path"};
    }
    url.kind = Kind::kBlock;
  } else if (take_prefix(text, "iscsi://")) {
    url.kind = Kind::kIscsi;
  } else if (text.find("://") != std::string_view::npos) {
    return Error{Errc::kInvalid,
                 "no such kind of disk: shelf+unix, shelf+tls, shelf+tcp, block, iscsi"};
  }
  url.path = text;
  return url;
}

}  // namespace duet::shelf
