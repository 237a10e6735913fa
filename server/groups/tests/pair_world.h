// A pair's shared group in the simulator: disks, both nodes' mirror memories, both managers of the
// group, and a link between them that never breaks.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "groups/format_pair.h"
#include "groups/overlay.h"
#include "platform/memory_slice.h"
#include "platform/task_scope.h"
#include "platform/wait.h"
#include "sim/sim_persistent_memory.h"
#include "world.h"

namespace duet::groups::testing {

// Of one manager's life.
class JoinedPeers final : public raid::Peers {
 public:
  JoinedPeers(Scheduler& scheduler, raid::NodeId self, PersistentMemory& memory)
      : scheduler_(scheduler), self_(self), memory_(memory), scope_(scheduler) {}
  ~JoinedPeers() override {
    if (other_ != nullptr) {
      other_->other_ = nullptr;
      other_->tell({.kind = Event::Kind::kSession});
    }
  }
  static void join(JoinedPeers& a, JoinedPeers& b) {
    a.other_ = &b;
    b.other_ = &a;
  }

  void attach(raid::PeersUser* user) override {
    user_ = user;
    if (other_ != nullptr) {
      other_->tell({.kind = Event::Kind::kSession});
      tell({.kind = Event::Kind::kSession});
    }
  }
  [[nodiscard]] std::uint64_t session(raid::NodeId node) const override {
    const bool both =
        other_ != nullptr && node == other_->self_ && user_ != nullptr && other_->user_ != nullptr;
    return both ? 1 : 0;
  }
  void send(raid::NodeId to, ConstBytes packet) override {
    if (session(to) != 0) {
      other_->tell({.kind = Event::Kind::kPacket, .bytes = {packet.begin(), packet.end()}});
    }
  }
  std::uint64_t store(raid::NodeId to, std::uint64_t offset,
                      std::span<const ConstBytes> parts) override {
    if (session(to) == 0) {
      return 0;
    }
    Event event{.kind = Event::Kind::kStore, .bytes = {}, .offset = offset, .number = ++sent_};
    for (const ConstBytes part : parts) {
      event.bytes.insert(event.bytes.end(), part.begin(), part.end());
    }
    other_->tell(std::move(event));
    return sent_;
  }
  [[nodiscard]] std::uint64_t stored(raid::NodeId /*node*/) const override { return stored_; }

 private:
  struct Event {
    enum class Kind : std::uint8_t { kSession, kPacket, kStore, kStored };
    Kind kind = Kind::kSession;
    std::vector<std::byte> bytes;
    std::uint64_t offset = 0;
    std::uint64_t number = 0;
  };
  void tell(Event event) {
    events_.push_back(std::move(event));
    scope_.spawn(next(*this));
  }
  // In order, each in a turn of its own.
  static Task<void> next(JoinedPeers& peers) {
    co_await yield(peers.scheduler_);
    const Event event = std::move(peers.events_.front());
    peers.events_.pop_front();
    peers.happen(event);
  }
  void happen(const Event& event) {
    if (user_ == nullptr) {
      return;
    }
    if (event.kind == Event::Kind::kSession) {
      return user_->on_session(raid::NodeId{static_cast<std::uint8_t>(1 - raid::number(self_))});
    }
    if (other_ == nullptr) {
      return;  // of a session that is over
    }
    switch (event.kind) {
      case Event::Kind::kSession:
        return;
      case Event::Kind::kPacket:
        return user_->on_packet(other_->self_, event.bytes);
      case Event::Kind::kStore:
        memory_.store(event.offset, event.bytes);
        EXPECT_TRUE(memory_.persist().ok());
        return other_->tell(
            {.kind = Event::Kind::kStored, .bytes = {}, .offset = 0, .number = event.number});
      case Event::Kind::kStored:
        stored_ = event.number;
        return user_->on_stored(other_->self_);
    }
  }

