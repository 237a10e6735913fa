// Two to four nodes on one group, and everything that may happen to them, drawn from a seed.

#include <gtest/gtest.h>

#include <iostream>

#include "model.h"
#include "seeds.h"

namespace duet::raid::testing {
namespace {

using std::chrono::microseconds;

struct Reached {
  std::uint64_t writes = 0;
  std::uint64_t reads = 0;
  std::uint64_t kills = 0;
  std::uint64_t blackouts = 0;
  std::uint64_t shut_out = 0;
  std::uint64_t cuts = 0;
  std::uint64_t closes = 0;
  std::uint64_t closed = 0;
  std::uint64_t rests = 0;
  std::uint64_t disks_failed = 0;
  std::uint64_t recovered = 0;
  std::uint64_t views = 0;
  std::uint64_t degraded_reads = 0;
  std::uint64_t rebuilt = 0;      // stripes
  std::uint64_t passed_by = 0;    // stripes that nobody needed
  std::uint64_t resumed = 0;      // rebuilds that a new process found begun
  std::uint64_t spares_lost = 0;  // while they were rebuilt
  std::uint64_t returned = 0;     // disks that had failed, and came back
  std::uint64_t wishes = 0;
  std::uint64_t granted = 0;
  std::uint64_t scrubbed = 0;  // stripes
  std::uint64_t scrubs_done = 0;
  std::uint64_t loose_rows = 0;   // that scrubs made to match
  std::uint64_t tightened = 0;    // groups with stripes that were passed by, and at last none
  std::uint64_t others_read = 0;  // blocks computed though they could be read
  std::uint64_t further = 0;      // disks that failed after everything was whole
  std::uint64_t expansions = 0;   // that came to their end
  std::uint64_t begun = 0;        // expansions
  std::uint64_t moved = 0;        // stripes
  std::uint64_t orphaned = 0;     // nodes that ended, as no holder was left
  std::uint64_t few_copies = 0;   // histories in which not all nodes were holders
};

// What a history is mostly about.
enum class About : std::uint8_t { kNodes, kDisks, kReturns, kExpansion };

WorldOptions some_options(sim::Random& random, About about) {
  constexpr std::array<Level, 3> kLevels = {Level::kMirror, Level::kSingleParity,
                                            Level::kDoubleParity};
  WorldOptions options;
  Geometry& g = options.geometry;
  g.level = kLevels[random.below(3)];
  const std::uint32_t least = g.level == Level::kMirror         ? 2
                              : g.level == Level::kSingleParity ? 3
                                                                : 4;
  g.disks = least + static_cast<std::uint32_t>(random.below(g.level == Level::kMirror ? 2 : 3));
  g.chunk_blocks = 1 + static_cast<std::uint32_t>(random.below(3));
  g.stripes = 3 + random.below(random.one_in(2) ? 4 : 12);
  options.nodes = 2 + random.below(3);
  options.range_stripes = 1 + static_cast<std::uint32_t>(random.below(2));
  options.step_stripes = options.range_stripes * (1 + static_cast<std::uint32_t>(random.below(2)));
  options.spares = random.below(4);
  options.blank = random.below(3);
  options.background_blocks_per_s = random.one_in(4) ? 0 : 150 + random.below(3'000);
  options.slots = 3 + static_cast<std::uint32_t>(random.below(10));
  options.pages = g.disks * g.chunk_blocks * (1 + static_cast<std::uint32_t>(random.below(3)));
  if (about == About::kDisks) {
    g.disks += g.level == Level::kMirror ? 0 : static_cast<std::uint32_t>(random.below(4));
    options.pages = 2 * g.disks * g.chunk_blocks;
    g.stripes = 8 + random.below(14);
    options.nodes = 2 + random.below(2);
    options.spares = 2 + random.below(2);
    options.blank = 2 + random.below(3);
    options.background_blocks_per_s = random.one_in(4) ? 0 : 500 + random.below(4'000);
  }
  if (about == About::kReturns) {
    g.stripes = 8 + random.below(24);
    options.nodes = 2 + random.below(2);
    options.spares = random.one_in(4) ? 1 : 0;
    options.pages = 2 * g.disks * g.chunk_blocks;
  }
  if (about == About::kExpansion) {
    g.level = random.one_in(2) ? Level::kSingleParity : Level::kDoubleParity;
    g.disks =
        (g.level == Level::kSingleParity ? 3 : 4) + static_cast<std::uint32_t>(random.below(4));
    g.stripes = 6 + random.below(24);
    options.spares = random.below(3);
    options.blank = 2 + random.below(4);
    options.pages =
        (g.disks + 6) * g.chunk_blocks * (1 + static_cast<std::uint32_t>(random.below(3)));
    options.background_blocks_per_s = random.one_in(3) ? 0 : 1'000 + random.below(20'000);
  }
  if (options.nodes > 2 && !random.one_in(4)) {
    options.copies = 2 + static_cast<std::uint32_t>(random.below(options.nodes - 2));
    for (std::uint8_t& group : options.replication_groups) {
      group = static_cast<std::uint8_t>(random.below(2));
    }
  }
  return options;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, Reached& reached, About about)
      : about_(about),
        random_(seed * 31 + 7),
        world_(seed, some_options(random_, about)),
        model_(world_),
        reached_(reached) {
    reached.few_copies += world_.options_.copies != 0 ? 1 : 0;
    model_.answer = static_cast<Answer>(random_.below(4));
    if (random_.one_in(about == About::kDisks ? 1 : 2)) {
      world_.needed = [this](std::uint64_t first, std::uint64_t count) {
        return model_.needed(first, count);
      };
    }
    for (std::size_t node = 0; node < nodes(); ++node) {
      world_.boot(node);
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps && !failed(); ++i) {
      act();
    }
    if (!failed()) {
      heal();
    }
    reached_.writes += model_.writes;
    reached_.reads += model_.reads;
    for (std::size_t node = 0; node < nodes(); ++node) {
      count(node);
    }
  }

 private:
  static bool failed() { return ::testing::Test::HasFailure(); }
  [[nodiscard]] std::size_t nodes() const { return world_.options_.nodes; }
  [[nodiscard]] std::size_t some_node() { return random_.below(nodes()); }

  void act() {
    const std::size_t node = some_node();
    if (about_ == About::kDisks && random_.one_in(25)) {
      act_on_disks(node);
      return;
    }
    if (about_ == About::kReturns && random_.one_in(20)) {
      if (random_.one_in(2)) {
        fail_a_disk();
      } else {
        take_back(node);
      }
      return;
    }
    note_growth();
    if (random_.one_in(about_ == About::kExpansion ? 60 : 400)) {
      expand(node);
      return;
    }
    const std::uint64_t what = random_.below(64);
    const bool fault = what < 5;
    switch (fault && !random_.one_in(calm_) ? 63 : what) {
      case 0:
        kill(node);
        break;
      case 1:
        if (random_.one_in(4)) {
          blackout();
        }
        break;
      case 2:
        if (world_.active(node) && random_.one_in(2)) {
          ++reached_.shut_out;
          model_.shut_out(node);
          note_dead(node, world_.processes[node]->incarnation);
        }
        break;
      case 3:
        fail_a_disk();
        break;
      case 4:
        cut(node, some_node());
        break;
      case 5:
      case 6:
      case 7:
        connect_all();
        break;
      case 8:
      case 9:
      case 10:
        boot(node);
        break;
      case 11:
      case 12:
      case 13:
      case 14:
        tell_of_the_dead(false);
        break;
      case 15:
      case 16:
        if (world_.group(node) != nullptr) {
          model_.begin_flush(node, [](const Status&) {});
        }
        break;
      case 17:
        if (random_.one_in(8)) {
          close(node);
        }
        break;
      case 18:
        if (random_.one_in(8)) {
          rest();
        }
        break;
      case 19:
        wish(node);
        break;
      case 23:
        if (random_.one_in(4)) {
          take_back(node);
        }
        break;
      case 22:
        if (random_.one_in(2 * calm_)) {
          fail_a_disk();
        }
        break;
      case 21:
        if (world_.needed) {
          model_.discard(random_.below(world_.options_.geometry.stripes));
        }
        break;
      case 20:
        if (world_.active(node) && random_.one_in(4)) {
          const Status done = random_.one_in(8) ? world_.group(node)->stop_scrub()
                                                : world_.group(node)->start_scrub(some_kind());
          static_cast<void>(done);  // it may run, or not
        }
        break;
      default:
        if (random_.one_in(3)) {
          run_for(microseconds(random_.below(random_.one_in(20) ? 30'000 : 300)));
        } else {
          use(node);
        }
    }
  }

  void act_on_disks(std::size_t node) {
    const std::uint64_t stripes = world_.options_.geometry.stripes;
    switch (random_.below(7)) {
      case 0:
        fail_a_disk();
        break;
      case 5:
        take_back(node);
        break;
      case 4:
        if (world_.active(node)) {
          const Status begun = world_.group(node)->start_scrub(some_kind());
          static_cast<void>(begun);
        }
        break;
      case 1:
        wish(node);
        break;
      case 2:
        for (std::uint64_t left = random_.below(stripes), at = random_.below(stripes); left > 0;
             --left) {
          model_.discard((at + left) % stripes);
        }
        break;
      case 3:
        rest();
        break;
      default:
        run_for(microseconds(random_.below(20'000)));
    }
  }
  void use(std::size_t node) {
    if (world_.group(node) == nullptr || busy_ > 12) {
      return;
    }
    const std::uint64_t blocks = model_.block_count();
    const std::uint64_t width = world_.options_.geometry.stripe_blocks();
    if (world_.group(node)->geometry().block_count() < blocks) {
      return;  // it has read an older label, and is not let in yet
    }
    const std::uint64_t at = random_.below(blocks);
    const std::uint64_t most = random_.one_in(3) ? width + width / 2 : 3;
    const std::size_t count = 1 + random_.below(std::min(most, blocks - at));
    const auto done = [this](const Status&) { --busy_; };
    if (random_.one_in(30)) {
      ++busy_;
      model_.begin_read_other(node, at, static_cast<std::uint32_t>(random_.below(4)), done);
    } else if (random_.one_in(3)) {
      ++busy_;
      model_.begin_read(node, at, count, done);
    } else if (!model_.writing(at, count)) {
      ++busy_;
      model_.begin_write(node, at, count,
                         random_.one_in(4) ? WriteKind::kFresh : WriteKind::kInPlace, done);
    }
  }

  void count(std::size_t node) {
    if (world_.group(node) != nullptr) {
      const GroupCounters counters = world_.group(node)->counters();
      reached_.recovered += counters.recovered;
      reached_.views += counters.views;
      reached_.degraded_reads += counters.degraded_reads;
      const RebuildStatus rebuild = world_.group(node)->status().rebuild;
      reached_.resumed += rebuild.disks != 0 && rebuild.done_before > 0;
      reached_.rebuilt += counters.rebuilt;
      reached_.passed_by += counters.passed_by;
      reached_.moved += counters.moved;
      reached_.scrubbed += counters.scrubbed;
      reached_.others_read += counters.others_read;
      const ScrubStatus scrub = world_.group(node)->status().scrub;
      reached_.loose_rows += scrub.counts.loose;
      EXPECT_TRUE(scrub.counts.repaired == 0 && scrub.counts.unsure == 0 &&
                  scrub.counts.trusted == 0)
          << "I14: a scrub at node " << node << " found what does not match";
    }
  }
  void kill(std::size_t node) {
    if (!world_.alive(node)) {
      return;
    }
    ++reached_.kills;
    count(node);
    const bool known = world_.processes[node]->shut_out;
    model_.kill(node);
    closing_.erase(node);
    busy_ = 0;  // a guess; those that are under way count down from it
    if (!known) {
      note_dead(node, world_.dead_incarnation);
    }
  }
  void cut(std::size_t node, std::size_t other) {
    ++reached_.cuts;
    world_.trace("cut", node, other);
    world_.wire.disconnect(node, other);
  }
  void note_dead(std::size_t node, std::uint64_t incarnation) {
    for (std::size_t other = 0; other < nodes(); ++other) {
      untold_.push_back({other, node, incarnation});
    }
  }
  void close(std::size_t node) {
    if (world_.active(node) && !world_.processes[node]->shut_out && closing_.insert(node).second) {
      ++reached_.closes;
      world_.trace("close", node);
      model_.begin_close(node, [this](const Status& status) { reached_.closed += status.ok(); });
    }
  }
  void blackout() {
    ++reached_.blackouts;
    for (std::size_t node = 0; node < nodes(); ++node) {
      kill(node);
    }
    model_.lose_power();
  }
  void boot(std::size_t node) {
    if (world_.alive(node)) {
      if (world_.processes[node]->shut_out || closing_.contains(node) || is_orphan(node)) {
        kill(node);
      }
      return;
    }
    world_.boot(node);
  }
  // Whether it has ended as no holder is left; then that must be true.
  bool is_orphan(std::size_t node) {
    if (!world_.orphaned(node)) {
      return false;
    }
    ++reached_.orphaned;
    const GroupStatus own = world_.group(node)->status();
    const GroupLabel label = world_.present_labels().front();
    const auto manages = [this](NodeId holder, Generation view) {
      const std::size_t at = number(holder);
      return world_.active(at) && !world_.processes[at]->shut_out &&
             world_.group(at)->status().view == view;
    };
    for_each_node(own.holders | label.holders, [&](NodeId holder) {
      EXPECT_FALSE(manages(holder, own.view) || manages(holder, Generation{label.generation}))
          << "node " << node << " ended, and node " << number(holder)
          << " holds its intents: " << state();
    });
    return true;
  }
  bool any_orphan() {
    bool any = false;
    for (std::size_t node = 0; node < nodes(); ++node) {
      any = world_.orphaned(node) || any;
    }
    return any;
  }
  void tell_of_the_dead(bool all) {
    std::erase_if(untold_, [&](const Untold& dead) {
      const bool now = all || random_.one_in(2);
      if (now) {
        world_.fence(dead.node, dead.incarnation, dead.told);
      }
      return now;
    });
  }
  // Members that do not hold everything, or may not, whichever label comes to count.
  [[nodiscard]] ColumnSet lost() const {
    ColumnSet set = 0;
    for (const GroupLabel& label : world_.present_labels()) {
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        const bool whole = static_cast<DiskState>(label.members[i].state) == DiskState::kInSync &&
                           !world_.failed_disks.contains(world_.member(label, i));
        set |= whole ? 0 : one(i);
      }
    }
    return set;
  }
  // A disk that may fail: a member while the level allows it, or is of no use yet; or a spare.
  [[nodiscard]] std::optional<std::size_t> may_fail() {
    const Geometry& g = world_.options_.geometry;
    const std::vector<GroupLabel> labels = world_.present_labels();
    const std::size_t disk = random_.below(world_.disks.size());
    const bool all = static_cast<std::uint32_t>(std::popcount(lost())) < g.check_columns();
    for (const GroupLabel& label : labels) {
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        if (world_.member(label, i) == disk && !all && (lost() & one(i)) == 0) {
          return std::nullopt;
        }
      }
    }
    // One that is being given may be a member at any moment.
    const bool comes = given_to_expand_.contains(disk) && !in_all(labels, disk);
    if (world_.failed_disks.contains(disk) || comes) {
      return std::nullopt;
    }
    return disk;
  }
  void fail_a_disk() {
    const std::optional<std::size_t> which = random_.one_in(2) ? may_fail() : std::nullopt;
    if (which.has_value()) {
      ++reached_.disks_failed;
      const std::size_t disk = *which;
      const std::size_t node = some_node();
      const GroupLabel label = world_.present_labels().front();
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        reached_.spares_lost +=
            world_.member(label, i) == disk &&
                    static_cast<DiskState>(label.members[i].state) == DiskState::kRebuilding
                ? 1
                : 0;
      }
      world_.trace("fails, perhaps for one alone: disk", disk, node);
      constexpr std::array<sim::Fault, 3> kFaults = {
          sim::Fault::kReadError, sim::Fault::kWriteError, sim::Fault::kFlushError};
      if (world_.alive(node) && random_.one_in(4)) {
        world_.processes[node]->fail_once(disk, kFaults[random_.below(3)], random_.below(12));
        world_.failed_disks.insert(disk);
        world_.only_seen_failed.insert(disk);
      } else if (world_.alive(node) && random_.one_in(2)) {
        // Of one node alone, and of this process: the group must go on without it all the same.
        world_.processes[node]->fail(disk);
        world_.failed_disks.insert(disk);  // no more than the level allows
        world_.only_seen_failed.insert(disk);
      } else if (random_.one_in(2)) {
        world_.cut_disk(disk);
      } else {
        world_.fail_disk(disk);
      }
    }
  }
  // A member that has failed, whatever label comes to count.
  [[nodiscard]] std::optional<std::uint32_t> a_failed_member() {
    const std::vector<GroupLabel> labels = world_.present_labels();
    const auto disk = static_cast<std::uint32_t>(random_.below(labels.front().disks));
    const bool failed = std::ranges::all_of(labels, [&](const GroupLabel& label) {
      return disk < label.disks && label.members[disk].id == labels.front().members[disk].id &&
             static_cast<DiskState>(label.members[disk].state) == DiskState::kFailed;
    });
    return failed ? std::optional<std::uint32_t>(disk) : std::nullopt;
  }
  // Its path is there again, and an operator says so.
  void take_back(std::size_t node) {
    const std::optional<std::uint32_t> member = a_failed_member();
    if (!member.has_value() || !world_.active(node)) {
      return;
    }
    const std::size_t disk = world_.member(world_.present_labels().front(), *member);
    if (!given_.insert(disk).second) {
      return;
    }
    world_.trace("comes back: disk", disk, node);
    world_.mend_disk(disk);
    const auto task = [](Simulation& simulation, std::size_t given,
                         Task<Status> verb) -> Task<void> {
      const Status done = co_await std::move(verb);
      simulation.reached_.returned += done.ok();
      simulation.given_.erase(given);
    };
    world_.processes[node]->scope.spawn(task(*this, disk, world_.group(node)->take_back(*member)));
  }
  // An operator adds a disk, takes a spare away, or gives a disk for a failed one: any disk that
  // the group does not use, a new one or one that it had.
  void wish(std::size_t node) {
    Group* const group = world_.group(node);
    if (group == nullptr || !world_.active(node) || random_.one_in(2)) {
      return;
    }
    ++reached_.wishes;
    const GroupLabel& label = group->status().label;
    const std::size_t disk = random_.below(world_.disks.size());
    const DiskId id = {0xADD, ++last_id_};
    if (in_use(disk) || !given_.insert(disk).second) {
      return;  // two operators may not give one disk
    }
    world_.named[id] = disk;
    BlockDevice& device = *world_.processes[node]->connections.devices[disk];
    const auto member = static_cast<std::uint32_t>(random_.below(label.disks));
    const auto task = [](Simulation& simulation, std::size_t given,
                         Task<Status> verb) -> Task<void> {
      const Status done = co_await std::move(verb);
      simulation.reached_.granted += done.ok();
      simulation.given_.erase(given);
    };
    TaskScope& scope = world_.processes[node]->scope;
    if (random_.one_in(4) && label.spare_count > 0) {
      given_.erase(disk);
      const std::size_t spare = world_.named.at(label.spares[0]);
      if (given_.insert(spare).second) {  // until it is erased it is nobody's to give
        scope.spawn(task(*this, spare, group->remove_spare(label.spares[0])));
      }
    } else if (random_.one_in(2)) {
      scope.spawn(task(*this, disk, group->add_spare(device, id, random_.one_in(2))));
    } else {
      scope.spawn(task(*this, disk, group->replace(member, device, id, random_.one_in(2))));
    }
  }
  [[nodiscard]] bool in_all(const std::vector<GroupLabel>& labels, std::size_t disk) const {
    return std::ranges::all_of(labels, [&](const GroupLabel& label) {
      bool is = false;
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        is = is || world_.member(label, i) == disk;
      }
      return is;
    });
  }
  // An operator gives the group one or two disks more.
  void expand(std::size_t node) {
    Group* const group = world_.group(node);
    if (group == nullptr || !world_.active(node)) {
      return;
    }
    std::vector<std::size_t> disks;
    const std::size_t wanted = 1 + random_.below(2);
    for (std::size_t disk = 0; disk < world_.disks.size() && disks.size() < wanted; ++disk) {
      if (!in_use(disk) && !world_.failed_disks.contains(disk) && !given_.contains(disk)) {
        disks.push_back(disk);
      }
    }
    std::vector<BlockDevice*> devices;
    std::vector<DiskId> ids;
    for (const std::size_t disk : disks) {
      devices.push_back(world_.processes[node]->connections.devices[disk]);
      ids.push_back({0xADD, ++last_id_});
      world_.named[ids.back()] = disk;
      given_.insert(disk);
      given_to_expand_.insert(disk);
    }
    if (disks.empty()) {
      return;
    }
    world_.trace("expand", node, disks.front());
    const auto task = [](Simulation& simulation, Group& of, std::vector<std::size_t> given,
                         std::vector<BlockDevice*> with, std::vector<DiskId> names) -> Task<void> {
      const Status done = co_await of.expand(with, names, true);
      simulation.reached_.begun += done.ok();
      for (const std::size_t disk : given) {
        simulation.given_.erase(disk);
      }
    };
    world_.processes[node]->scope.spawn(task(*this, *group, disks, devices, ids));
  }
  // The group may have got larger.
  void note_growth() {
    for (std::size_t node = 0; node < nodes(); ++node) {
      if (world_.active(node)) {
        const std::uint64_t blocks = world_.group(node)->geometry().block_count();
        reached_.expansions += blocks > model_.block_count() ? 1 : 0;
        model_.grow(blocks);
      }
    }
  }
  // Nothing moves, nor could.
  [[nodiscard]] bool at_rest(std::size_t node) const {
    const ExpansionStatus expansion = world_.group(node)->status().expansion;
    return expansion.disks_before == 0 || expansion.waits;
  }
  [[nodiscard]] bool in_use(std::size_t disk) const {
    for (const GroupLabel& label : world_.present_labels()) {
      for (std::uint32_t i = 0; i < label.disks; ++i) {
        if (world_.member(label, i) == disk &&
            static_cast<DiskState>(label.members[i].state) != DiskState::kFailed) {
          return true;
        }
      }
      for (std::uint32_t i = 0; i < label.spare_count; ++i) {
        if (world_.named.at(label.spares[i]) == disk) {
          return true;
        }
      }
    }
    return false;
  }
  void connect_all() {
    for (std::size_t a = 0; a < nodes(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const auto free = [this](std::size_t node) {
          return world_.alive(node) && !world_.processes[node]->shut_out;
        };
        if (free(a) && free(b)) {
          world_.wire.connect(a, b);
        }
      }
    }
  }
  // No faults for a while, and nobody comes: those who live go on, if one of them is at work.
  void rest() {
    for (std::size_t node = 0; node < nodes(); ++node) {
      if (world_.alive(node) &&
          (world_.processes[node]->shut_out || closing_.contains(node) || is_orphan(node))) {
        kill(node);
      }
    }
    tell_of_the_dead(true);
    connect_all();
    world_.trace("rest", 0);
    NodeSet here = 0;
    ASSERT_TRUE(world_.run_until([&] {
      for (std::size_t node = 0; node < nodes(); ++node) {
        if (world_.alive(node) && world_.group(node) == nullptr) {
          return world_.processes[node]->open_error.has_value();
        }
      }
      return true;
    })) << "it does not open";
    bool works = false;
    for (std::size_t node = 0; node < nodes(); ++node) {
      if (world_.alive(node) && world_.group(node) == nullptr) {
        return;
      }
      works = works || world_.active(node);
      here |= world_.alive(node) ? NodeSet{1} << node : 0;
    }
    if (!works) {
      return;
    }
    ++reached_.rests;
    ASSERT_TRUE(world_.run_until([&] {
      if (any_orphan()) {
        return true;
      }
      for (std::size_t node = 0; node < nodes(); ++node) {
        if (world_.alive(node) &&
            (!world_.active(node) || world_.group(node)->status().members != here)) {
          return false;
        }
      }
      return true;
    })) << "those who are left do not go on: "
        << state();
    for (std::size_t node = 0; node < nodes() && !failed(); ++node) {
      if (any_orphan()) {
        is_orphan(node);
      } else if (world_.alive(node)) {
        finish_one(node);
      }
    }
  }
  // A read and a flush come to their end.
  void finish_one(std::size_t node) {
    int left = 2;
    const auto done = [&left](const Status& status) {
      EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().context);
      --left;
    };
    model_.begin_read(node, random_.below(model_.block_count()), 1, done);
    model_.begin_flush(node, done);
    ASSERT_TRUE(world_.run_until([&] { return left == 0; }))
        << "a request does not end: " << state();
  }
  void run_for(Duration duration) { ASSERT_TRUE(world_.scheduler.run_for(duration, 300'000)); }

  [[nodiscard]] bool all_together() const {
    for (std::size_t node = 0; node < nodes(); ++node) {
      if (!world_.active(node) ||
          std::popcount(world_.group(node)->status().members) != static_cast<int>(nodes())) {
        return false;
      }
    }
    return true;
  }
  // Faults stop, and everything must heal.
  void heal() {
    for (std::size_t node = 0; node < nodes(); ++node) {
      boot(node);
    }
    for (std::size_t node = 0; node < nodes(); ++node) {
      boot(node);
    }
    connect_all();
    for (std::size_t again = 0; again < 4 * nodes() && !failed(); ++again) {
      ASSERT_TRUE(world_.run_until([&] { return all_together() || any_orphan(); }))
          << "it does not heal: " << state();
      for (std::size_t node = 0; node < nodes(); ++node) {
        if (is_orphan(node)) {
          kill(node);
          boot(node);
        }
      }
    }
    ASSERT_TRUE(all_together()) << "it does not heal: " << state();
    note_growth();
    world_.trace("verify", 0);
    for (std::size_t node = 0; node < nodes() && !failed(); ++node) {
      model_.verify(node);
    }
    if (failed()) {
      std::cout << state() << '\n';
    }
    for (std::size_t node = 0; node < nodes() && !failed(); ++node) {
      bool over = false;
      model_.begin_flush(node, [&over](const Status& status) {
        EXPECT_TRUE(status.ok());
        over = true;
      });
      ASSERT_TRUE(world_.run_until([&over] { return over; })) << "a flush does not end";
    }
    ASSERT_TRUE(world_.run_until([&] {
      for (std::size_t node = 0; node < nodes(); ++node) {
        if (world_.group(node)->status().intents != 0) {
          return false;
        }
      }
      return true;
    })) << "intents are left";
    ASSERT_TRUE(world_.run_until([&] {
      for (std::size_t node = 0; node < nodes(); ++node) {
        if (!whole(world_.group(node)->status().label) || !at_rest(node)) {
          return false;
        }
      }
      return true;
    })) << "what has failed is not rebuilt, or an expansion does not end: "
        << state();
    note_growth();
    if (!failed()) {
      scrub_to_the_end();
    }
    if (!failed()) {
      model_.verify_disks();
    }
    if (!failed() && random_.one_in(2)) {
      lose_more();
    }
  }
  void scrub_to_the_end() {
    const std::size_t starter = some_node();
    const Status stopped = world_.group(starter)->stop_scrub();
    static_cast<void>(stopped);
    ASSERT_TRUE(world_.run_until([&] { return one_label(); })) << "nodes go by different labels";
    const GroupLabel before = world_.group(starter)->status().label;
    const Status trusts = world_.group(starter)->start_scrub(some_kind());
    if (!trusts.ok()) {
      ASSERT_EQ(trusts.error().code, Errc::kRefused);
      ASSERT_TRUE(world_.group(starter)->start_scrub().ok());
    }
    ASSERT_TRUE(world_.run_until([&] {
      for (std::size_t node = 0; node < nodes(); ++node) {
        const ScrubStatus scrub = world_.group(node)->status().scrub;
        if (scrub.running || scrub.done != scrub.stripes) {
          return false;
        }
      }
      return true;
    })) << "a scrub does not end: "
        << state();
    ++reached_.scrubs_done;
    tightens_what_it_can(before);
  }
  [[nodiscard]] ScrubKind some_kind() {
    return random_.one_in(2) ? ScrubKind::kCompare : ScrubKind::kTrustData;
  }
  [[nodiscard]] bool one_label() const {
    const auto sequence = [this](std::size_t node) {
      return world_.group(node)->status().label.sequence;
    };
    for (std::size_t node = 1; node < nodes(); ++node) {
      if (sequence(node) != sequence(0)) {
        return false;
      }
    }
    return true;
  }
  // After a scrub that began with this label: with the same disks all the time, nothing is loose
  // but where a row was left, or a block could not be read.
  void tightens_what_it_can(const GroupLabel& before) {
    const auto is_loose_at_all = [](const GroupLabel& label) {
      return std::ranges::any_of(label.loose, [](std::uint64_t word) { return word != 0; });
    };
    const ScrubCounts counts = world_.group(0)->status().scrub.counts;
    const bool whole = std::all_of(
        before.members.begin(), before.members.begin() + before.disks, [](const LabelDisk& disk) {
          return static_cast<DiskState>(disk.state) == DiskState::kInSync;
        });
    if (!whole || before.disks_before != 0 || counts.loose_left != 0 || counts.unreadable != 0) {
      return;
    }
    bool same = true;
    ASSERT_TRUE(world_.run_until([&] {
      bool tight = true;
      for (std::size_t node = 0; node < nodes(); ++node) {
        const GroupLabel label = world_.group(node)->status().label;
        same = same && label.members == before.members;
        tight = tight && !is_loose_at_all(label);
      }
      return !same || tight;
    })) << "stripes stay loose: "
        << state();
    reached_.tightened += same && is_loose_at_all(before) ? 1 : 0;
  }
  // The disk that had this id has a label with it.
  [[nodiscard]] bool named_so(const DiskId& id) const {
    const sim::SimDisk& disk = *world_.disks[world_.named.at(id)];
    std::optional<GroupLabel> best;
    for (std::uint64_t turn = 0; turn < 2; ++turn) {
      const Result<GroupLabel> label = decode_label(disk.block(label_block(turn)));
      if (label.ok() && (!best.has_value() || supersedes(label.value(), *best))) {
        best = label.value();
      }
    }
    return best.has_value() && best->own_id == id;
  }
  // Nothing is to be rebuilt, nor could be.
  [[nodiscard]] bool whole(const GroupLabel& label) const {
    const auto usable = [this](const DiskId& id) {
      return !world_.failed_disks.contains(world_.named.at(id));
    };
    const bool spare =
        std::any_of(label.spares.begin(), label.spares.begin() + label.spare_count, usable);
    for (std::uint32_t i = 0; i < label.disks; ++i) {
      const auto state = static_cast<DiskState>(label.members[i].state);
      if (state == DiskState::kRebuilding || (state == DiskState::kFailed && spare)) {
        return false;
      }
    }
    return true;
  }
  // As many further disks as the level allows, all at once.
  void lose_more() {
    const GroupLabel label = world_.present_labels().front();
    const auto allowed = static_cast<int>(world_.options_.geometry.check_columns());
    const auto first_disk = static_cast<std::uint32_t>(random_.below(label.disks));
    for (std::uint32_t i = 0; i < label.disks; ++i) {
      const std::uint32_t disk = (first_disk + i) % label.disks;
      if (std::popcount(lost()) < allowed && (lost() & one(disk)) == 0) {
        ++reached_.further;
        world_.fail_disk(world_.member(label, disk));
      }
    }
    model_.verify(some_node());
  }
  std::string state() {
    std::string text;
    for (std::size_t node = 0; node < nodes(); ++node) {
      text += "\n  node " + std::to_string(node);
      if (world_.group(node) == nullptr) {
        text += world_.alive(node) ? " opening" : " dead";
        continue;
      }
      const GroupStatus s = world_.group(node)->status();
      text += " active " + std::to_string(s.active) + " leads " + std::to_string(s.leads) +
              " view " + std::to_string(static_cast<std::uint64_t>(s.view)) + " members " +
              std::to_string(s.members) + " label " + std::to_string(s.label.generation) +
              " managers " + std::to_string(s.label.managers) + " holders " +
              std::to_string(s.label.holders) + " intents " + std::to_string(s.intents) + " disks";
      for (std::uint32_t i = 0; i < s.label.disks; ++i) {
        const LabelDisk& disk = s.label.members[i];
        text += " " + std::to_string(world_.member(s.label, i)) + "ifr"[disk.state - 1] +
                std::to_string(disk.watermark);
      }
      text += " spares";
      for (std::uint32_t i = 0; i < s.label.spare_count; ++i) {
        const std::size_t disk = world_.named.at(s.label.spares[i]);
        text +=
            " " + std::to_string(disk) + (named_so(s.label.spares[i]) ? "" : " (another by now)");
      }
      text += s.ended.has_value() ? " ended: " + std::string(s.ended->context) : "";
      text += " rebuilt to " + std::to_string(s.rebuild.done);
      if (s.expansion.disks_before != 0) {
        text += " expanded to " + std::to_string(s.expansion.done) + " from " +
                std::to_string(s.expansion.disks_before) + " disks, waits " +
                std::to_string(s.expansion.waits);
        if (s.expansion.trouble.has_value()) {
          text += " trouble: " + std::string(s.expansion.trouble->context);
        }
      }
      if (s.rebuild.trouble.has_value()) {
        text += " trouble: " + std::string(s.rebuild.trouble->context);
      }
    }
    return text;
  }

  const About about_;
  sim::Random random_;
  World world_;
  Model model_;
  Reached& reached_;
  int busy_ = 0;
  const std::uint64_t calm_ =
      (about_ == About::kNodes ? 1 : 3) + random_.below(12);  // the greater, the fewer faults
  // Dead, or shut out, and somebody is not told yet.
  struct Untold {
    std::size_t told;
    std::size_t node;
    std::uint64_t incarnation;
  };
  std::vector<Untold> untold_;
  std::set<std::size_t> closing_;
  std::uint64_t last_id_ = 0;
  std::set<std::size_t> given_;            // disks that an operator's verb is about
  std::set<std::size_t> given_to_expand_;  // ever
};

Reached explore(About about, std::uint64_t same, int fresh) {
  Reached reached;
  for (const std::uint64_t seed : seeds(same, fresh)) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Simulation(seed, reached, about).run(1500);
    if (::testing::Test::HasFailure()) {
      std::cout << "seed " << seed << '\n';
      break;
    }
  }
  std::cout << "writes " << reached.writes << ", reads " << reached.reads << ", kills "
            << reached.kills << ", blackouts " << reached.blackouts << ", shut out "
            << reached.shut_out << ", closed " << reached.closed << " of " << reached.closes
            << ", rests " << reached.rests << ", cuts " << reached.cuts << ", disks "
            << reached.disks_failed << ", intents recovered " << reached.recovered << ", views "
            << reached.views << ", degraded reads " << reached.degraded_reads
            << ", stripes rebuilt " << reached.rebuilt << ", passed by " << reached.passed_by
            << ", rebuilds resumed " << reached.resumed << ", spares lost " << reached.spares_lost
            << ", disks returned " << reached.returned << ", wishes granted " << reached.granted
            << " of " << reached.wishes << ", stripes scrubbed " << reached.scrubbed
            << ", whole scrubs " << reached.scrubs_done << ", loose rows " << reached.loose_rows
            << ", groups tightened " << reached.tightened << ", blocks computed another way "
            << reached.others_read << ", further disks " << reached.further << ", expansions "
            << reached.expansions << " of " << reached.begun << ", stripes moved " << reached.moved
            << ", of few copies " << reached.few_copies << ", left without a holder "
            << reached.orphaned << '\n';
  return reached;
}
// Whether what was reached can be compared with what should be.
bool tried_enough() {
  return std::getenv("DUET_SEED") == nullptr && std::getenv("DUET_FRESH") == nullptr &&
         !::testing::Test::HasFailure();
}

TEST(Simulation, WhateverHappensNothingAcknowledgedIsLostAndCheckDataMatches) {
  const Reached reached = explore(About::kNodes, 60, 60);
  if (tried_enough()) {
    EXPECT_GT(reached.recovered, 200U);
    EXPECT_GT(reached.blackouts, 50U);
    EXPECT_GT(reached.shut_out, 50U);
    EXPECT_GT(reached.degraded_reads, 200U);
    EXPECT_GT(reached.closed, 50U);
    EXPECT_GT(reached.rests, 50U);
    EXPECT_GT(reached.scrubs_done, 50U);
    EXPECT_GT(reached.others_read, 100U);
  }
}

TEST(Simulation, WhateverHappensMeanwhileDisksAreRebuiltAndScrubbed) {
  const Reached reached = explore(About::kDisks, 40, 60);
  if (tried_enough()) {
    EXPECT_GT(reached.blackouts, 10U);
    EXPECT_GT(reached.rebuilt, 500U);
    EXPECT_GT(reached.passed_by, 20U);
    // Of 1,000 fresh seeds 96, 91 and 278: a hundred must not miss them by chance.
    EXPECT_GT(reached.resumed, 0U);
    EXPECT_GT(reached.spares_lost, 0U);
    EXPECT_GT(reached.further, 5U);
    EXPECT_GT(reached.granted, 20U);
    EXPECT_GT(reached.scrubbed, 500U);
    EXPECT_GT(reached.scrubs_done, 50U);
  }
}

TEST(Simulation, WhateverHappensMeanwhileDisksComeBackAndCatchUp) {
  const Reached reached = explore(About::kReturns, 40, 60);
  if (tried_enough()) {
    EXPECT_GT(reached.blackouts, 10U);
    EXPECT_GT(reached.returned, 100U);
    EXPECT_GT(reached.degraded_reads, 200U);
    EXPECT_GT(reached.further, 5U);
    EXPECT_GT(reached.scrubs_done, 50U);
  }
}

TEST(Simulation, WhateverHappensMeanwhileTheGroupSpreadsOverMoreDisks) {
  const Reached reached = explore(About::kExpansion, 40, 60);
  if (tried_enough()) {
    EXPECT_GT(reached.begun, 50U);
    EXPECT_GT(reached.expansions, 40U);
    EXPECT_GT(reached.moved, 1'000U);
    EXPECT_GT(reached.blackouts, 10U);
    EXPECT_GT(reached.rebuilt, 100U);
    EXPECT_GT(reached.scrubs_done, 50U);
  }
}

}  // namespace
}  // namespace duet::raid::testing
