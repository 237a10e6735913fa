// Pair: the role of a node that stands in a pair.
//
//   map mirror memory -> reach the shared disks -> link -> PairNode: it enters, watches, owns
//     -> [signal]: hand over what is served here, or bring it to rest -> end
//
// What is decided is decided in failover; this connects it to disks, link, filers and operators.
//
// Ownership: owns all of it but the machine.  Thread-safety: the strand.

#pragma once

#include <array>
#include <deque>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "address/address_claim.h"
#include "carried.h"
#include "client_book.h"
#include "failover/pair_node.h"
#include "group_watch.h"
#include "groups/pair_groups.h"
#include "host_disks.h"
#include "hosted_filer.h"
#include "interconnect/linux/shared_memory_link.h"
#include "interconnect/linux/tcp_source.h"
#include "nvlog/mirror_port.h"
#include "platform/linux/clock.h"
#include "platform/memory_slice.h"
#include "role.h"
#include "shelf/late_disk.h"
#include "supervisor/parent_link.h"
#include "supervisor/supervisor.h"

namespace duet::daemon {

// What the supervisor of a node does for it.  `config` outlives the options.
[[nodiscard]] supervisor::SupervisorOptions supervisor_options(const config::Config& config,
                                                               const std::string& node_name);

// No other pair of this machine may listen where this one does.  The claims last as long as
// `claims`.  Empty: done; else what to say: another pair, another program or this very node is
// there.
[[nodiscard]] std::string claim_addresses(const config::Config& config,
                                          const std::string& node_name,
                                          std::vector<address::AddressClaim>& claims);

class Pair final : public Role {
 public:
  // `parent`: this process's supervisor.
  Pair(Machine& machine, supervisor::ParentLink& parent);
  ~Pair() override;

  std::string open() override;
  Task<int> begin() override;
  Task<void> reload() override;
  Task<int> stop() override;
  Task<admin::Response> answer(admin::Request request) override;

 private:
  struct Disk {
    const config::Disk* configured = nullptr;
    std::uint32_t filer = 0;
    const config::RaidGroup* group = nullptr;  // null: of the filer's aggregate itself
    bool carries = true;                       // mailbox or record may be there
    std::unique_ptr<shelf::LateDisk> device;
  };
  struct PastEvent {
    std::int64_t at_ns = 0;  // since 1970
    failover::Event event;
  };

  static constexpr Duration kStepPatience = std::chrono::seconds(20);  // of a start or a stop

  [[nodiscard]] std::uint32_t number() const { return machine_.node.name == "b" ? 1 : 0; }
  // pair.cpp
  Task<Result<std::unique_ptr<shelf::SharedDisk>>> open_disk(std::size_t disk, shelf::DiskKey key);
  Task<std::string> reach_disks();
  [[nodiscard]] std::string cannot_open(std::size_t disk) const;
  Task<Result<mailbox::DiskIdentity>> identify(std::size_t disk);
  Task<std::string> choose_incarnation();
  std::string open_link();
  std::string open_shared_memory(const interconnect::LinkIdentity& identity);
  std::string open_tcp(const interconnect::LinkIdentity& identity);
  void make_groups();
  void make_pair();
  [[nodiscard]] failover::GroupParts group_parts() const;
  [[nodiscard]] DiskAccess disk_access(std::uint32_t filer);
  Task<void> close_groups();
  void told(const failover::Event& event);
  void stepped(std::string_view step);
  Task<void> look_for_older(shelf::SharedDisk& disk);
  void later_than_keys(const std::vector<shelf::DiskKey>& keys);
  void later_than(std::uint64_t incarnation);
  Task<bool> wait_for(std::function<bool()> condition, Duration patience = kStepPatience);

  // pair_api.cpp
  [[nodiscard]] nlohmann::json status_json() const;
  [[nodiscard]] nlohmann::json filer_json(std::uint32_t filer) const;
  [[nodiscard]] nlohmann::json disks_json() const;
  [[nodiscard]] nlohmann::json mailbox_json() const;
  [[nodiscard]] std::string groups_text() const;
  [[nodiscard]] std::string url_of(std::size_t disk) const;
  // Why the pair itself needs the disk, with a remedy; empty: it does not.
  [[nodiscard]] std::string what_it_carries(const std::string& url) const;
  // What is to be said when another disk takes its place in a group; may be nothing.
  [[nodiscard]] std::string note_on(const admin::RaidOrder& order) const;
  [[nodiscard]] std::vector<CarryingDisk> carrying_disks() const;
  [[nodiscard]] std::optional<std::size_t> disk_named(const std::string& name) const;
  Task<admin::Response> failover_request(const admin::Request& request, const std::string& verb);
  Task<admin::Response> take_over(const admin::Request& request);
  Task<admin::Response> give_back();
  Task<admin::Response> move(std::uint32_t filer);
  Task<admin::Response> force(const admin::Request& request);
  Task<admin::Response> replace_member(const admin::Request& request);
  Task<admin::Response> move_record(const admin::Request& request);
  [[nodiscard]] admin::Metrics pair_metrics() const;
  Task<admin::Response> metrics();
  [[nodiscard]] std::vector<admin::DiskInfo> disk_infos(std::uint32_t filer) const;

  Machine& machine_;
  supervisor::ParentLink& parent_;
  const std::array<std::uint64_t, 2> id_;
  os::SystemBootClock boot_clock_;
  // Copies of the partner's logs, and what the groups of both nodes mean to write.
  std::unique_ptr<os::MappedMemory> mirror_;
  std::unique_ptr<MemorySlice> copies_;  // of mirror_: the logs'
  std::unique_ptr<MemorySlice> log_;     // of the node's own memory
  std::vector<Disk> disks_;              // those that carry first: as PairNode counts
  std::uint64_t incarnation_ = 0;
  std::unique_ptr<tls::TlsContext> tls_;
  std::unique_ptr<interconnect::StreamSource> source_;
  std::unique_ptr<interconnect::PartnerLink> link_;
  interconnect::SharedMemoryLink* one_host_ = nullptr;  // link_, if it is one
  std::unique_ptr<nvlog::MirrorPort> port_;
  std::unique_ptr<ClientBook> clients_;
  std::unique_ptr<HostDisks> host_disks_;       // ends after the groups
  std::unique_ptr<groups::PairGroups> groups_;  // null: it has none
  std::unique_ptr<GroupWatch> watch_;           // of groups_
  std::unique_ptr<failover::PairNode> pair_;
  std::optional<LeaseGate> gate_;
  std::array<std::unique_ptr<HostedFiler>, failover::kFilers> hosts_;
  std::deque<PastEvent> events_;
};

}  // namespace duet::daemon
