// A SCSI disk as SharedDisk, on a unit that does as it is told: complete, poor, busy, reset.

#include "shelf/scsi_disk.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "fixture.h"
#include "shelf/fence.h"

namespace duet::shelf::testing {
namespace {

constexpr Reservation kWe = Reservation::kWriteExclusive;
constexpr Reservation kEa = Reservation::kExclusiveAccess;
constexpr Duration kPatience = std::chrono::seconds(10);
constexpr std::uint8_t kIllegalRequest = 5;
constexpr std::uint8_t kUnitAttention = 6;
constexpr std::uint8_t kMiscompare = 0xE;

struct Abilities {
  bool lists = true;  // REPORT SUPPORTED OPERATION CODES
  bool abort = true;
  bool swaps = true;
  bool persists = true;
  bool exclusive_access = true;
  bool lies = false;        // lists what it cannot do
  bool believed = true;     // its aborts
  bool reconnects = false;  // sessions come back
  bool resets = true;
  bool cache = true;  // a volatile one
  std::uint32_t block_bytes = 512;
};

// A logical unit with what SPC-4 says of reservations, for registrants-only types.
class FakeUnit {
 public:
  FakeUnit(sim::SimScheduler& unit_scheduler, const Abilities& what)
      : scheduler(unit_scheduler), abilities(what), data(kBlocks * kBlockBytes) {}

  // Commands wait here while it is held; an abort drops those of a nexus.
  void let_go() {
    held = false;
    for (auto& [nexus, command] : std::exchange(waiting, {})) {
      execute(nexus, *command);
    }
  }

  void start(int nexus, ScsiCommand& command) {
    ++commands;
    command.status = ScsiStatus::kGood;
    command.received = 0;
    if (lost) {
      end(command, ScsiStatus::kLost);
    } else if (!attention.empty() && attention.erase(nexus) > 0) {
      check(command, kUnitAttention);
    } else if (busy > 0) {
      --busy;
      end(command, busy % 2 == 0 ? ScsiStatus::kBusy : ScsiStatus::kTaskSetFull);
    } else if (held && is_write(command)) {
      waiting.emplace_back(nexus, &command);
    } else {
      execute(nexus, command);
    }
  }

  // The session of a nexus ends; what it has under way goes on, unanswered.
  void drop(int nexus, ScsiStatus status = ScsiStatus::kLost) {
    for (auto& [whose, command] : waiting) {
      if (whose == nexus && command != nullptr) {
        late.push_back({number(command->cdb, 2, 8) * abilities.block_bytes, taken(*command)});
        end(*std::exchange(command, nullptr), status);
      }
    }
    std::erase_if(waiting, [](const auto& entry) { return entry.second == nullptr; });
  }
  void land_late() {
    for (const auto& [at, bytes] : std::exchange(late, {})) {
      std::ranges::copy(std::as_bytes(std::span(bytes)),
                        data.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }

  void reset(int nexus) {
    ++resets;
    late.clear();
    for (auto& [whose, command] : std::exchange(waiting, {})) {
      end(*command, whose == nexus ? ScsiStatus::kCancelled : ScsiStatus::kTaskAborted);
    }
    for (const auto& [other, key] : keys) {
      if (other != nexus) {
        attention.insert(other);
      }
    }
  }

  sim::SimScheduler& scheduler;
  Abilities abilities;
  std::vector<std::byte> data;
  std::map<int, std::uint64_t> keys;  // by nexus
  std::uint64_t holder = 0;
  std::uint8_t type = 0;
  std::uint32_t generation = 0;
  bool persistent = false;
  bool held = false;
  bool lost = false;
  int busy = 0;
  int commands = 0;
  int resets = 0;
  bool holds_resets = false;  // they end with their session; their nexus' commands at once
  int aborts_after_done = 0;  // so many swaps are done, and then said to be aborted
  int lost_answers = 0;       // so many commands that change something are done, and then lost
  std::set<int> attention;
  std::deque<std::pair<int, ScsiCommand*>> waiting;
  std::vector<std::pair<std::size_t, std::vector<std::uint8_t>>> late;

 private:
  static bool is_write(const ScsiCommand& command) {
    return command.cdb[0] == 0x8A || command.cdb[0] == 0x89;
  }
  static std::uint64_t number(std::span<const std::uint8_t> from, std::size_t at, int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) {
      value = value << 8U | from[at + static_cast<std::size_t>(i)];
    }
    return value;
  }
  void end(ScsiCommand& command, ScsiStatus status) {
    const bool changes = is_write(command) || command.cdb[0] == 0x5F;
    if (lost_answers > 0 && changes && status == ScsiStatus::kGood) {
      --lost_answers;
      status = ScsiStatus::kLost;
    }
    command.status = status;
    scheduler.post(command);
  }
  void check(ScsiCommand& command, std::uint8_t key) {
    command.sense_key = key;
    end(command, ScsiStatus::kCheckCondition);
  }
  void give(ScsiCommand& command, const std::vector<std::uint8_t>& bytes) {
    std::size_t at = 0;
    for (const MutableBytes part : command.parts) {
      for (std::byte& byte : part) {
        if (at < bytes.size()) {
          byte = std::byte{bytes[at++]};
        }
      }
    }
    command.received = at;
    end(command, ScsiStatus::kGood);
  }
  static std::vector<std::uint8_t> taken(const ScsiCommand& command) {
    std::vector<std::uint8_t> bytes;
    for (const MutableBytes part : command.parts) {
      for (const std::byte byte : part) {
        bytes.push_back(static_cast<std::uint8_t>(byte));
      }
    }
    return bytes;
  }
  static void append(std::vector<std::uint8_t>& to, std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) {
      to.push_back(static_cast<std::uint8_t>(value >> 8U * static_cast<unsigned>(i)));
    }
  }

