// A simulated world for one group: disks, nodes with persistent memory, and the wire between them.
//
// Power of a disk, of a node and of the whole can go; a process can be killed at any moment. A
// killed process's writes under way happen or not, block by block; what it had sent arrives or
// not, in order.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "buffer.h"
#include "platform/task_scope.h"
#include "raid/group.h"
#include "raid/intent_format.h"
#include "sim/faulty_block_device.h"
#include "sim/sim_block_device.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"

namespace duet::raid::testing {

inline constexpr GroupId kGroup = {0x11, 0x22};
inline DiskId disk_id(std::size_t disk) { return {0xD15C, 1 + disk}; }

// What is between the managers: ordered within a session, late as the seed says.
class Wire {
 public:
  using StoreHook = std::function<void(std::size_t from, std::size_t to, std::uint64_t offset,
                                       const std::vector<std::byte>& bytes)>;

  explicit Wire(sim::SimScheduler& scheduler) : scheduler_(scheduler) {}

  class Port final : public Peers {
   public:
    Port(Wire& wire, std::size_t node) : wire_(wire), node_(node) {}
    void attach(PeersUser* user) override { user_ = user; }
    [[nodiscard]] std::uint64_t session(NodeId node) const override {
      return wire_.session(node_, number(node));
    }
    void send(NodeId to, ConstBytes packet) override {
      DUET_CHECK(packet.size() <= kPacketBytesMax);
      if (session(to) != 0) {
        wire_.push(node_, number(to), {.bytes = {packet.begin(), packet.end()}});
      }
    }
    std::uint64_t store(NodeId to, std::uint64_t offset,
                        std::span<const ConstBytes> parts) override {
      if (session(to) == 0) {
        return 0;
      }
      Item item = {.offset = offset, .store = ++stores_[number(to)]};
      for (const ConstBytes part : parts) {
        item.bytes.insert(item.bytes.end(), part.begin(), part.end());
      }
      wire_.push(node_, number(to), std::move(item));
      return stores_[number(to)];
    }
    [[nodiscard]] std::uint64_t stored(NodeId node) const override { return stored_[number(node)]; }

   private:
    friend class Wire;
    Wire& wire_;
    std::size_t node_;
    PeersUser* user_ = nullptr;
    std::array<std::uint64_t, kNodesMax> stores_{};
    std::array<std::uint64_t, kNodesMax> stored_{};
  };

  std::unique_ptr<Port> open(std::size_t node, sim::SimPersistentMemory& memory) {
    auto port = std::make_unique<Port>(*this, node);
    ends_[node] = {port.get(), &memory};
    std::erase_if(late_, [node](const auto& entry) { return entry.first.second == node; });
    for (const auto& [other, end] : ends_) {
      if (other != node) {
        connect(node, other);
      }
    }
    return port;
  }
  // The process is gone: what it has sent arrives up to some point, and its sessions end.
  void close(std::size_t node) {
    for (auto& [link, queue] : links_) {
      if (link.first == node) {
        for (std::uint64_t some = scheduler_.random().below(4); some > 0 && !queue.empty();
             --some) {
          arrive(link.first, link.second);
        }
      }
    }
    ends_.erase(node);
    std::vector<std::size_t> others;
    for (const auto& [other, end] : ends_) {
      others.push_back(other);
    }
    for (const std::size_t other : others) {
      disconnect(node, other);
    }
  }
  void disconnect(std::size_t a, std::size_t b) {
    if (sessions_.erase(pair_of(a, b)) == 0) {
      return;
    }
    end_session({a, b});
    end_session({b, a});
    changed(a, b);
    changed(b, a);
  }
  // Until its process ends.
  void isolate(std::size_t node) {
    ends_[node].isolated = true;
    for (const auto& [other, end] : ends_) {
      if (other != node) {
        disconnect(node, other);
      }
    }
  }
  // `to` is told that `from` is fenced: nothing that it has sent arrives any more.
  void silence(std::size_t from, std::size_t to) { late_.erase({from, to}); }
  void connect(std::size_t a, std::size_t b) {
    if (!ends_.contains(a) || !ends_.contains(b) || sessions_.contains(pair_of(a, b)) ||
        ends_[a].isolated || ends_[b].isolated) {
      return;
    }
    sessions_[pair_of(a, b)] = ++last_session_;
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
      late_.erase({from, to});
      ends_[from].port->stores_[to] = 0;
      ends_[from].port->stored_[to] = 0;
    }
    changed(a, b);
    changed(b, a);
  }
  // Stores of this session.
  [[nodiscard]] std::uint64_t stores(std::size_t from, std::size_t to) const {
    return ends_.at(from).port->stores_[to];
  }
  [[nodiscard]] bool connected(std::size_t a, std::size_t b) const {
    return sessions_.contains(pair_of(a, b));
  }

