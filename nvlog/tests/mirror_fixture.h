// What the tests of the mirrored log share: two nodes, a wire, one filer's root and mark.

#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "interconnect/sim/sim_link.h"
#include "log_fixture.h"
#include "nvlog/mirrored_log.h"
#include "sim/sim_persistent_memory.h"

namespace duet::nvlog::testing {

using interconnect::Incarnation;
using interconnect::Node;
using interconnect::SimLink;
using interconnect::SimWire;

constexpr std::size_t index(Node node) { return static_cast<std::size_t>(node); }

// The shared disks, as far as a log knows them.
struct Disks {
  Covered root{.epoch = 1, .last = Sequence{0}, .log_empty = true};
  bool mark = false;
  std::uint64_t mark_epoch = 0;
  Sequence mark_first{};
};

// Sets and clears the mark, each in its time; fails the test if two run at once.
class TestDuties final : public MirrorDuties {
 public:
  TestDuties(sim::SimScheduler& scheduler, Disks& disks) : scheduler_(scheduler), disks_(disks) {}

  Task<Status> set_solo_mark(std::uint64_t epoch, Sequence first) override {
    DUET_CHECK(!std::exchange(busy_, true));
    ++sets;
    while (hold) {
      co_await sleep(scheduler_, std::chrono::milliseconds(1));
    }
    const Duration before = some_time();
    co_await sleep(scheduler_, before);
    if (refuse) {
      busy_ = false;
      co_return Error{Errc::kFenced, "the filer is not ours"};
    }
    disks_.mark = true;
    disks_.mark_epoch = epoch;
    disks_.mark_first = first;
    changed();
    const Duration after = some_time();
    co_await sleep(scheduler_, after);
    busy_ = false;
    co_return Ok();
  }
  Task<Status> clear_solo_mark(std::uint64_t /*epoch*/) override {
    DUET_CHECK(!std::exchange(busy_, true));
    ++clears;
    const Duration before = some_time();
    co_await sleep(scheduler_, before);
    disks_.mark = false;
    changed();
    const Duration after = some_time();
    co_await sleep(scheduler_, after);
    busy_ = false;
    co_return Ok();
  }
  void want_consistency_point() override { cp_wanted = true; }
  void log_failed() override {}

  bool hold = false;
  bool refuse = false;
  bool cp_wanted = false;
  int sets = 0;
  int clears = 0;
  std::function<void()> on_change;

 private:
  Duration some_time() { return std::chrono::microseconds(100 * scheduler_.random().below(20)); }
  void changed() const {
    if (on_change) {
      on_change();
    }
  }
  sim::SimScheduler& scheduler_;
  Disks& disks_;
  bool busy_ = false;
};

// One node's process.
struct Process {
  std::unique_ptr<SimLink> link;
  std::unique_ptr<MirrorPort> port;
  std::unique_ptr<TestDuties> duties;
  std::unique_ptr<MirroredLog> log;
};

struct MirrorRecovered {
  std::unique_ptr<MirroredLog> log;
  std::vector<std::pair<std::uint64_t, Body>> records;
  Status status = Ok{};
};

// Kinds of link.  A narrow stream takes little before some of it is acknowledged.
enum class Wire : std::uint8_t { kStream, kNarrow, kOneSided };
inline std::string name_of(const ::testing::TestParamInfo<Wire>& which) {
  return which.param == Wire::kStream   ? "Stream"
         : which.param == Wire::kNarrow ? "Narrow"
                                        : "OneSided";
}
inline const auto kWires = ::testing::Values(Wire::kStream, Wire::kNarrow, Wire::kOneSided);

class Pair {
 public:
  explicit Pair(std::uint64_t seed, Wire kind, std::uint64_t half_bytes = kSmallHalf)
      : scheduler(seed), wire(scheduler, options(kind)) {
    for (const Node node : {Node::kA, Node::kB}) {
      own[index(node)] = blank(half_bytes);
      mirror[index(node)] = blank(half_bytes);
    }
  }

  static interconnect::SimWireOptions options(Wire kind) {
    interconnect::SimWireOptions options;
    options.one_sided = kind == Wire::kOneSided;
    if (kind == Wire::kNarrow) {
      options.queued_bytes_max = 200;
    }
    return options;
  }