  void execute(int nexus, ScsiCommand& command) {
    const auto& cdb = command.cdb;
    const bool conflict = type != 0 && !keys.contains(nexus);
    switch (cdb[0]) {
      case 0x00:
      case 0x91:
        end(command,
            conflict && cdb[0] == 0x91 ? ScsiStatus::kReservationConflict : ScsiStatus::kGood);
        return;
      case 0x9E: {
        std::vector<std::uint8_t> bytes;
        append(bytes, data.size() / abilities.block_bytes - 1, 8);
        append(bytes, abilities.block_bytes, 4);
        bytes.resize(32);
        give(command, bytes);
        return;
      }
      case 0x1A:
        give(command, {15, 0, 0, 0, 8, 10, static_cast<std::uint8_t>(abilities.cache ? 4 : 0)});
        return;
      case 0x12: {
        std::vector<std::uint8_t> bytes(64);
        bytes[1] = 0xB0;
        bytes[5] = static_cast<std::uint8_t>(abilities.swaps || abilities.lies ? 16 : 0);
        give(command, bytes);
        return;
      }
      case 0xA3: {
        const bool known = abilities.lies || (cdb[3] == 0x5F ? abilities.abort : abilities.swaps);
        abilities.lists ? give(command, {0, static_cast<std::uint8_t>(known ? 3 : 1), 0, 16})
                        : check(command, kIllegalRequest);
        return;
      }
      case 0x5E:
        reserve_in(command);
        return;
      case 0x5F:
        reserve_out(nexus, command);
        return;
      case 0x88:
      case 0x8A:
        if (conflict && (cdb[0] == 0x8A || type == 6)) {
          end(command, ScsiStatus::kReservationConflict);
        } else {
          transfer(command, cdb[0] == 0x8A);
        }
        return;
      case 0x89:
        if (!abilities.swaps) {
          check(command, kIllegalRequest);
        } else if (conflict) {
          end(command, ScsiStatus::kReservationConflict);
        } else {
          swap(command);
        }
        return;
      default:
        check(command, kIllegalRequest);
    }
  }

  void transfer(ScsiCommand& command, bool write) {
    std::size_t at = number(command.cdb, 2, 8) * abilities.block_bytes;
    for (const MutableBytes part : command.parts) {
      const MutableBytes here = MutableBytes(data).subspan(at, part.size());
      std::ranges::copy(write ? part : here, (write ? here : part).begin());
      at += part.size();
      command.received += part.size();
    }
    EXPECT_EQ(command.received, number(command.cdb, 10, 4) * abilities.block_bytes);
    end(command, ScsiStatus::kGood);
  }

  void swap(ScsiCommand& command) {
    const std::vector<std::uint8_t> bytes = taken(command);
    const std::size_t half = std::size_t{command.cdb[13]} * abilities.block_bytes;
    ASSERT_EQ(bytes.size(), 2 * half);
    const std::size_t at = number(command.cdb, 2, 8) * abilities.block_bytes;
    const auto same = [](std::byte a, std::uint8_t b) { return a == std::byte{b}; };
    if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(half),
                    data.begin() + static_cast<std::ptrdiff_t>(at),
                    [&](std::uint8_t b, std::byte a) { return same(a, b); })) {
      check(command, kMiscompare);
      return;
    }
    for (std::size_t i = 0; i < half; ++i) {
      data[at + i] = std::byte{bytes[half + i]};
    }
    const bool lie = aborts_after_done > 0;
    aborts_after_done -= lie ? 1 : 0;
    end(command, lie ? ScsiStatus::kTaskAborted : ScsiStatus::kGood);
  }