  // Called before each message or store arrives; may kill.
  std::function<void()> on_arrival;
  std::uint64_t arrivals = 0;

 private:
  struct Item {
    std::vector<std::byte> bytes;
    std::uint64_t offset = 0;
    std::uint64_t store = 0;  // number; 0: a packet
    bool answer = false;      // to a store
    bool announces = false;   // that the session has changed
  };
  struct End {
    Port* port = nullptr;
    sim::SimPersistentMemory* memory = nullptr;
    bool isolated = false;
  };
  using Link = std::pair<std::size_t, std::size_t>;
  static Link pair_of(std::size_t a, std::size_t b) { return {std::min(a, b), std::max(a, b)}; }
  [[nodiscard]] std::uint64_t session(std::size_t a, std::size_t b) const {
    const auto found = sessions_.find(pair_of(a, b));
    return found == sessions_.end() ? 0 : found->second;
  }

  // One delivery, or one announcement of a session, in a turn of its own.
  struct Event final : Continuation {
    Event(Wire& owner, Link of, bool is_late) : wire(owner), link(of), late(is_late) {}
    void run() override { wire.happen(*this); }
    Wire& wire;
    Link link;
    bool late;
    std::list<Event>::iterator self;
  };
  void post(Link link, bool late = false) {
    Event& event = events_.emplace_back(*this, link, late);
    event.self = std::prev(events_.end());
    const Duration delay =
        std::chrono::microseconds(5 * (1 + scheduler_.random().below(late ? 400 : 12)));
    scheduler_.post_at(event, scheduler_.now() + delay);
  }
  // What is said is lost.  Stores that were under way may still arrive, unanswered, until the next
  // session begins or the receiver is told that the sender is fenced.
  void end_session(Link link) {
    for (Item& item : links_[link]) {
      if (item.store != 0 && !item.answer) {
        late_[link].push_back(std::move(item));
        post(link, true);
      }
    }
    links_[link].clear();
  }
  void push(std::size_t from, std::size_t to, Item item) {
    links_[{from, to}].push_back(std::move(item));
    post({from, to});
  }
  // In order with what is said: a session is announced before its packets.
  void changed(std::size_t who, std::size_t about) { push(about, who, {.announces = true}); }

  void happen(Event& event) {
    const Link link = event.link;
    const bool late = event.late;
    events_.erase(event.self);
    if (late) {
      arrive_late(link);
      return;
    }
    ++arrivals;
    if (on_arrival) {
      on_arrival();
    }
    if (!links_[link].empty()) {
      arrive(link.first, link.second);
    }
  }
  void arrive_late(Link link) {
    const auto items = late_.find(link);
    const auto end = ends_.find(link.second);
    if (items == late_.end() || items->second.empty()) {
      return;
    }
    const Item item = std::move(items->second.front());
    items->second.pop_front();
    if (end != ends_.end()) {
      end->second.memory->store(item.offset, item.bytes);
      DUET_CHECK(end->second.memory->persist().ok());
    }
  }
  void arrive(std::size_t from, std::size_t to) {
    const Item item = std::move(links_[{from, to}].front());
    links_[{from, to}].pop_front();
    const auto end = ends_.find(to);
    if (end == ends_.end()) {
      return;
    }
    const NodeId sender{static_cast<std::uint8_t>(from)};
    if (item.announces) {
      if (end->second.port->user_ != nullptr) {
        end->second.port->user_->on_session(sender);
      }
    } else if (item.answer) {
      end->second.port->stored_[from] = item.store;
      if (end->second.port->user_ != nullptr) {
        end->second.port->user_->on_stored(sender);
      }
    } else if (item.store != 0) {
      end->second.memory->store(item.offset, item.bytes);
      DUET_CHECK(end->second.memory->persist().ok());
      if (ends_.contains(from)) {
        push(to, from, {.store = item.store, .answer = true});
      }
    } else if (end->second.port->user_ != nullptr) {
      end->second.port->user_->on_packet(sender, item.bytes);
    }
  }

