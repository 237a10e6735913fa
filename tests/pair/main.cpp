// duet_pair_sim: pairs under random faults, from fresh seeds or from a known one.
//
//   duet_pair_sim [--seed N | --seeds N | --seconds S] [--faults N] [--complete] [--verbose]
//
// Safety is checked to the end of each run; then the faults stop and all must heal.  Ends with how
// often each fault was done, each step, decision, evidence and state was reached, and each step
// was the one that a node was killed or frozen at.  With --complete it fails when something that is
// planned was never reached; thousands of seeds reach all.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>

#include "world.h"

namespace duet::pair {
namespace {

using namespace std::chrono_literals;

struct Totals {
  std::map<std::string, std::uint64_t> faults;
  std::map<std::string, std::uint64_t> steps;
  std::map<std::string, std::uint64_t> killed_at;
  std::map<std::string, std::uint64_t> frozen_at;
  std::map<std::string, std::uint64_t> events;
  std::map<std::string, std::uint64_t> decisions;
  std::map<std::string, std::uint64_t> evidence;
  std::map<std::string, std::uint64_t> states;
  std::uint64_t replies = 0;
  std::uint64_t runs = 0;
};

class Run {
 public:
  Run(std::uint64_t seed, std::uint64_t faults, bool verbose, Totals& totals)
      : totals_(totals), faults_(faults), verbose_(verbose), world_(options(seed, verbose)) {}

  // Empty: nothing is wrong.
  std::string operator()() {
    world_.auto_restart = true;
    world_.on_step = [this](std::uint32_t node, std::string_view step) { maybe_kill(node, step); };
    world_.boot(0);
    world_.boot(1);
    world_.run_for(some(3000));
    may_kill_at_steps_ = true;
    for (std::uint64_t i = 0; i < faults_ && world_.oracle.complaint().empty(); ++i) {
      fault();
      world_.run_for(some(one_in(3) ? 3000 : 600));
    }
    heal();
    const bool healed = world_.oracle.complaint().empty() && served_again();
    std::string wrong;
    if (healed && world_.process(0)->groups != nullptr) {
      wrong = world_.scrub();
    }
    add(totals_.steps, world_.steps);
    add(totals_.events, world_.events);
    add(totals_.decisions, world_.decisions);
    add(totals_.evidence, world_.evidence);
    add(totals_.states, world_.states);
    totals_.replies += world_.oracle.filer(0).replies + world_.oracle.filer(1).replies;
    if (!world_.oracle.complaint().empty()) {
      return world_.oracle.complaint();
    }
    return healed ? wrong : "the faults have ended, and not all is served again: " + state();
  }