  void reserve_in(ScsiCommand& command) {
    std::vector<std::uint8_t> bytes;
    switch (command.cdb[1] & 0x1FU) {
      case 0:
        append(bytes, generation, 4);
        append(bytes, 8 * keys.size(), 4);
        for (const auto& [nexus, key] : keys) {
          append(bytes, key, 8);
        }
        break;
      case 1:
        append(bytes, generation, 4);
        append(bytes, type == 0 ? 0 : 16, 4);
        if (type != 0) {
          append(bytes, holder, 8);
          append(bytes, 0, 5);
          append(bytes, type, 1);
          append(bytes, 0, 2);
        }
        break;
      default:
        bytes = {0,
                 8,
                 static_cast<std::uint8_t>(abilities.persists ? 1 : 0),
                 0x80,
                 static_cast<std::uint8_t>(abilities.exclusive_access ? 0x60 : 0x20),
                 0,
                 0,
                 0};
    }
    give(command, bytes);
  }

  void reserve_out(int nexus, ScsiCommand& command) {
    const std::vector<std::uint8_t> list = taken(command);
    ASSERT_EQ(list.size(), 24U);
    const std::uint64_t mine = number(list, 0, 8);
    const std::uint64_t other = number(list, 8, 8);
    const std::uint8_t action = command.cdb[1] & 0x1FU;
    const auto found = keys.find(nexus);
    const bool known = found != keys.end() && found->second == mine;
    if (action == 6) {
      keys[nexus] = other;
      ++generation;
      persistent = list[20] == 1;
      end(command, ScsiStatus::kGood);
      return;
    }
    if (action == 5 && !abilities.abort) {
      check(command, kIllegalRequest);
      return;
    }
    if (!known) {
      end(command, ScsiStatus::kReservationConflict);
      return;
    }
    const std::uint8_t wanted = command.cdb[2] & 0xFU;
    switch (action) {
      case 0:
        EXPECT_EQ(other, 0U);
        if (holder == mine) {
          holder = type = 0;
        }
        keys.erase(nexus);
        ++generation;
        break;
      case 1:
        if (type != 0 && (holder != mine || type != wanted)) {
          end(command, ScsiStatus::kReservationConflict);
          return;
        }
        holder = mine;
        type = wanted;
        break;
      case 2:
        holder = type = 0;
        break;
      case 3:
        keys.clear();
        holder = type = 0;
        ++generation;
        break;
      case 4:
      case 5:
        preempt(mine, other, wanted, action == 5, command);
        return;
      default:
        check(command, kIllegalRequest);
        return;
    }
    end(command, ScsiStatus::kGood);
  }

  void preempt(std::uint64_t mine, std::uint64_t victim, std::uint8_t wanted, bool abort,
               ScsiCommand& command) {
    std::set<int> victims;
    for (const auto& [nexus, key] : keys) {
      if (key == victim) {
        victims.insert(nexus);
      }
    }
    if (victims.empty()) {
      end(command, ScsiStatus::kReservationConflict);
      return;
    }
    for (const int nexus : victims) {
      keys.erase(nexus);
      attention.insert(nexus);
    }
    if (abort) {
      for (auto& [nexus, task] : waiting) {
        if (victims.contains(nexus)) {
          end(*std::exchange(task, nullptr), ScsiStatus::kTaskAborted);
        }
      }
      std::erase_if(waiting, [](const auto& entry) { return entry.second == nullptr; });
    }
    if (holder == victim) {
      holder = mine;
      type = wanted;
    }
    ++generation;
    end(command, ScsiStatus::kGood);
  }
};

class FakeTransport final : public ScsiTransport {
 public:
  FakeTransport(FakeUnit& unit, int nexus) : unit_(unit), nexus_(nexus) {}
  ~FakeTransport() override {
    std::erase_if(unit_.waiting, [this](const auto& entry) { return entry.first == nexus_; });
  }
  void start(ScsiCommand& command) override {
    if (up_) {
      unit_.start(nexus_, command);
      return;
    }
    command.status = ScsiStatus::kLost;
    unit_.scheduler.post(command);
  }
  void start_reset(ScsiReset& reset) override {
    reset.done = up_ && unit_.abilities.resets && !unit_.holds_resets;
    if (up_ && unit_.holds_resets) {
      unit_.drop(nexus_, ScsiStatus::kCancelled);
      held_reset = &reset;
      return;
    }
    if (reset.done) {
      unit_.reset(nexus_);
    }
    unit_.scheduler.post(reset);
  }
  [[nodiscard]] bool aborts_are_believed() const override { return unit_.abilities.believed; }
  [[nodiscard]] bool connected() const override { return up_ && !unit_.lost; }
  [[nodiscard]] std::string_view name() const override { return "fake"; }
  [[nodiscard]] bool reconnects() const override { return unit_.abilities.reconnects; }
  void observe(ScsiObserver* observer) override { observer_ = observer; }