  Scheduler& scheduler_;
  const raid::NodeId self_;
  PersistentMemory& memory_;
  JoinedPeers* other_ = nullptr;
  raid::PeersUser* user_ = nullptr;
  std::uint64_t sent_ = 0;
  std::uint64_t stored_ = 0;
  std::deque<Event> events_;
  TaskScope scope_;
};

inline std::string pair_configuration() {
  std::string text =
      "pair:\n  name: sim\n  interconnect: {transport: shared-memory, directory: link}\nraid:\n"
      "  - name: tank\n    level: raid6\n    chunk: 32KiB\n    disks:\n";
  for (int i = 0; i < 5; ++i) {
    text += "      - url: shelf+unix://s#d" + std::to_string(i) + "\n";
  }
  text += "    virtual_disks:\n      - {name: a, size: 64MiB}\n      - {name: b}\nnodes:\n";
  for (const std::string node : {"a", "b"}) {
    text += "  " + node + ":\n    memory: {path: " + node +
            "/memory, size: 80MiB}\n    mirror: " + "{path: " + node +
            "/mirror, size: 80MiB}\n    admin: {socket: " + node + "/admin}\n";
  }
  text += "filers:\n";
  for (const std::string filer : {"a", "b"}) {
    text += "  " + filer + ":\n    home: " + filer + "\n    addresses: [127.0.1." +
            (filer == "a" ? "1" : "2") + "]\n    disks:\n      - raid: tank/" + filer + "\n";
  }
  return text;
}

class PairWorld {
 public:
  static constexpr std::uint64_t kDiskBlocks = 12'288;
  static constexpr raid::NodeId kA{0};
  static constexpr raid::NodeId kB{1};

  explicit PairWorld(std::uint64_t seed = 1, std::string_view text = {})
      : scheduler(seed), clock(scheduler), entropy(seed), random(seed) {
    auto parsed = config::parse(text.empty() ? pair_configuration() : text, "sim.yaml");
    EXPECT_TRUE(parsed.ok()) << parsed.error().text();
    config = std::move(parsed.value());
    for (const config::Disk& disk : config.groups[0].disks) {
      disks.push_back(std::make_unique<sim::SimDisk>(disk.path.text, kDiskBlocks));
    }
    for (std::size_t i = 0; i < 2; ++i) {
      memories.push_back(
          std::make_unique<sim::SimPersistentMemory>(config.groups[0].intent_bytes()));
    }
  }
  ~PairWorld() { kill(); }

  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    TaskScope scope(scheduler);
    scope.spawn(keep_result(std::move(task), result));
    EXPECT_TRUE(scheduler.run_until([&] { return result.has_value(); }, 50'000'000));
    EXPECT_TRUE(result.has_value()) << "the world came to rest before the answer";
    return std::move(*result);
  }

  // `nodes`: whose memories are here.  `overlaid`: disks and memories stay as they are.
  OfflineGroup& offline(raid::NodeSet nodes, bool overlaid = false) {
    kill();
    std::vector<OfflineGroup::Disk> given;
    for (std::size_t i = 0; i < disks.size(); ++i) {
      const config::Disk& configured = config.groups[0].disks[i];
      OfflineGroup::Disk disk{
          .configured = &configured, .name = configured.path.text, .problem = "gone"};
      if (!away.contains(i)) {
        std::unique_ptr<BlockDevice> device =
            std::make_unique<sim::SimBlockDevice>(scheduler, *disks[i]);
        if (overlaid) {
          device = std::make_unique<Overlay>(scheduler, std::move(device));
        }
        disk.device = device.get();
        disk.problem.clear();
        offline_devices.push_back(std::move(device));
      }
      given.push_back(disk);
    }
    std::vector<OfflineGroup::Intents> intents;
    raid::for_each_node(nodes, [&](raid::NodeId node) {
      PersistentMemory* memory = memories[raid::number(node)].get();
      if (overlaid) {
        copies.push_back(std::make_unique<MemoryCopy>(memory->bytes(), memory->bytes().size()));
        memory = copies.back().get();
      }
      intents.push_back({node, memory});
    });
    group = std::make_unique<OfflineGroup>(scheduler, config.file, config.groups[0],
                                           std::move(given), std::move(intents));
    return *group;
  }
  std::string format(raid::NodeSet nodes = kPairNodes) {
    const auto quiet = [](const std::string& /*line*/) {};
    return run(offline(nodes).format(entropy, quiet));
  }
  void close() {
    const Status closed = run(group->close());
    EXPECT_TRUE(closed.ok()) << closed.error().context;
    kill();
  }
  raid::GroupLabel label() {
    sim::SimBlockDevice device(scheduler, *disks[0]);
    const auto found = run(raid::read_label(device));
    EXPECT_TRUE(found.ok());
    return found.ok() ? found.value() : raid::GroupLabel{};
  }