  sim::SimScheduler& scheduler_;
  std::map<std::size_t, End> ends_;
  std::map<Link, std::uint64_t> sessions_;
  std::map<Link, std::deque<Item>> links_;
  std::map<Link, std::deque<Item>> late_;  // stores of sessions that have ended
  std::list<Event> events_;
  std::uint64_t last_session_ = 0;
};

struct WorldOptions {
  Geometry geometry = {.level = Level::kSingleParity, .disks = 4, .chunk_blocks = 4, .stripes = 6};
  std::size_t nodes = 2;
  std::uint32_t slots = 16;
  std::uint32_t pages = 64;
  std::uint32_t range_stripes = 1;
  std::vector<VirtualDiskEntry> virtual_disks;
  std::size_t spares = 0;
  std::size_t blank = 0;  // more disks, without a label
  std::uint32_t step_stripes = 0;
  std::uint64_t background_blocks_per_s = 0;
  std::uint32_t copies = 0;
  std::array<std::uint8_t, kNodesMax> replication_groups{};
};

class World {
 public:
  World(std::uint64_t seed, const WorldOptions& options)
      : options_(options), scheduler(seed), wire(scheduler) {
    NodeSet nodes = 0;
    for (std::size_t i = 0; i < options.nodes; ++i) {
      nodes |= 1U << i;
      const std::uint64_t bytes = MemoryLayout{options.slots, options.pages}.memory_bytes(
          static_cast<std::uint32_t>(options.nodes));
      memories.push_back(std::make_unique<sim::SimPersistentMemory>(bytes));
      DUET_CHECK(
          format_intents(*memories[i], kGroup, node_id(i), options.slots, options.pages).ok());
    }
    processes.resize(options.nodes);
    const std::size_t members = options.geometry.disks;
    for (std::size_t i = 0; i < members + options.spares + options.blank; ++i) {
      add_disk();
    }
    Connections connections(*this);
    std::vector<DiskId> ids;
    for (std::size_t i = 0; i < disks.size(); ++i) {
      ids.push_back(disk_id(i));
      named[disk_id(i)] = i;
    }
    const std::span<BlockDevice* const> devices = connections.devices;
    const std::span<const DiskId> all_ids = ids;
    const Status formatted = run(format_group(
        devices.first(members), all_ids.first(members), kGroup, options.geometry, nodes,
        {.range_stripes = options.range_stripes,
         .virtual_disks = options.virtual_disks,
         .spares = devices.subspan(members, options.spares),
         .spare_ids = all_ids.subspan(members, options.spares),
         .step_stripes = options.step_stripes}));
    DUET_CHECK(formatted.ok());
    for (const auto& disk : disks) {
      disk->lose_power(scheduler.random(), sim::SimDisk::Keep::kEverything);
    }
  }
  ~World() { processes.clear(); }

  static NodeId node_id(std::size_t node) { return NodeId{static_cast<std::uint8_t>(node)}; }

  void add_disk() {
    disks.push_back(std::make_unique<sim::SimDisk>("d" + std::to_string(disks.size()),
                                                   options_.geometry.disk_blocks()));
  }