  void drop() {
    up_ = false;
    unit_.drop(nexus_);
    if (ScsiReset* const reset = std::exchange(held_reset, nullptr)) {
      unit_.scheduler.post(*reset);
    }
    observer_->session_changed();
  }
  void come_back() {
    up_ = true;
    observer_->session_changed();
  }
  ScsiReset* held_reset = nullptr;

 private:
  FakeUnit& unit_;
  const int nexus_;
  bool up_ = true;
  ScsiObserver* observer_ = nullptr;
};

class Units {
 public:
  explicit Units(const Abilities& abilities = {}) : unit(scheduler, abilities) {}
  std::unique_ptr<ScsiDisk> open(DiskKey key) {
    auto transport = std::make_unique<FakeTransport>(unit, ++nexus_);
    last = transport.get();
    auto opened =
        run(scheduler, ScsiDisk::open(scheduler, std::move(transport),
                                      {.key = key, .name = "lun", .fail_after = kPatience}));
    DUET_CHECK(opened.ok());
    return std::move(opened.value());
  }
  template <typename T>
  T now(Task<T> task) {
    return run(scheduler, std::move(task));
  }
  [[nodiscard]] std::byte at(std::uint64_t block) const { return unit.data[block * kBlockBytes]; }

  sim::SimScheduler scheduler{5};
  FakeUnit unit;
  FakeTransport* last = nullptr;  // of the disk that was opened last

 private:
  int nexus_ = 0;
};

TEST(ScsiDisk, FindsAllThatACompleteUnitOffers) {
  for (const std::uint32_t block_bytes : {512U, 4096U}) {
    Units units({.block_bytes = block_bytes});
    const auto a = units.open(kA1);
    EXPECT_EQ(a->block_count(), kBlocks);
    EXPECT_OK(units.now(join_disk(*a, kWe)));
    DiskFeatures all = Target::features();
    all.epochs = false;
    EXPECT_EQ(a->features(), all);
    EXPECT_TRUE(units.unit.persistent);
    EXPECT_OK(units.now(do_write(*a, 3, TestBlock(7))));
    EXPECT_OK(units.now(do_durable(*a, 63, TestBlock(8))));
    EXPECT_OK(units.now(do_flush(*a)));
    EXPECT_EQ(units.at(3), std::byte{7});
    EXPECT_EQ(units.at(4), std::byte{0});
    EXPECT_EQ(units.at(63), std::byte{8});
    TestBlock block;
    EXPECT_OK(units.now(do_read(*a, 3, block)));
    EXPECT_EQ(block.bytes, TestBlock(7).bytes);
    EXPECT_OK(units.now(do_swap(*a, 3, TestBlock(7), TestBlock(9))));
    EXPECT_ERRC(units.now(do_swap(*a, 3, TestBlock(7), TestBlock(9))), Errc::kOutOfSync);
    EXPECT_EQ(units.at(3), std::byte{9});
  }
}

TEST(ScsiDisk, BelievesNoUnitThatListsWhatItCannotDo) {
  Units units({.abort = false, .swaps = false, .lies = true});
  const auto a = units.open(kA1);
  EXPECT_TRUE(a->features().drains_on_abort);
  EXPECT_OK(units.now(do_register(*a)));
  EXPECT_FALSE(a->features().drains_on_abort);
  EXPECT_FALSE(a->features().compare_and_swap);
  EXPECT_ERRC(units.now(do_swap(*a, 3, TestBlock(0), TestBlock(9))), Errc::kNotSupported);
}

TEST(ScsiDisk, TriesWhatAUnitDoesNotList) {
  Units units({.lists = false});
  const auto a = units.open(kA1);
  EXPECT_OK(units.now(do_register(*a)));
  EXPECT_TRUE(a->features().drains_on_abort);
  EXPECT_TRUE(a->features().compare_and_swap);
}

TEST(ScsiDisk, FindsThatAUnitWithoutAListCannot) {
  Units units({.lists = false,
               .abort = false,
               .swaps = false,
               .persists = false,
               .exclusive_access = false});
  const auto a = units.open(kA1);
  EXPECT_OK(units.now(do_register(*a)));
  EXPECT_EQ(a->features(), DiskFeatures());
  EXPECT_FALSE(units.unit.persistent);
  EXPECT_ERRC(units.now(do_reserve(*a, kEa)), Errc::kNotSupported);
}

