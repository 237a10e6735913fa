// PortmapProgram: portmap version 2 (RFC 1833 section 3), for the programs on one port.
// register_programs: the same, told to a system's own rpcbind.
//
// Thread-safety: the reactor's thread.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "platform/stream.h"
#include "platform/task.h"
#include "server/call.h"

namespace duet::server {

inline constexpr std::uint32_t kProtocolTcp = 6;

struct PortMapping {
  std::uint32_t program = 0;
  std::uint32_t version = 0;
  std::uint16_t port = 0;  // TCP
};

// NFS 3, MOUNT 1 and 3, portmap 2: what this server answers on `port`.
[[nodiscard]] std::vector<PortMapping> mappings_on(std::uint16_t port);

class PortmapProgram final : public Program {
 public:
  explicit PortmapProgram(std::vector<PortMapping> mappings) : mappings_(std::move(mappings)) {}

  [[nodiscard]] std::uint32_t number() const override { return kPortmapProgram; }
  [[nodiscard]] std::uint32_t version_low() const override { return 2; }
  [[nodiscard]] std::uint32_t version_high() const override { return 2; }
  // CALLIT, the sixth, makes servers call others on a stranger's behalf: unavailable.
  [[nodiscard]] std::uint32_t procedure_count(std::uint32_t /*version*/) const override {
    return 5;
  }
  Task<AcceptStatus> serve(Call& call) override;

 private:
  AcceptStatus get_port(Call& call) const;
  void dump(Call& call) const;

  std::vector<PortMapping> mappings_;
};

// Over a connection to rpcbind (usually 127.0.0.1:111, from a port below 1024 unless it runs with
// -i): SET or UNSET of each mapping but that of portmap, which is rpcbind itself.  UNSET of what is
// not set succeeds.  Takes kRpcbindWait at most, and closes the stream when that is over.
// Error: kIo: no answer, or none that makes sense; kRefused: it said no.
inline constexpr Duration kRpcbindWait = std::chrono::seconds(2);
Task<Status> register_programs(Scheduler& scheduler, ByteStream& stream,
                               std::span<const PortMapping> mappings, bool set);

}  // namespace duet::server