  // A shelf's port: a fenced node gets nothing through; a flush fails after the shelf has lost its
  // power, and with it what this node had written and not flushed.
  class Gate final : public BlockDevice {
   public:
    Gate(Scheduler& scheduler, BlockDevice& disk) : scheduler_(scheduler), disk_(disk) {}
    [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
    [[nodiscard]] std::string_view name() const override { return disk_.name(); }
    void begin_anew() override { lost_writes_ = false; }
    void start(BlockOperation& operation) override {
      if (!closed && (!lost_writes_ || operation.kind != BlockOperation::Kind::kFlush)) {
        Passed& passed = under_way_.emplace_back(*this, operation);
        passed.self = std::prev(under_way_.end());
        disk_.start(passed);
        return;
      }
      operation.result =
          closed ? Error{Errc::kFenced, "fenced"} : Error{Errc::kIo, "writes were lost"};
      scheduler_.post(operation);
    }
    void lose_power() { lost_writes_ = lost_writes_ || written_ > flushed_; }
    bool closed = false;

   private:
    struct Passed final : BlockOperation {
      Passed(Gate& owner, BlockOperation& what)
          : gate(owner), original(what), written(owner.written_) {
        kind = what.kind;
        fresh = what.fresh;
        block = what.block;
        parts = what.parts;
      }
      void run() override { gate.finish(*this); }
      Gate& gate;
      BlockOperation& original;
      std::uint64_t written;  // before it
      std::list<Passed>::iterator self;
    };
    void finish(Passed& passed) {
      BlockOperation& operation = passed.original;
      operation.result = passed.result;
      if (passed.kind == BlockOperation::Kind::kWrite) {
        ++written_;
      } else if (passed.kind == BlockOperation::Kind::kFlush && passed.result.ok()) {
        flushed_ = std::max(flushed_, passed.written);
      }
      under_way_.erase(passed.self);
      operation.run();
    }

    Scheduler& scheduler_;
    BlockDevice& disk_;
    bool lost_writes_ = false;
    std::uint64_t written_ = 0;
    std::uint64_t flushed_ = 0;  // of those
    std::list<Passed> under_way_;
  };

  // Disks and the way to them, of one process.
  struct Connections {
    explicit Connections(World& world) {
      for (const auto& disk : world.disks) {
        raw.push_back(std::make_unique<sim::SimBlockDevice>(world.scheduler, *disk));
        faulty.push_back(std::make_unique<sim::FaultyBlockDevice>(world.scheduler, *raw.back()));
        gates.push_back(std::make_unique<Gate>(world.scheduler, *faulty.back()));
        devices.push_back(gates.back().get());
      }
    }
    ~Connections() {
      // What is under way is the disk's: the fault before it forgets it at the same time.
      raw.clear();
      faulty.clear();
    }
    std::vector<std::unique_ptr<sim::SimBlockDevice>> raw;
    std::vector<std::unique_ptr<sim::FaultyBlockDevice>> faulty;
    [[nodiscard]] bool quiet() const {
      return std::ranges::all_of(raw, [](const auto& disk) { return disk->under_way() == 0; });
    }
    // Operations, of all disks.
    [[nodiscard]] std::size_t under_way() const {
      std::size_t sum = 0;
      for (const auto& disk : raw) {
        sum += disk->under_way();
      }
      return sum;
    }
    std::vector<std::unique_ptr<Gate>> gates;
    std::vector<BlockDevice*> devices;
  };

  struct Process {
    Process(World& world, std::size_t node)
        : connections(world),
          port(world.wire.open(node, *world.memories[node])),
          incarnation(++world.incarnations),
          scope(world.scheduler) {
      for (const std::size_t disk : world.failed_disks) {
        if (!world.only_seen_failed.contains(disk)) {
          fail(disk);
        }
      }
    }
    ~Process() {
      scope.cancel();
      end();
    }
    // I12: no manager may have heard a contradiction about a lock.
    void end() {
      DUET_CHECK(group == nullptr || !group->status().ended.has_value() ||
                 group->status().ended->code != Errc::kCorrupt);
      group.reset();
    }
    // One operation, and no more.
    void fail_once(std::size_t disk, sim::Fault fault, std::uint64_t skip) {
      connections.faulty[disk]->arm({.fault = fault, .skip = skip});
    }
    void fail(std::size_t disk) {
      for (const sim::Fault fault :
           {sim::Fault::kReadError, sim::Fault::kWriteError, sim::Fault::kFlushError}) {
        connections.faulty[disk]->arm({.fault = fault, .always = true});
      }
    }
    Connections connections;
    std::unique_ptr<Wire::Port> port;
    std::uint64_t incarnation;
    bool shut_out = false;
    std::unique_ptr<Group> group;
    std::optional<Error> open_error;
    TaskScope scope;  // of those who use the group
  };

  // To follow one seed: what happens to the nodes, when, if DUET_TRACE is set.
  void trace(std::string_view what, std::size_t node, std::size_t other = 99) const {
    if (trace_) {
      std::cout << "turn " << scheduler.turns() << ": " << what << ' ' << node
                << (other == 99 ? "" : " at " + std::to_string(other));
      for (std::size_t i = 0; i < processes.size(); ++i) {
        std::cout << (group(i) == nullptr ? alive(i) ? "  opening" : "  dead"
                                          : "  " + std::to_string(processes[i]->incarnation));
        if (group(i) != nullptr) {
          const GroupStatus s = group(i)->status();
          std::cout << (s.active ? "/" : "?") << static_cast<std::uint64_t>(s.view) << ':'
                    << s.members << " label " << s.label.generation << ':' << s.label.holders;
        }
      }
      std::cout << std::endl;
    }
  }