 private:
  using Counts = std::map<std::string, std::uint64_t>;
  static void add(Counts& to, const Counts& from) {
    for (const auto& [name, count] : from) {
      to[name] += count;
    }
  }
  static WorldOptions options(std::uint64_t seed, bool verbose) {
    sim::Random random(seed * 3 + 1);
    WorldOptions options;
    options.seed = seed;
    options.one_sided = random.one_in(2);
    options.drift_ppm = static_cast<std::int64_t>(random.below(80'000)) - 40'000;
    options.late_one_in = random.one_in(3) ? 60 : 500;
    options.arbitration = random.below(kDisks);
    options.request_every = std::chrono::microseconds(500 + random.below(6000));
    options.epochs = !random.one_in(3);
    options.automatic_giveback = random.one_in(2);
    options.givebacks_per_hour = 1 + random.below(5);
    options.waits_for_disks = random.one_in(4);
    options.late_disks = random.one_in(3);
    options.groups = random.one_in(2);
    options.verbose = verbose;
    return options;
  }
  sim::Random& random() { return world_.scheduler.random(); }
  bool one_in(std::uint64_t n) { return random().one_in(n); }
  Duration some(std::uint64_t ms) { return std::chrono::microseconds(random().below(ms * 1000)); }
  std::uint32_t node() { return static_cast<std::uint32_t>(random().below(2)); }

  void maybe_kill(std::uint32_t node, std::string_view step) {
    if (may_kill_at_steps_ && one_in(60)) {
      ++totals_.killed_at[std::string(step)];
      world_.kill_soon(node);
    } else if (may_kill_at_steps_ && one_in(60)) {
      ++totals_.frozen_at[std::string(step)];
      freeze(node);
    }
  }

  void count(const char* name) {
    ++totals_.faults[name];
    if (verbose_) {
      std::printf("%9.3f * %s\n",
                  static_cast<double>(world_.scheduler.now().since_start.count()) / 1e9, name);
    }
  }
  void restart_later(std::uint32_t n) {
    world_.at(some(4000), [this, n] {
      if (world_.process(n) == nullptr) {
        world_.boot(n);
      }
    });
  }

  void fault() {
    const std::uint32_t n = node();
    switch (random().below(18)) {
      case 0:
      case 1:
        return kill(n);
      case 2:
        count("both lose power");
        for (const std::uint32_t each : {0U, 1U}) {
          world_.kill(each);
          world_.lose_power(each, false);
          restart_later(each);
        }
        return;
      case 3:
        return freeze(n);
      case 4:
      case 5:
        return cut_paths(n);
      case 6:
        return cut_link(n);
      case 7:
        count("link reset");
        return world_.wire().reset();
      case 8:
        return kill_shelf();
      case 9:
      case 10:
        return hand_over(n);
      case 11:
        return replace_member(n);
      case 12:
        return fail_member(n);
      case 13:
        return fail_record_disk();
      case 14:
        return move_record(n);
      case 15:
      case 16:
        return restart_without_disks(n);
      default:
        return together(n);
    }
  }

  // To a disk of the node that is no member, or to any: refused then.
  void replace_member(std::uint32_t n) {
    if (world_.process(n) == nullptr) {
      return;
    }
    const std::vector<std::size_t> members = world_.pair(n).status().members[n].disks;
    if (members.empty()) {
      return;
    }
    const std::size_t from = members[random().below(members.size())];
    const std::size_t first = n * kDisksPerFiler;
    for (std::size_t to = first; to < first + kDisksPerFiler; ++to) {
      if (world_.pair(n).start_replacement(from, to).ok()) {
        count("member replacement begun");
        return;
      }
    }
    count("member replacement refused");
  }

  void cut_for_both(std::size_t disk, Duration time) {
    for (const std::uint32_t n : {0U, 1U}) {
      world_.path(n, disk).cut();
      world_.at(time, [this, n, disk] { world_.path(n, disk).heal(); });
    }
  }

  // A member without a root on it, so that the filer lives; it comes back with what it had.
  void fail_member(std::uint32_t n) {
    const std::size_t spare = n * kDisksPerFiler + kRootDisks;
    if (world_.process(n) == nullptr) {
      return;
    }
    const std::vector<std::size_t> members = world_.pair(n).status().members[n].disks;
    if (std::ranges::find(members, spare) == members.end()) {
      return replace_member(n);
    }
    count("member failed");
    cut_for_both(spare, 500ms + some(5000));
    world_.at(some(1500), [this, n] { replace_member(n); });
  }

  void fail_record_disk() {
    count("record's disk failed");
    cut_for_both(world_.record_disk(), 500ms + some(6000));
  }

  // One node or both begin anew while some disk is away, for one of them or for both.
  void restart_without_disks(std::uint32_t n) {
    count("restarted without a disk");
    const bool both = one_in(4);
    const std::uint64_t disks = one_in(3) ? 2 : 1;
    for (std::uint64_t i = 0; i < disks; ++i) {
      const std::size_t disk = random().below(kDisks);
      const Duration time = 500ms + some(8000);
      if (one_in(2)) {
        cut_for_both(disk, time);
      } else {
        world_.path(n, disk).cut();
        world_.at(time, [this, n, disk] { world_.path(n, disk).heal(); });
      }
    }
    world_.run_for(some(one_in(2) ? 50 : 2500));
    for (const std::uint32_t each : {0U, 1U}) {
      if (world_.process(each) == nullptr || (each != n && !both)) {
        continue;
      }
      world_.kill(each);
      world_.at(some(1000), [this, each] {
        if (world_.process(each) == nullptr) {
          world_.boot(each);
        }
      });
    }
  }

  void move_record(std::uint32_t n) {
    if (world_.process(n) == nullptr) {
      return;
    }
    const bool begun = world_.pair(n).start_move(random().below(kDisks)).ok();
    count(begun ? "move of the record begun" : "move of the record refused");
  }

  void kill(std::uint32_t n) {
    if (world_.process(n) == nullptr) {
      return;
    }
    if (one_in(4)) {
      world_.wire().die_silently(interconnect::Node{static_cast<std::uint8_t>(n)});
    }
    // The partner has what the logs say, and what the group's intents say.
    const bool held_twice = world_.synced(0) && world_.synced(1) && world_.shares_group();
    const bool safe_to_blank =
        !blanked_ && held_twice && world_.process(1 - n) != nullptr && n == blank_node_;
    world_.kill(n);
    if (safe_to_blank && one_in(3)) {
      // Its partner holds all; and stays, as two losses at once are not survived.
      count("memory lost");
      blanked_ = true;
      may_kill_at_steps_ = false;
      world_.lose_power(n, true);
      world_.boot(n);
      world_.run_until([this] { return world_.synced(0) && world_.synced(1); }, 20s);
      may_kill_at_steps_ = true;
      return;
    }
    if (one_in(2)) {
      count("node loses power");
      world_.lose_power(n, false);
    } else {
      count("kill -9");
      if (one_in(2)) {
        count("last words");
        world_.say_last_words(n, one_in(2) ? Duration(0) : some(3000));
      }
    }
    restart_later(n);
  }

  void freeze(std::uint32_t n) {
    if (world_.process(n) == nullptr || world_.process(n)->scheduler.frozen()) {
      return;
    }
    count("process frozen");
    Process* const process = world_.process(n);
    process->scheduler.freeze();
    world_.at(some(one_in(2) ? 700 : 3000), [this, n, process] {
      if (world_.process(n) == process) {
        process->scheduler.thaw();
      }
    });
  }

  void cut_paths(std::uint32_t n) {
    count("paths cut");
    const std::uint64_t set = 1 + random().below((1U << kDisks) - 1);
    const std::uint64_t how = random().below(4);
    for (std::size_t i = 0; i < kDisks; ++i) {
      if ((set >> i & 1U) == 0) {
        continue;
      }
      how == 0   ? world_.path(n, i).cut_there()
      : how == 1 ? world_.path(n, i).cut_back()
                 : world_.path(n, i).cut();
      world_.at(some(4000), [this, n, i] { world_.path(n, i).heal(); });
    }
  }

  void cut_link(std::uint32_t n) {
    count("link cut");
    const bool both = one_in(2);
    for (const std::uint32_t each : {0U, 1U}) {
      if (both || each == n) {
        world_.wire().cut(interconnect::Node{static_cast<std::uint8_t>(each)});
      }
    }
    world_.at(some(3000), [this] {
      world_.wire().heal(interconnect::Node::kA);
      world_.wire().heal(interconnect::Node::kB);
    });
  }

  void kill_shelf() {
    const std::size_t i = random().below(kDisks);
    if (!world_.shelf(i).running()) {
      return;
    }
    count("shelf killed");
    world_.kill_shelf(i);
    world_.at(some(1500), [this, i] { world_.start_shelf(i); });
  }

  void hand_over(std::uint32_t n) {
    if (world_.process(n) == nullptr) {
      return;
    }
    const std::uint32_t filer = node();
    if (one_in(2)) {  // wait until it is possible
      world_.run_until(
          [&] {
            return world_.process(n) == nullptr || world_.pair(n).handover_vetoes(filer).empty();
          },
          5s);
      if (world_.process(n) == nullptr) {
        return;
      }
    }
    if (one_in(3)) {
      count("planned takeover asked");
      static_cast<void>(world_.pair(n).ask_for(filer));
    } else if (world_.pair(n).start_handover(filer).ok()) {
      count("handover begun");
    }
  }

  // A dead machine takes its link along, a partition its disks.
  void together(std::uint32_t n) {
    count("partition of all");
    for (std::size_t i = 0; i < kDisks; ++i) {
      world_.path(n, i).cut();
    }
    world_.wire().cut(interconnect::Node::kA);
    world_.wire().cut(interconnect::Node::kB);
    world_.at(some(4000), [this, n] {
      for (std::size_t i = 0; i < kDisks; ++i) {
        world_.path(n, i).heal();
      }
      world_.wire().heal(interconnect::Node::kA);
      world_.wire().heal(interconnect::Node::kB);
    });
  }

  void heal() {
    may_kill_at_steps_ = false;
    world_.run_for(5s);  // what was to be undone later is
    for (std::uint32_t n = 0; n < 2; ++n) {
      for (std::size_t i = 0; i < kDisks; ++i) {
        world_.path(n, i).heal();
      }
      if (world_.process(n) == nullptr) {
        world_.boot(n);
      }
      world_.process(n)->scheduler.thaw();
    }
    world_.wire().heal(interconnect::Node::kA);
    world_.wire().heal(interconnect::Node::kB);
  }

  bool served_again() {
    return world_.run_until(
        [this] {
          return world_.answering(0) >= 0 && world_.answering(1) >= 0 && world_.synced(0) &&
                 world_.synced(1) && agreed() && world_.shares_group();
        },
        90s);
  }
  // Both nodes know the same members and the same place of the record, and nothing is half done.
  bool agreed() {
    const failover::PairStatus a = world_.pair(0).status();
    const failover::PairStatus b = world_.pair(1).status();
    for (std::size_t n = 0; n < 2; ++n) {
      if (a.members[n].disks != b.members[n].disks ||
          a.members[n].generation != b.members[n].generation) {
        return false;
      }
    }
    return a.arbitration == b.arbitration && a.arbitration == world_.record_disk() && !a.moving &&
           !b.moving && !a.replacing && !b.replacing;
  }
  std::string state() {
    std::string text;
    for (std::uint32_t n = 0; n < 2; ++n) {
      if (world_.process(n) == nullptr) {
        text += " (no process)";
        continue;
      }
      const failover::PairStatus status = world_.pair(n).status();
      for (const failover::FilerStatus& filer : status.filers) {
        text += " [" + std::to_string(static_cast<int>(filer.state)) + " owner " +
                std::to_string(filer.owner) + " epoch " + std::to_string(filer.epoch) +
                (filer.answering ? " answering " : " ") + std::string(filer.waits_for) + "]";
      }
      for (const failover::MembersStatus& members : status.members) {
        text += " members " + std::to_string(members.generation) + ":";
        for (const std::size_t disk : members.disks) {
          text += std::to_string(disk);
        }
      }
      text += " record at " + std::to_string(status.arbitration);
      text += status.moving ? " moving" : "";
      text += status.replacing ? " replacing" : "";
      text += status.conflict ? " conflict" : "";
      text += status.halted ? " halted;" : ";";
      const auto& groups = world_.process(n)->groups;
      const raid::Group* const group =
          groups == nullptr ? nullptr : groups->all().front()->manager();
      if (group != nullptr) {
        const raid::GroupStatus managed = group->status();
        text += managed.active ? " group active" : " group waits";
        text += " view " + std::to_string(static_cast<std::uint64_t>(managed.view)) + " of " +
                std::to_string(managed.members) + " label " +
                std::to_string(managed.label.generation) + " held by " +
                std::to_string(managed.label.holders) + " owed " +
                std::to_string(managed.label.owed) + ";";
      }
    }
    return text;
  }

  Totals& totals_;
  const std::uint64_t faults_;
  const bool verbose_;
  World world_;
  bool may_kill_at_steps_ = false;
  bool blanked_ = false;
  std::uint32_t blank_node_ = 0;
};

void print(const char* title, const std::map<std::string, std::uint64_t>& counts) {
  std::printf("%s:\n", title);
  for (const auto& [name, count] : counts) {
    std::printf("  %-28s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
  }
}

bool all_in(const char* title, const std::map<std::string, std::uint64_t>& counts,
            std::initializer_list<const char*> planned) {
  bool all = true;
  for (const char* const name : planned) {
    if (!counts.contains(name)) {
      std::printf("never reached: %s: %s\n", title, name);
      all = false;
    }
  }
  return all;
}

// Planned and never hit is not tested.
bool soon_reached(const Totals& totals) {
  return all_in("step", totals.steps,
                {"open at home",
                 "open what was handed over",
                 "fence",
                 "second wait",
                 "cut the partner off the log",
                 "refuse",
                 "conflict",
                 "conflict over",
                 "lose",
                 "settle",
                 "commit",
                 "handed over",
                 "serve on",
                 "solo mark",
                 "clear solo mark",
                 "wait out the lease",
                 "member replaced",
                 "record moved",
                 "entered by the partner's word",
                 "tell the partner",
                 "late disk admitted"});
}

// ... in thousands of runs.
bool all_reached(const Totals& totals) {
  bool all = soon_reached(totals);
  all &= all_in("fault", totals.faults,
                {"both lose power",
                 "handover begun",
                 "kill -9",
                 "last words",
                 "link cut",
                 "link reset",
                 "member failed",
                 "member replacement begun",
                 "member replacement refused",
                 "memory lost",
                 "move of the record begun",
                 "move of the record refused",
                 "node loses power",
                 "partition of all",
                 "paths cut",
                 "planned takeover asked",
                 "process frozen",
                 "record's disk failed",
                 "restarted without a disk",
                 "shelf killed"});
  all &= all_in("step", totals.steps,
                {"agree to move the record",
                 "ask to move the record",
                 "automatic giveback",
                 "automatic giveback stops",
                 "close",
                 "gave ownership back",
                 "give the move up",
                 "join disks",
                 "lease lapsed",
                 "member not replaced",
                 "members into the root",
                 "members settled",
                 "move given up",
                 "move the record",
                 "old record retired",
                 "partner's members changed",
                 "promise dropped",
                 "promise found",
                 "put the record",
                 "replace a member"});
  for (const auto* const at : {&totals.killed_at, &totals.frozen_at}) {
    all &= all_in(at == &totals.killed_at ? "killed at" : "frozen at", *at,
                  {"agree to move the record",
                   "ask to move the record",
                   "automatic giveback",
                   "clear solo mark",
                   "commit",
                   "conflict",
                   "cut the partner off the log",
                   "entered by the partner's word",
                   "fence",
                   "handed over",
                   "join disks",
                   "member replaced",
                   "members into the root",
                   "move the record",
                   "open at home",
                   "open what was handed over",
                   "put the record",
                   "raise epochs",
                   "read again",
                   "record moved",
                   "refuse",
                   "replace a member",
                   "replay",
                   "second wait",
                   "serve",
                   "settle",
                   "solo mark",
                   "swap ownership",
                   "tell the partner",
                   "wait out the lease"});
  }
  all &= all_in("decision", totals.decisions,
                {"await its restart, -", "go solo, cannot prove", "go solo, link lost",
                 "go solo, mailbox blind", "go solo, member lost", "go solo, partner was solo",
                 "nothing, -", "nothing, mailbox blind", "nothing, mailbox stale",
                 "nothing, member lost", "read the owner record, -", "resync, -", "take over, -"});
  all &= all_in("state", totals.states,
                {"at home, away", "at home, opening", "at home, serving", "at home, handing",
                 "at home, ending", "at the partner, away", "at the partner, opening",
                 "at the partner, serving", "at the partner, handing", "at the partner, ending"});
  all &= all_in(
      "evidence", totals.evidence,
      {"up, both, changing, synced", "up, both, changing, solo", "up, both, stale, synced",
       "up, one, changing, synced", "up, none, changing, synced", "lost, both, changing, synced",
       "lost, both, changing, solo", "lost, both, stale, synced", "lost, both, stale, solo",
       "lost, one, stale, synced", "lost, one, stale, solo", "lost, none, changing, synced",
       "reset, both, changing, synced", "reset, both, stale, synced",
       "reset, one, changing, synced"});
  return all;
}

}  // namespace
}  // namespace duet::pair

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t seeds = 20;
  std::uint64_t faults = 25;
  double seconds = 0;
  bool one = false;
  bool verbose = false;
  bool complete = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--verbose") {
      verbose = true;
    } else if (name == "--complete") {
      complete = true;
    } else if (i + 1 == argc) {
      std::fprintf(stderr,
                   "duet_pair_sim [--seed N | --seeds N | --seconds S] [--faults N] [--complete] "
                   "[--verbose]\n");
      return 2;
    } else if (name == "--seed") {
      one = true;
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (name == "--seeds") {
      seeds = std::strtoull(argv[++i], nullptr, 10);
    } else if (name == "--seconds") {
      seconds = std::strtod(argv[++i], nullptr);
    } else if (name == "--faults") {
      faults = std::strtoull(argv[++i], nullptr, 10);
    } else {
      return 2;
    }
  }
  std::random_device device;
  duet::pair::Totals totals;
  const auto begin = std::chrono::steady_clock::now();
  for (bool over = false; !over;) {
    if (!one) {
      seed = std::uint64_t{device()} << 20U | device() % (1U << 20U);
    }
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    duet::pair::Run run(seed, faults, verbose, totals);
    const std::string complaint = run();
    if (!complaint.empty()) {
      std::printf("FAILED: %s\nreplay: %s --seed %llu --faults %llu\n", complaint.c_str(), argv[0],
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(faults));
      return 1;
    }
    ++totals.runs;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    over = one || (seconds > 0 ? spent.count() >= seconds : totals.runs >= seeds);
  }
  duet::pair::print("faults", totals.faults);
  duet::pair::print("steps", totals.steps);
  duet::pair::print("events", totals.events);
  duet::pair::print("decisions (action, alarm)", totals.decisions);
  duet::pair::print("evidence (link, mailbox, beat, mirror)", totals.evidence);
  duet::pair::print("states of a filer", totals.states);
  duet::pair::print("killed at step", totals.killed_at);
  duet::pair::print("frozen at step", totals.frozen_at);
  std::printf("%llu runs, %llu replies\n", static_cast<unsigned long long>(totals.runs),
              static_cast<unsigned long long>(totals.replies));
  const bool enough = complete ? duet::pair::all_reached(totals)
                               : one || totals.runs < 60 || duet::pair::soon_reached(totals);
  return enough ? 0 : 1;
}