TEST(ScsiDisk, ShutsAnotherNodeOut) {
  Units units;
  const auto a = units.open(kA1);
  const auto b = units.open(kB1);
  EXPECT_OK(units.now(join_disk(*a, kEa)));
  TestBlock block;
  EXPECT_ERRC(units.now(do_read(*b, 3, block)), Errc::kFenced);
  EXPECT_ERRC(units.now(do_reserve(*b, kEa)), Errc::kFenced);
  EXPECT_OK(units.now(join_disk(*b, kEa)));
  EXPECT_ERRC(units.now(do_reserve(*b, kEa)), Errc::kRefused);
  EXPECT_OK(units.now(fence_disk(*b, kEa)));
  EXPECT_ERRC(units.now(do_write(*a, 3, TestBlock(1))), Errc::kFenced);
  EXPECT_ERRC(units.now(do_swap(*a, 3, TestBlock(0), TestBlock(1))), Errc::kFenced);
  EXPECT_ERRC(units.now(do_preempt(*a, kB1)), Errc::kFenced);
  const DiskState state = units.now(do_state(*b)).value();
  EXPECT_EQ(state.keys, std::vector{kB1});
  EXPECT_EQ(state.holder, kB1);
  EXPECT_EQ(state.reservation, kEa);
  EXPECT_EQ(units.unit.resets, 0) << "it aborts by itself";
}

// Whether it aborts or must be reset: what the victim has at the unit does not land.
TEST(ScsiDisk, NothingOfAVictimLandsAfterItsKeyIsGone) {
  for (const bool abort : {true, false}) {
    Units units({.abort = abort});
    const auto a = units.open(kA1);
    const auto b = units.open(kB1);
    EXPECT_OK(units.now(join_disk(*a, kWe)));
    EXPECT_OK(units.now(join_disk(*b, kWe)));
    const TestBlock old(1);
    const TestBlock mine(2);
    units.unit.held = true;
    std::optional<Status> late;
    std::optional<Status> own;
    TaskScope scope(units.scheduler);
    scope.spawn(store_result(do_write(*a, 3, old), late));
    scope.spawn(store_result(do_write(*b, 4, mine), own));
    ASSERT_TRUE(units.scheduler.run());
    EXPECT_EQ(units.unit.waiting.size(), 2U);
    EXPECT_OK(units.now(do_preempt(*b, kA1)));
    EXPECT_EQ(units.unit.resets, abort ? 0 : 1);
    ASSERT_TRUE(units.scheduler.run());
    units.unit.let_go();
    ASSERT_TRUE(units.scheduler.run());
    ASSERT_TRUE(late && own);
    EXPECT_ERRC(*late, Errc::kFenced);
    EXPECT_OK(*own);
    EXPECT_EQ(units.at(3), std::byte{0});
    EXPECT_EQ(units.at(4), std::byte{2});
  }
}

TEST(ScsiDisk, AnAbortThatIsNotBelievedIsFollowedByAReset) {
  Units units({.believed = false});
  const auto a = units.open(kA1);
  const auto b = units.open(kB1);
  EXPECT_OK(units.now(join_disk(*a, kWe)));
  EXPECT_OK(units.now(join_disk(*b, kWe)));
  EXPECT_FALSE(b->features().drains_on_abort);
  EXPECT_OK(units.now(fence_disk(*b, kWe)));
  EXPECT_EQ(units.unit.resets, 1);
}

TEST(ScsiDisk, ARemovalThatStoppedBeforeItsResetIsRepeatedWhole) {
  Units units({.abort = false});
  const auto a = units.open(kA1);
  const auto b = units.open(kB1);
  EXPECT_OK(units.now(join_disk(*b, kWe)));
  EXPECT_OK(units.now(do_preempt(*b, kA1)));
  EXPECT_EQ(units.unit.resets, 1) << "though the key is not there";
}

TEST(ScsiDisk, TriesAgainWhenTheUnitIsBusyOrHasNews) {
  Units units;
  const auto a = units.open(kA1);
  units.unit.attention.insert(1);
  EXPECT_OK(units.now(do_write(*a, 3, TestBlock(1))));
  units.unit.busy = 5;
  EXPECT_OK(units.now(do_write(*a, 3, TestBlock(2))));
  EXPECT_EQ(units.at(3), std::byte{2});
  units.unit.busy = 1000;
  EXPECT_ERRC(units.now(do_write(*a, 3, TestBlock(3))), Errc::kIo);
}

TEST(ScsiDisk, ASwapThatWasDoneThoughSaidToBeAbortedSucceeds) {
  Units units;
  const auto a = units.open(kA1);
  EXPECT_OK(units.now(do_register(*a)));
  units.unit.aborts_after_done = 1;
  EXPECT_OK(units.now(do_swap(*a, 3, TestBlock(0), TestBlock(1))));
  EXPECT_EQ(units.at(3), std::byte{1});
}