  void boot(std::size_t node) {
    DUET_CHECK(processes[node] == nullptr);
    trace("boot", node);
    fenced.erase(node);
    processes[node] = std::make_unique<Process>(*this, node);
    started[node] = processes[node]->incarnation;
    for (const auto& process : processes) {
      if (process != nullptr && process->group != nullptr) {
        process->group->node_started(node_id(node), started[node]);
      }
    }
    processes[node]->scope.spawn(open(*processes[node], node));
  }
  Task<void> open(Process& process, std::size_t node) {
    GroupOptions options = {.group = kGroup,
                            .self = node_id(node),
                            .incarnation = process.incarnation,
                            .force = true,
                            .background_blocks_per_s = options_.background_blocks_per_s,
                            .patience = std::chrono::milliseconds(20),
                            .copies = options_.copies,
                            .replication_groups = options_.replication_groups};
    Result<std::unique_ptr<Group>> group = co_await Group::open(
        scheduler, process.connections.devices, *memories[node], *process.port, options);
    if (group.ok()) {
      process.group = std::move(group.value());
      if (needed) {
        process.group->set_needed({0, options_.geometry.block_count()}, needed);
      }
      for (const auto& [other, incarnation] : started) {
        if (other != node) {
          process.group->node_started(node_id(other), incarnation);
        }
      }
      for (const auto& [other, incarnation] : fenced) {
        wire.silence(other, node);
        process.group->node_fenced(node_id(other), incarnation);
      }
    } else {
      process.open_error = group.error();
      std::cout << "node " << node << " did not open: " << group.error().context << '\n';
    }
  }
  // kill -9: no turn between.
  void kill(std::size_t node) {
    if (processes[node] == nullptr) {
      return;
    }
    trace("kill", node);
    dead_incarnation = processes[node]->incarnation;
    wire.close(node);
    Process& process = *processes[node];
    process.scope.cancel();
    process.end();
    processes[node].reset();
  }
  // The failover layer tells the others: all of them, or one.
  void fence(std::size_t node, std::uint64_t incarnation) {
    for (std::size_t i = 0; i < processes.size(); ++i) {
      fence(node, incarnation, i);
    }
  }
  void fence(std::size_t node, std::uint64_t incarnation, std::size_t told) {
    if (started[node] == incarnation) {
      fenced[node] = incarnation;
    }
    trace("fence", node, told);
    if (told != node && alive(told) && processes[told]->group != nullptr) {
      if (started[node] == incarnation) {
        wire.silence(node, told);
      }
      processes[told]->group->node_fenced(node_id(node), incarnation);
    }
  }
  [[nodiscard]] bool alive(std::size_t node) const { return processes[node] != nullptr; }
  [[nodiscard]] Group* group(std::size_t node) const {
    return alive(node) ? processes[node]->group.get() : nullptr;
  }
  [[nodiscard]] bool active(std::size_t node) const {
    return group(node) != nullptr && group(node)->status().active;
  }

  // It has ended, as nobody is left who holds the intents of its view.
  [[nodiscard]] bool orphaned(std::size_t node) const {
    const bool ended = group(node) != nullptr && !processes[node]->shut_out &&
                       group(node)->status().ended.has_value();
    return ended && group(node)->status().ended->code == Errc::kFenced;
  }

  // A living node loses its disks and its links; what it has under way ends.  It is fenced, and the
  // others are still to be told.
  void shut_out(std::size_t node) {
    trace("shut out", node);
    Process& process = *processes[node];
    for (const auto& gate : process.connections.gates) {
      gate->closed = true;
    }
    wire.isolate(node);
    process.shut_out = true;
    DUET_CHECK(run_until([&] { return process.connections.quiet(); }));
  }

  // For all processes, from now on.
  void fail_disk(std::size_t disk) {
    failed_disks.insert(disk);
    for (const auto& process : processes) {
      if (process != nullptr) {
        process->fail(disk);
      }
    }
  }

