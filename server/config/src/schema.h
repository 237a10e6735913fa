// The schema: which keys there are and what they may hold.

#pragma once

#include "reader.h"

namespace duet::config {

Config read_config(Reader& reader, const Value& root, std::string_view file);
void read_nodes(Reader& reader, const Value& nodes, Config& config);
void read_filers(Reader& reader, const Value& filers, Config& config);
filer::ExportTable read_exports(Reader& reader, const Value& list, const std::string& path,
                                const std::vector<Volume>& volumes);
// `match` and `access`, of clients: everything else as by default.
filer::ExportRule read_match(Reader& reader, MapReader& client);
bool read_read_write(Reader& reader, MapReader& client);
// raid.virtual_disks.nbd: who may attach it.
void read_exported(Reader& reader, const Value& value, const std::string& path, VirtualDisk& disk);
// nodes.X.nbd.
std::vector<Listener> read_nbd_listeners(Reader& reader, const Value& value,
                                         const std::string& path);
// Each node that manages a virtual disk for hosts has an address for them, which stays.
void check_nbd(Reader& reader, const Config& config);
// raid: the redundancy groups.
void read_groups(Reader& reader, const Value& list, Config& config);
// ... and what they are used for: each virtual disk by one filer at most.
void check_groups(Reader& reader, const Config& config);
// An entry `raid: GROUP/DISK` of filers.X.disks.
Disk read_virtual_disk(Reader& reader, MapReader& disk, const Config& config);
// An entry `path`, `size`.
Disk read_image(Reader& reader, MapReader& disk);
// 1 to 63 letters, digits and some more.
void check_name(Reader& reader, int line, std::string_view path, std::string_view name);
// pair.interconnect and pair.failover; MapReader of `pair`.
void read_pair(Reader& reader, MapReader& pair, Config& config);
// nodes.X.interconnect, the node's end of a link over TCP.
Listener read_interconnect_end(Reader& reader, const Value& value, const std::string& path);
// An entry of filers.X.disks of a pair: `url`, `mailbox`, `arbitration`.
Disk read_shared_disk(Reader& reader, MapReader& disk, const Config& config);
// Of raid.disks of a pair: `url`, `mailbox: a|b`, `arbitration`; of raid.spares: `url`.
Disk read_shared_member(Reader& reader, MapReader& disk, const Config& config);
Disk read_shared_spare(Reader& reader, MapReader& disk, const Config& config);
// Members and the arbitration disk where the file names none; and where each disk counts.
// REQUIRES: check_groups() has passed.
void choose_mailbox_disks(Reader& reader, Config& config);
// What no single place can see: homes, addresses and paths used twice.
void check_together(Reader& reader, const Config& config);
// ... of a pair: both nodes, both filers, memories of one size.
void check_pair(Reader& reader, const Config& config);

constexpr std::uint64_t kMemoryBytesMin = 64ULL
                                          << 20U;  // two filers, two halves, eight records each
constexpr std::uint64_t kDiskBytesMin = 64ULL << 20U;

Listener read_listener(Reader& reader, MapReader& map);
void check_address(Reader& reader, int line, std::string_view path, const std::string& address);
[[nodiscard]] bool everywhere(std::string_view address);

}  // namespace duet::config