TEST(ScsiDisk, AnOlderIncarnationDoesNotRegisterBesideANewerOne) {
  Units units;
  const auto young = units.open(kA2);
  EXPECT_OK(units.now(join_disk(*young, kWe)));
  const auto old = units.open(kA1);
  EXPECT_ERRC(units.now(do_register(*old)), Errc::kFenced);
  EXPECT_EQ(units.now(do_state(*old)).value().keys, std::vector{kA2});
}

TEST(ScsiDisk, ALostSessionFailsEverything) {
  Units units;
  const auto a = units.open(kA1);
  units.unit.lost = true;
  EXPECT_FALSE(a->health().connected);
  EXPECT_ERRC(units.now(do_write(*a, 3, TestBlock(1))), Errc::kIo);
  EXPECT_ERRC(units.now(do_flush(*a)), Errc::kIo);
  EXPECT_ERRC(units.now(do_register(*a)), Errc::kIo);
}

Task<Status> yielded(Scheduler& scheduler) {
  co_await yield(scheduler);
  co_return Ok{};
}

// The unit's blocks as a kernel's device gives them, held as it is told.
class UnitDevice final : public BlockDevice {
 public:
  explicit UnitDevice(FakeUnit& unit) : unit_(unit) {}
  [[nodiscard]] std::uint64_t block_count() const override { return kBlocks; }
  [[nodiscard]] std::string_view name() const override { return "device"; }
  void start(BlockOperation& operation) override {
    waiting_.push_back(&operation);
    if (!held) {
      let_go();
    }
  }
  void let_go() {
    for (BlockOperation* operation : std::exchange(waiting_, {})) {
      const MutableBytes part = operation->parts.front();
      std::ranges::copy(
          part, unit_.data.begin() + static_cast<std::ptrdiff_t>(operation->block * kBlockBytes));
      unit_.scheduler.post(*operation);
    }
  }
  bool held = false;

 private:
  FakeUnit& unit_;
  std::vector<BlockOperation*> waiting_;
};

TEST(ScsiDisk, RegistersWhenWhatItBeganOnAnotherWayHasEnded) {
  Units units;
  auto device = std::make_unique<UnitDevice>(units.unit);
  UnitDevice& data = *device;
  auto opened = run(units.scheduler,
                    ScsiDisk::open(units.scheduler, std::make_unique<FakeTransport>(units.unit, 1),
                                   {.key = kA1, .name = "lun", .data = std::move(device)}));
  ASSERT_TRUE(opened.ok());
  ScsiDisk& disk = *opened.value();
  const TestBlock one(1);
  EXPECT_OK(units.now(do_write(disk, 3, one)));
  EXPECT_EQ(units.at(3), std::byte{1});
  data.held = true;
  std::optional<Status> written;
  std::optional<Status> registered;
  TaskScope scope(units.scheduler);
  scope.spawn(store_result(do_write(disk, 4, one), written));
  scope.spawn(store_result(do_register(disk), registered));
  ASSERT_TRUE(units.scheduler.run());
  EXPECT_FALSE(registered.has_value());
  EXPECT_TRUE(units.unit.keys.empty());
  EXPECT_EQ(disk.health().operations, 2U);
  data.let_go();
  ASSERT_TRUE(units.scheduler.run());
  ASSERT_TRUE(written && registered);
  EXPECT_OK(*written);
  EXPECT_OK(*registered);
}

// A node whose disk loses its session while a write is at the unit.
class LostSession : public ::testing::Test {
 protected:
  explicit LostSession(const Abilities& abilities = {.believed = false, .reconnects = true})
      : units_(abilities),
        disk_(units_.open(kA1)),
        transport_(*units_.last),
        scope_(units_.scheduler) {}
  void drop_under(Task<Status> task) {
    units_.unit.held = true;
    scope_.spawn(store_result(std::move(task), ended_));
    ASSERT_TRUE(units_.scheduler.run());
    ASSERT_FALSE(units_.unit.waiting.empty());
    transport_.drop();
    units_.unit.held = false;
    take_turns();
  }
  void take_turns() {
    for (int turn = 0; turn < 20; ++turn) {
      EXPECT_OK(units_.now(yielded(units_.scheduler)));
    }
  }
  void come_back() {
    transport_.come_back();
    ASSERT_TRUE(units_.scheduler.run_until([&] { return ended_.has_value(); }));
  }

  Units units_;
  std::unique_ptr<ScsiDisk> disk_;
  FakeTransport& transport_;
  const TestBlock one_{1};
  const TestBlock two_{2};
  std::optional<Status> ended_;
  TaskScope scope_;
};

