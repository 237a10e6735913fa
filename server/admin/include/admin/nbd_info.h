// What the operator is told of the virtual disks that hosts attach through this node.
//
// Thread-safety: values; functions from any thread.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "admin/api.h"
#include "admin/metrics.h"

namespace duet::admin {

struct NbdInfo {
  struct Client {
    std::string address;  // "192.0.2.1"
    std::uint16_t port = 0;
    bool read_only = false;
    std::uint32_t requests = 0;  // under way
  };
  struct Export {
    std::string name;         // "tank/host"
    bool available = false;   // this node manages the group
    std::uint64_t bytes = 0;  // 0: not known, as it is not available
    std::vector<Client> clients;
    // Requests done well, since the start; and those answered with an error.
    std::uint64_t reads = 0, writes = 0, zeroes = 0, flushes = 0, errors = 0;
    std::uint64_t read_bytes = 0, written_bytes = 0;
  };
  std::string node;
  bool listening = false;
  std::vector<std::string> addresses;  // "127.0.1.11:10809"
  std::vector<Export> exports;
  // Of all: open now; and since the start: refused for lack of room, of addresses that no export
  // names, stalled, closed for what is no NBD.
  std::uint64_t connections = 0;
  std::uint64_t refused = 0, strangers = 0, timed_out = 0, violations = 0;
};

// GET /v1/nbd.
[[nodiscard]] Response nbd_response(const NbdInfo& info);
void add_nbd(Metrics& metrics, const NbdInfo& info);

}  // namespace duet::admin
