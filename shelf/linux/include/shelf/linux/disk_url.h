// DiskUrl: where a shared disk is, as the configuration names it.
//
//   shelf+unix:///run/duet/shelf.sock#d0     a disk of a shelf on this machine
//   shelf+unix://run/shelf.sock#d0           ... its socket relative to the current directory
//   shelf+tcp://192.0.2.7:7420/d0            ... of a shelf in the network; [2001:db8::7]:7420
//   shelf+tls://192.0.2.7:7420/d0?key_file=/etc/duet/shelf.key   ... encrypted, and both prove
//   themselves block:///dev/disk/by-id/...              a disk with reservations of its own: SCSI,
//   NVMe, multipath iscsi://192.0.2.7:3260/iqn.../1          a unit of an iSCSI target
//   /srv/duet/d0.img                         a file: for one node alone

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "platform/linux/tcp.h"

namespace duet::shelf {

struct DiskUrl {
  enum class Kind : std::uint8_t { kFile, kShelfUnix, kShelfTcp, kShelfTls, kBlock, kIscsi };
  Kind kind = Kind::kFile;
  std::string path;        // kFile, kShelfUnix, kBlock; kIscsi: all behind the scheme
  os::TcpAddress address;  // kShelfTcp, kShelfTls
  std::string disk;        // of a shelf: its name there
  std::string key_file;    // kShelfTls: of the pre-shared key; empty: not named here

  // kInvalid, and the context says what is wrong.
  static Result<DiskUrl> parse(std::string_view text);
};

// For messages: the URL without the password that one of an iSCSI unit may hold.
[[nodiscard]] std::string without_password(std::string_view url);

// For names: the URL of a disk over TLS without the key file behind it.
[[nodiscard]] std::string_view without_key_file(std::string_view url);

// "192.0.2.7:7420", "[::1]:7420".  kInvalid.
[[nodiscard]] Result<os::TcpAddress> parse_address(std::string_view text);

}  // namespace duet::shelf