  static std::unique_ptr<sim::SimPersistentMemory> blank(std::uint64_t half_bytes = kSmallHalf) {
    const std::vector<std::byte> bytes = small_region(half_bytes);
    auto memory = std::make_unique<sim::SimPersistentMemory>(bytes.size());
    memory->store(0, bytes);
    DUET_CHECK(memory->persist().ok());
    return memory;
  }

  void boot(Node node) {
    Process& process = processes[index(node)];
    process.link =
        wire.open({kIdentity.pair, node, Incarnation{++incarnations}}, *mirror[index(node)]);
    process.port =
        std::make_unique<MirrorPort>(*process.link, *mirror[index(node)], kIdentity.pair);
    process.duties = std::make_unique<TestDuties>(scheduler, disks);
  }
  void kill(Node node) {
    Process& process = processes[index(node)];
    process.log.reset();
    process.port.reset();
    process.link.reset();
    process.duties.reset();
  }

  MirrorRecovered recover(Node node, const PersistentMemory* copy = nullptr) {
    Process& process = processes[index(node)];
    MirrorRecovered result;
    auto log = MirroredLog::recover(
        scheduler, *own[index(node)], kIdentity, disks.root, copy, *process.port, *process.duties,
        {}, [&](const ReplayRecord& record) -> Status {
          result.records.emplace_back(static_cast<std::uint64_t>(record.sequence),
                                      Body(record.body.begin(), record.body.end()));
          return Ok{};
        });
    if (log.ok()) {
      result.log = std::move(log.value());
    } else {
      result.status = log.error();
    }
    return result;
  }

  // The rest of an opening: a CP, start, a CP.
  void open(Node node, std::unique_ptr<MirroredLog> log) {
    disks.root = {.epoch = disks.root.epoch + 1,
                  .last = log->last(),
                  .log_empty = true,
                  .mirror_generation = log->mirror_generation()};
    processes[index(node)].log = std::move(log);
    owner = node;
    DUET_CHECK(this->log().start(disks.root.epoch).ok());
    consistency_point(false);
  }
  void consistency_point(bool log_empty = false) {
    MirroredLog& own_log = log();
    if (!own_log.can_switch()) {
      return;
    }
    const Sequence covered = own_log.switch_half();
    disks.root.last = covered;
    disks.root.log_empty = log_empty;
    disks.root.mirror_generation = own_log.mirror_generation();
    DUET_CHECK(own_log.release(covered).ok());
    duties().cp_wanted = false;
  }

  [[nodiscard]] MirroredLog& log() { return *processes[index(owner)].log; }
  [[nodiscard]] TestDuties& duties() { return *processes[index(owner)].duties; }
  [[nodiscard]] MirrorPort& host() { return *processes[index(partner_of(owner))].port; }
  [[nodiscard]] sim::SimPersistentMemory& copy_memory() {
    return *mirror[index(partner_of(owner))];
  }

  // Calls `on_turn` before each turn.
  template <typename Done>
  [[nodiscard]] bool run(Done done) {
    const auto looked = [&] {
      if (on_turn) {
        on_turn();
      }
      return done();
    };
    return scheduler.run_until(looked) && done();
  }
  void run_for(Duration duration) { DUET_CHECK(scheduler.run_for(duration)); }

  // Both nodes up, the filer at a, mirrored.
  void begin() {
    boot(Node::kA);
    boot(Node::kB);
    host().admit(kIdentity.filer, 1);
    MirrorRecovered opened = recover(Node::kA);
    DUET_CHECK(opened.status.ok());
    open(Node::kA, std::move(opened.log));
    DUET_CHECK(run([this] { return synced(); }));
  }
  [[nodiscard]] bool synced() { return log().mirror_status().state == MirrorState::kSynced; }
  void append(const Body& body) { DUET_CHECK(testing::append(log(), body).ok()); }
  [[nodiscard]] std::uint64_t durable() { return static_cast<std::uint64_t>(log().durable()); }

  sim::SimScheduler scheduler;
  Disks disks;
  std::array<std::unique_ptr<sim::SimPersistentMemory>, 2> own;
  std::array<std::unique_ptr<sim::SimPersistentMemory>, 2> mirror;
  SimWire wire;
  std::array<Process, 2> processes;
  Node owner = Node::kA;
  std::uint64_t incarnations = 0;
  std::function<void()> on_turn;
};

}  // namespace duet::nvlog::testing
