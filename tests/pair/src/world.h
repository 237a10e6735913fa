// World: a pair with its shelves, link and memories, all in one thread, and what can happen to
// them.

#pragma once

#include <array>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "groups/pair_groups.h"
#include "interconnect/sim/sim_link.h"
#include "model_filer.h"
#include "node_seams.h"
#include "shelf/label_format.h"
#include "shelf/testing/sim_target.h"
#include "sim/sim_persistent_memory.h"

namespace duet::pair {

inline constexpr std::array<std::uint64_t, 2> kPair{0x0706'0504'0302'0100, 0x0F0E'0D0C'0B0A'0908};
// 0 to 2: filer a's, of which 0 and 1 hold its roots and are node a's members at first; 3 to 5:
// b's.
inline constexpr std::size_t kDisksPerFiler = 3;
inline constexpr std::size_t kDisks = 2 * kDisksPerFiler;

struct WorldOptions {
  std::uint64_t seed = 1;
  bool one_sided = false;      // the link is shared memory
  std::int64_t drift_ppm = 0;  // a's clock is faster, b's slower by this
  std::uint64_t late_one_in = 500;
  std::size_t arbitration = 0;  // the disk with the owner record
  Duration request_every = std::chrono::milliseconds(3);
  bool verbose = false;
  bool automatic_takeover = true;
  bool automatic_giveback = false;
  std::size_t givebacks_per_hour = 3;
  bool epochs = true;  // the targets check epochs too, not keys alone
  // A disk that cannot be reached when a node starts is one that it stands waiting for: as a
  // target that is slow, not one that is away.
  bool waits_for_disks = false;
  bool late_disks = false;  // each disk is one that is opened beside the start
  bool groups = false;      // the filers live on virtual disks of one group of all disks
};

// What a process is; destroying it is kill -9.
struct Process {
  Process(sim::SimScheduler& base, std::int64_t ppm, Duration offset)
      : scheduler(base, ppm, offset), clock(scheduler) {}
  ~Process();
  NodeScheduler scheduler;
  NodeBootClock clock;
  std::vector<std::unique_ptr<shelf::SharedDisk>> disks;
  std::unique_ptr<NodeLink> link;
  std::unique_ptr<MemorySlice> copies;  // of the mirror memory: the logs'
  std::unique_ptr<nvlog::MirrorPort> port;
  std::unique_ptr<groups::PairGroups> groups;
  std::array<std::unique_ptr<ModelFiler>, 2> hosts;
  std::unique_ptr<failover::PairNode> pair;
};

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();

  void boot(std::uint32_t node);
  void kill(std::uint32_t node);
  // The supervisor of a killed node writes what it knows.
  void say_last_words(std::uint32_t node, Duration restart);
  // Its memories forget what was not persisted; `blank`: everything.
  void lose_power(std::uint32_t node, bool blank);
  void kill_shelf(std::size_t disk) { disks_[disk]->target.kill(); }
  void start_shelf(std::size_t disk) { disks_[disk]->target.start(); }

  [[nodiscard]] Process* process(std::uint32_t node) { return processes_[node].get(); }
  [[nodiscard]] failover::PairNode& pair(std::uint32_t node) { return *processes_[node]->pair; }
  [[nodiscard]] shelf::testing::SimPath& path(std::uint32_t node, std::size_t disk) {
    return disks_[disk]->paths[node];
  }
  [[nodiscard]] interconnect::SimWire& wire() { return wire_; }
  [[nodiscard]] shelf::testing::SimTarget& shelf(std::size_t disk) { return disks_[disk]->target; }
  // For both nodes, until heal(); who boots meanwhile finds it away.
  void cut(std::size_t disk) {
    path(0, disk).cut();
    path(1, disk).cut();
  }
  void heal(std::size_t disk) {
    path(0, disk).heal();
    path(1, disk).heal();
  }

  // Runs until `done`, a complaint or `limit` of time; whether `done`.
  bool run_until(const std::function<bool()>& done, Duration limit);
  void run_for(Duration time) {
    run_until([] { return false; }, time);
  }
  void at(Duration later, std::function<void()> what);