  // As two servers would.
  void start_both() {
    kill();
    const raid::GroupId id = label().group;
    for (std::size_t i = 0; i < 2; ++i) {
      managers.push_back(std::make_unique<Manager>(
          scheduler, raid::NodeId{static_cast<std::uint8_t>(i)}, *memories[i]));
    }
    JoinedPeers::join(managers[0]->peers, managers[1]->peers);
    for (const std::unique_ptr<Manager>& manager : managers) {
      std::vector<BlockDevice*> devices;
      for (const std::unique_ptr<sim::SimDisk>& disk : disks) {
        manager->devices.push_back(std::make_unique<sim::SimBlockDevice>(scheduler, *disk));
        devices.push_back(manager->devices.back().get());
      }
      manager->incarnation = entropy.next() | 1U;
      const raid::GroupOptions options = {
          .group = id, .self = manager->self, .incarnation = manager->incarnation};
      auto opened =
          run(raid::Group::open(scheduler, std::move(devices),
                                *memories[raid::number(manager->self)], manager->peers, options));
      ASSERT_TRUE(opened.ok()) << opened.error().context;
      manager->group = std::move(opened.value());
    }
    for (const std::unique_ptr<Manager>& manager : managers) {
      const Status active = run(manager->group->wait_active());
      ASSERT_TRUE(active.ok()) << active.error().context;
      const auto entries = raid::virtual_disks_of(manager->group->status().label);
      for (const raid::VirtualDiskEntry& entry : entries) {
        manager->virtual_disks[entry.name] = std::make_unique<raid::VirtualDisk>(
            scheduler, *manager->group, entry.part, raid::Answer::kWritten, entry.name);
      }
    }
  }
  [[nodiscard]] raid::Group& manager(raid::NodeId node) {
    return *managers[raid::number(node)]->group;
  }
  [[nodiscard]] BlockDevice& disk_at(raid::NodeId node, const std::string& name) {
    return *managers[raid::number(node)]->virtual_disks.at(name);
  }
  // This node's process is gone, and the other one is told.
  void lose_node(raid::NodeId node) {
    const std::size_t lost = raid::number(node);
    const std::uint64_t incarnation = managers[lost]->incarnation;
    managers[lost].reset();
    managers[1 - lost]->group->node_fenced(node, incarnation);
  }

  // What is under way happens or does not.  `power`: and what was not flushed is lost.
  void kill(bool power = false) {
    managers.clear();
    offline_devices.clear();
    group.reset();
    copies.clear();
    if (power) {
      for (const std::unique_ptr<sim::SimDisk>& disk : disks) {
        disk->lose_power(random);
      }
      for (const std::unique_ptr<sim::SimPersistentMemory>& memory : memories) {
        memory->lose_power(random);
      }
    }
  }

  struct Manager {
    Manager(Scheduler& scheduler, raid::NodeId node, PersistentMemory& memory)
        : self(node), peers(scheduler, node, memory) {}
    raid::NodeId self;
    std::uint64_t incarnation = 0;
    JoinedPeers peers;
    std::unique_ptr<raid::Group> group;
    std::map<std::string, std::unique_ptr<raid::VirtualDisk>> virtual_disks;
    std::vector<std::unique_ptr<BlockDevice>> devices;  // end first
  };

  sim::SimScheduler scheduler;
  sim::SimWallClock clock;
  sim::SimEntropy entropy;
  sim::Random random;
  config::Config config;
  std::vector<std::unique_ptr<sim::SimDisk>> disks;
  std::set<std::size_t> away;
  std::vector<std::unique_ptr<sim::SimPersistentMemory>> memories;  // what the mirrors have for it
  std::vector<std::unique_ptr<MemoryCopy>> copies;
  std::vector<std::unique_ptr<Manager>> managers;
  std::unique_ptr<OfflineGroup> group;
  std::vector<std::unique_ptr<BlockDevice>> offline_devices;
};

}  // namespace duet::groups::testing