  // And it loses its power, and what was not flushed.
  void cut_disk(std::size_t disk) {
    fail_disk(disk);
    blink_disk(disk);
  }
  // It loses its power and is back at once: who has lost nothing that he wrote does not hear of it.
  void blink_disk(std::size_t disk, sim::SimDisk::Keep keep = sim::SimDisk::Keep::kAny) {
    DUET_CHECK(run_until([&] {
      return std::ranges::all_of(processes, [disk](const auto& process) {
        return process == nullptr || process->connections.raw[disk]->under_way() == 0;
      });
    }));
    for (const auto& process : processes) {
      if (process != nullptr) {
        process->connections.gates[disk]->lose_power();
      }
    }
    disks[disk]->lose_power(scheduler.random(), keep);
  }
  // Its path is there again.
  void mend_disk(std::size_t disk) {
    failed_disks.erase(disk);
    only_seen_failed.erase(disk);
    for (const auto& process : processes) {
      if (process != nullptr) {
        process->connections.faulty[disk]->disarm();
      }
    }
  }

  // Runs a task to its end.
  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    TaskScope scope(scheduler);
    scope.spawn(keep(std::move(task), result));
    DUET_CHECK(scheduler.run_until([&] { return result.has_value(); }));
    DUET_CHECK(result.has_value());
    return std::move(*result);
  }
  template <typename T>
  static Task<void> keep(Task<T> task, std::optional<T>& into) {
    into = co_await std::move(task);
  }
  [[nodiscard]] bool run_until(const std::function<bool()>& done) {
    return scheduler.run_until(done, 400'000) && done();
  }

  // The disk that the label means.
  [[nodiscard]] std::size_t member(const GroupLabel& label, std::uint32_t disk) const {
    return named.at(label.members[disk].id);
  }
  // What the disks hold, without any manager.
  [[nodiscard]] const sim::SimDisk::Block& cell(const GroupLabel& label, const PlacedStripe& of,
                                                std::uint32_t column, std::uint32_t row) const {
    Geometry g = geometry_of(label);
    g.disks = of.disks;
    return disks[member(label, g.disk_of(of.stripe, column))]->block(g.disk_block(of.stripe, row));
  }
  // The labels on disks that may count: of each disk the newest, and none that is older by two.
  [[nodiscard]] std::vector<GroupLabel> present_labels() const {
    std::vector<GroupLabel> labels;
    std::uint64_t newest = 0;
    for (const auto& disk : disks) {
      std::optional<GroupLabel> best;
      for (std::uint64_t turn = 0; turn < 2; ++turn) {
        const Result<GroupLabel> label = decode_label(disk->block(label_block(turn)));
        if (label.ok() && (!best.has_value() || supersedes(label.value(), *best))) {
          best = label.value();
        }
      }
      if (best.has_value()) {
        newest = std::max(newest, best->sequence);
        labels.push_back(*best);
      }
    }
    std::erase_if(labels, [&](const GroupLabel& label) { return label.sequence + 1 < newest; });
    std::ranges::sort(labels, supersedes);
    return labels;
  }

  const WorldOptions options_;
  sim::SimScheduler scheduler;
  Wire wire;
  std::vector<std::unique_ptr<sim::SimDisk>> disks;
  std::vector<std::unique_ptr<sim::SimPersistentMemory>> memories;
  Needed needed;                        // of all nodes
  std::map<DiskId, std::size_t> named;  // which disk has, or had, this id
  std::set<std::size_t> failed_disks;
  std::set<std::size_t> only_seen_failed;        // of those: by one process
  std::map<std::size_t, std::uint64_t> fenced;   // dead nodes that are known to be
  std::map<std::size_t, std::uint64_t> started;  // the latest process of each
  std::uint64_t incarnations = 100;
  std::uint64_t dead_incarnation = 0;
  std::vector<std::unique_ptr<Process>> processes;
  const bool trace_ = std::getenv("DUET_TRACE") != nullptr;
};

// One block of a pattern, and where it may go.
inline Buffer filled(std::size_t blocks, std::uint64_t value) {
  Buffer buffer(blocks);
  sim::Random random(value);
  for (std::size_t at = 0; at < buffer.size(); at += 8) {
    store(buffer.bytes(), at, value == 0 ? 0 : random.next());
  }
  return buffer;
}

}  // namespace duet::raid::testing