  // Who may answer for the filer now: 0, 1, or -1.
  [[nodiscard]] int answering(std::uint32_t filer);
  [[nodiscard]] bool synced(std::uint32_t filer);
  // Both nodes manage the group, and its data match its check data: empty, or what is wrong.
  std::string scrub();
  // How many nodes have the other in the group's view.
  [[nodiscard]] int sharing() const;
  // Both hold the group's intents, or there is no group.
  [[nodiscard]] bool shares_group() const { return !options_.groups || sharing() == 2; }

  sim::SimScheduler scheduler;
  Oracle oracle;
  std::map<std::string, std::uint64_t> steps;   // how often each step was begun
  std::map<std::string, std::uint64_t> events;  // ... each event told
  // Looked at every few milliseconds of the run: what the nodes decided, from what, and in which
  // state each filer was with its home node and with the other.
  std::map<std::string, std::uint64_t> decisions;
  std::map<std::string, std::uint64_t> evidence;
  std::map<std::string, std::uint64_t> states;
  // Called at each step of a node; may ask for it to be killed.
  std::function<void(std::uint32_t node, std::string_view step)> on_step;
  void kill_soon(std::uint32_t node) { kill_soon_[node] = true; }
  bool reads_only = false;  // of the clients, from now on
  // The owner record that counts, and its disk.
  [[nodiscard]] mailbox::Owners owners();
  [[nodiscard]] std::size_t record_disk();
  [[nodiscard]] mailbox::DiskIdentity identity(std::size_t disk) const {
    return {disk + 1, exchanged_[disk] ? 8U : 7U};
  }
  // Another disk, with what is on this one, stands in its place for who opens it from now on.
  void exchange(std::size_t disk, bool exchanged = true) { exchanged_[disk] = exchanged; }
  // By the configuration of this node, when it boots, disk `to` is a member and not `from`.
  void misconfigure(std::uint32_t node, std::size_t from, std::size_t to) {
    misconfigured_[node] = {from, to};
  }
  void configure(std::uint32_t node) { misconfigured_[node].reset(); }
  bool auto_restart = false;  // of nodes killed by kill_soon()

 private:
  struct Disk {
    Disk(sim::SimScheduler& scheduler, std::size_t number, const WorldOptions& options);
    sim::SimDisk data;
    sim::SimDisk label;
    std::array<shelf::testing::SimPath, 2> paths;
    shelf::testing::SimTarget target;
  };
  void format();
  void format_group();
  [[nodiscard]] bool is_configured_member(std::uint32_t node, std::size_t disk) const;
  void check_root(std::uint32_t filer, const sim::SimDisk& disk, std::uint64_t block);
  [[nodiscard]] bool counts_in_group(std::size_t disk) const;
  [[nodiscard]] std::unique_ptr<shelf::SharedDisk> connect(Process& process, std::uint32_t node,
                                                           std::size_t disk, shelf::DiskKey key);
  Task<Result<std::unique_ptr<shelf::SharedDisk>>> try_connect(Process& process, std::uint32_t node,
                                                               std::size_t disk,
                                                               shelf::DiskKey key);
  Task<Result<mailbox::DiskIdentity>> identify(std::size_t disk, shelf::SharedDisk& device);
  void check_write(std::size_t disk, const sim::SimDisk::Event& event);
  [[nodiscard]] std::optional<mailbox::ArbitrationSector> record_on(std::size_t disk);
  Task<void> client();
  Task<void> watch();
  void do_due();

  const WorldOptions options_;
  std::vector<std::unique_ptr<Disk>> disks_;
  interconnect::SimWire wire_;
  std::array<std::unique_ptr<sim::SimPersistentMemory>, 2> own_;
  std::array<std::unique_ptr<sim::SimPersistentMemory>, 2> mirror_;
  std::vector<std::unique_ptr<sim::SimPersistentMemory>> old_memories_;
  std::array<std::unique_ptr<Process>, 2> processes_;
  std::array<std::uint64_t, 2> incarnations_{};
  std::array<std::array<std::uint32_t, kRootDisks>, 2> root_landed_{};  // checksums
  std::array<bool, 2> kill_soon_{};
  std::array<bool, 2> restart_soon_{};
  std::array<bool, kDisks> exchanged_{};
  std::array<std::optional<std::pair<std::size_t, std::size_t>>, 2> misconfigured_;
  std::multimap<Instant, std::function<void()>> due_;
  std::uint64_t values_ = 0;
  TaskScope scope_;
};

}  // namespace duet::pair