TEST_F(LostSession, WhatWasNotAnsweredIsSentAgainInTheNext) {
  EXPECT_OK(units_.now(do_register(*disk_)));
  drop_under(do_write(*disk_, 3, one_));
  EXPECT_FALSE(ended_.has_value());
  EXPECT_FALSE(disk_->health().connected);
  EXPECT_EQ(disk_->health().operations, 1U);
  come_back();
  EXPECT_OK(*ended_);
  EXPECT_EQ(units_.at(3), std::byte{1});
  EXPECT_TRUE(disk_->health().connected);
  EXPECT_EQ(disk_->health().reconnects, 1U);
}

TEST_F(LostSession, NothingOfTheOldLandsBehindTheNew) {
  drop_under(do_write(*disk_, 3, one_));
  come_back();
  EXPECT_OK(*ended_);
  EXPECT_OK(units_.now(do_write(*disk_, 3, two_)));
  units_.unit.land_late();
  EXPECT_EQ(units_.at(3), std::byte{2});
}

TEST_F(LostSession, AResetThatIsLostWithItHasSettledNothing) {
  const auto other = units_.open(kB1);
  EXPECT_OK(units_.now(join_disk(*disk_, kWe)));
  EXPECT_OK(units_.now(join_disk(*other, kWe)));
  units_.unit.held = true;
  scope_.spawn(store_result(do_write(*disk_, 3, one_), ended_));
  ASSERT_TRUE(units_.scheduler.run());
  units_.unit.holds_resets = true;
  std::optional<Status> fenced;
  scope_.spawn(store_result(fence_disk(*disk_, kWe), fenced));
  ASSERT_TRUE(units_.scheduler.run_until([&] { return transport_.held_reset != nullptr; }));
  units_.unit.held = units_.unit.holds_resets = false;
  take_turns();
  transport_.drop();
  take_turns();
  units_.unit.abilities.resets = false;
  come_back();
  EXPECT_ERRC(*ended_, Errc::kIo);  // it may land yet
  ASSERT_TRUE(units_.scheduler.run_until([&] { return fenced.has_value(); }));
  EXPECT_ERRC(*fenced, Errc::kIo);
}

TEST_F(LostSession, FailsWritesThatNobodyKnowsTheEndOf) {
  units_.unit.abilities.resets = false;
  drop_under(do_write(*disk_, 3, one_));
  come_back();
  EXPECT_ERRC(*ended_, Errc::kIo);
  EXPECT_OK(units_.now(do_write(*disk_, 4, two_)));  // begun anew, it is not concerned
}

TEST_F(LostSession, LetsNothingBeWrittenWhereTheKeyWasForgotten) {
  EXPECT_OK(units_.now(join_disk(*disk_, kWe)));
  drop_under(do_write(*disk_, 3, one_));
  units_.unit.keys.clear();
  units_.unit.holder = units_.unit.type = 0;
  come_back();
  EXPECT_ERRC(*ended_, Errc::kFenced);
  EXPECT_ERRC(units_.now(do_write(*disk_, 3, one_)), Errc::kFenced);
  EXPECT_ERRC(units_.now(do_swap(*disk_, 3, TestBlock(0), one_)), Errc::kFenced);
  EXPECT_EQ(units_.at(3), std::byte{0});
  EXPECT_OK(units_.now(do_register(*disk_)));
  EXPECT_OK(units_.now(do_write(*disk_, 3, two_)));
}

TEST_F(LostSession, FailsWhatWaitsAfterItsTimeAndGoesOnTrying) {
  drop_under(do_write(*disk_, 3, one_));
  const Instant lost = units_.scheduler.now();
  ASSERT_TRUE(units_.scheduler.run_until([&] { return ended_.has_value(); }));
  EXPECT_ERRC(*ended_, Errc::kIo);
  EXPECT_GE(units_.scheduler.now() - lost, kPatience);
  EXPECT_ERRC(units_.now(do_write(*disk_, 3, one_)), Errc::kIo);
  transport_.come_back();
  EXPECT_TRUE(units_.scheduler.run_until([&] { return disk_->health().connected; }));
  EXPECT_OK(units_.now(do_write(*disk_, 3, two_)));
}

TEST_F(LostSession, IsNoDrainOfItsVictim) {
  const auto other = units_.open(kB1);
  EXPECT_OK(units_.now(join_disk(*disk_, kWe)));
  EXPECT_OK(units_.now(join_disk(*other, kWe)));
  drop_under(do_write(*disk_, 3, one_));
  EXPECT_OK(units_.now(fence_disk(*other, kWe)));
  units_.unit.land_late();
  EXPECT_EQ(units_.at(3), std::byte{0});
  come_back();
  EXPECT_ERRC(*ended_, Errc::kFenced);
}

TEST_F(LostSession, FailsAFlushThatCannotKnowWhatTheUnitLost) {
  EXPECT_OK(units_.now(do_write(*disk_, 3, one_)));
  transport_.drop();
  transport_.come_back();
  EXPECT_ERRC(units_.now(do_flush(*disk_)), Errc::kIo);
}

TEST_F(LostSession, FlushesWhatWasWrittenSinceItsUserBeganAnew) {
  EXPECT_OK(units_.now(do_write(*disk_, 3, one_)));
  transport_.drop();
  transport_.come_back();
  EXPECT_ERRC(units_.now(do_flush(*disk_)), Errc::kIo);
  disk_->begin_anew();
  EXPECT_OK(units_.now(do_write(*disk_, 4, one_)));
  EXPECT_OK(units_.now(do_flush(*disk_)));
  EXPECT_OK(units_.now(do_write(*disk_, 5, one_)));
  transport_.drop();
  transport_.come_back();
  EXPECT_ERRC(units_.now(do_flush(*disk_)), Errc::kIo);
}

TEST_F(LostSession, FlushesWhatWasWrittenSince) {
  EXPECT_OK(units_.now(do_write(*disk_, 3, one_)));
  EXPECT_OK(units_.now(do_flush(*disk_)));
  transport_.drop();
  transport_.come_back();
  EXPECT_OK(units_.now(do_write(*disk_, 4, one_)));
  EXPECT_OK(units_.now(do_flush(*disk_)));
}

// A command was done, and its answer lost with the session: it succeeds.
TEST_F(LostSession, EndsWellWhatWasDoneBefore) {
  const auto with_lost_answer = [this](Task<Status> task) {
    ended_.reset();
    units_.unit.lost_answers = 1;
    scope_.spawn(store_result(std::move(task), ended_));
    EXPECT_TRUE(units_.scheduler.run_until([&] { return units_.unit.lost_answers == 0; }));
    transport_.drop();
    come_back();
    return *ended_;
  };
  const auto other = units_.open(kB1);
  EXPECT_OK(units_.now(do_register(*other)));
  EXPECT_OK(with_lost_answer(do_register(*disk_)));
  EXPECT_OK(with_lost_answer(do_reserve(*disk_, kWe)));
  EXPECT_OK(with_lost_answer(do_swap(*disk_, 3, TestBlock(0), one_)));
  EXPECT_EQ(units_.at(3), std::byte{1});
  EXPECT_OK(with_lost_answer(do_preempt(*disk_, kB1)));
  EXPECT_TRUE(units_.unit.type == 5 && units_.unit.keys.size() == 1);
  EXPECT_OK(with_lost_answer(do_release(*disk_)));
  EXPECT_EQ(units_.unit.type, 0);
  EXPECT_OK(with_lost_answer(do_clear(*disk_)));
  EXPECT_TRUE(units_.unit.keys.empty());
  EXPECT_OK(units_.now(do_register(*disk_)));
  EXPECT_OK(with_lost_answer(do_unregister(*disk_)));
  EXPECT_TRUE(units_.unit.keys.empty());
}

class LostSessionWithoutCache : public LostSession {
 protected:
  LostSessionWithoutCache()
      : LostSession({.believed = false, .reconnects = true, .cache = false}) {}
};

TEST_F(LostSessionWithoutCache, FlushesWhateverWasWritten) {
  EXPECT_OK(units_.now(do_write(*disk_, 3, one_)));
  transport_.drop();
  transport_.come_back();
  EXPECT_OK(units_.now(do_flush(*disk_)));
}

TEST(ScsiDisk, TellsWhoeverWaitsThatItIsClosed) {
  Units units;
  auto a = units.open(kA1);
  units.unit.held = true;
  const TestBlock block(1);
  std::optional<Status> written;
  TaskScope scope(units.scheduler);
  scope.spawn(store_result(do_write(*a, 3, block), written));
  ASSERT_TRUE(units.scheduler.run());
  a.reset();
  EXPECT_FALSE(written.has_value());
  ASSERT_TRUE(units.scheduler.run());
  ASSERT_TRUE(written.has_value());
  EXPECT_ERRC(*written, Errc::kClosed);
}

TEST(ScsiDisk, RefusesAUnitWhoseBlocksDoNotFit) {
  Units units({.block_bytes = 520});
  auto transport = std::make_unique<FakeTransport>(units.unit, 1);
  auto opened = run(units.scheduler, ScsiDisk::open(units.scheduler, std::move(transport),
                                                    {.key = kA1, .name = "lun"}));
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Errc::kNotSupported);
}

}  // namespace
}  // namespace duet::shelf::testing
