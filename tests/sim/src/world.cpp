// The life of a world: serving, dying, opening, and what is held to the model in between.

#include "world.h"

#include <algorithm>
#include <cstdio>

namespace duet::world {

namespace {

constexpr std::uint64_t kTurnsMax = 30'000'000;
// A filer that has failed answers nothing any more; a few of its errors are enough.
constexpr std::uint64_t kIoErrorsMax = 30;
constexpr std::uint64_t kDeathsBeforeLongerLives = 30;

}  // namespace

void RunStatistics::add(const RunStatistics& other) {
  requests += other.requests;
  changes += other.changes;
  deaths += other.deaths;
  deaths_while_opening += other.deaths_while_opening;
  replayed += other.replayed;
  retries += other.retries;
  refusals += other.refusals;
  faults += other.faults;
  full += other.full;
  snapshots += other.snapshots;
  restores += other.restores;
  clones += other.clones;
  cps += other.cps;
  turns += other.turns;
}

Complaint run(const RunOptions& options, RunStatistics& statistics) {
  World world(options, statistics);
  return world.run();
}

Profile draw_profile(std::uint64_t seed, Sabotage sabotage) {
  sim::Random random(seed ^ 0x50'524F'4649'4C45U);
  const auto one_of = [&random](auto... values) {
    const std::array<std::uint64_t, sizeof...(values)> all{std::uint64_t(values)...};
    return all[random.below(all.size())];
  };
  Profile profile;
  profile.full = random.one_in(5);
  profile.node.seed = seed;
  profile.node.sabotage = sabotage;
  profile.node.disks = profile.full ? 1 : 1 + random.below(3);
  profile.node.blocks = profile.full ? 1536 : 4096 * (2 + random.below(6));
  filer::FilerOptions& filer = profile.node.filer;
  filer.cache_bytes = one_of(256U << 10U, 1U << 20U, 8U << 20U, 64U << 20U);
  filer.cp_interval = std::chrono::microseconds(one_of(500, 2000, 10'000, 100'000));
  filer.log_entries_max = one_of(5, 20, 100, 200'000);
  filer.dirty_bytes_max = one_of(512U << 10U, 2U << 20U, 64U << 20U);
  filer.reply_cache_entries = static_cast<std::uint32_t>(one_of(512, 1024));
  profile.clients = static_cast<std::uint32_t>(1 + random.below(6));
  profile.workload.names = one_of(4, 12, 40);
  profile.workload.remove_percent = one_of(10, 20, 30);
  profile.life_turns = one_of(200, 1000, 3000, 10'000);
  if (profile.full) {
    profile.workload.write_percent = 40;
    profile.workload.write_bytes = 400'000;
    profile.workload.file_bytes = 8'000'000;
    profile.workload.large_one_in = 0;
    profile.workload.names = 60;
  }
  return profile;
}

World::World(const RunOptions& options, RunStatistics& statistics)
    : options_(options),
      statistics_(statistics),
      profile_(draw_profile(options.seed, options.sabotage)),
      scheduler_(options.seed),
      random_(options.seed ^ 0x57'4F52'4C44U),
      node_(scheduler_, profile_.node),
      clients_(profile_.clients),
      steps_left_(options.steps) {}

void World::fail(const Complaint& complaint) {
  if (complaint_.empty() && !node_.died()) {
    complaint_ = complaint;
  }
}

void World::say(const std::string& text) const {
  if (options_.verbose) {
    std::fprintf(stderr, "%12lld %s\n",
                 static_cast<long long>(scheduler_.now().since_start.count()), text.c_str());
  }
}

Complaint World::run() {
  Complaint complaint = begin();
  while (complaint.empty() && steps_left_ > 0) {
    complaint = live();
    if (complaint.empty()) {
      complaint = recover();
    }
  }
  if (complaint.empty()) {
    complaint = finish();
  }
  node_.cut_connections();
  scope_.reset();
  statistics_.turns += scheduler_.turns();
  statistics_.changes += history_ != nullptr ? history_->changes() : 0;
  return complaint;
}

std::unique_ptr<Service> World::make_service() {
  if (options_.wire) {
    return std::make_unique<WireService>(scheduler_, node_.filer());
  }
  return std::make_unique<DirectService>(node_.filer());
}

Complaint World::begin() {
  if (Complaint complaint = node_.format(); !complaint.empty()) {
    return complaint;
  }
  Operation getattr;
  const filer::Caller caller = caller_of(1000, 1, getattr);
  const auto mounted = node_.run(node_.filer().mount(caller, "/vol0"));
  if (!mounted.has_value() || mounted->error.has_value()) {
    return "mount: refused";
  }
  root_.assign(reinterpret_cast<const char*>(mounted->handle.data.data()), mounted->handle.size);
  service_ = make_service();
  getattr.handle = root_;
  const auto root = node_.run(service_->call(caller, getattr));
  if (!root.has_value() || !root->attributes.has_value()) {
    return "getattr of the root: refused";
  }
  Tree tree(root_, *root->attributes);
  tree.may_be_full = profile_.full;
  vol0_.emplace(std::move(tree), Workload(options_.seed, profile_.workload, root_));
  history_ = &vol0_->history;
  for (std::uint32_t i = 0; i < clients_.size(); ++i) {
    clients_[i].number = i + 1;
    clients_[i].volume = &*vol0_;
  }
  if (Complaint complaint = export_clones(); !complaint.empty()) {
    return complaint;
  }
  node_.on_record([this](const WatchedMemory::Seen& seen) {
    const std::uint32_t client = client_at(seen.address);
    History* history = history_;
    for (const auto& clone : clones_) {
      history = clone->client.number == client ? &clone->volume->history : history;
    }
    const Complaint complaint = history->logged(seen.sequence, seen.now, client, seen.xid);
    if (!complaint.empty()) {
      fail(complaint);
    }
  });
  start_tasks();
  return {};
}

void World::start_tasks() {
  scope_ = std::make_unique<TaskScope>(scheduler_);
  for (Client& client : clients_) {
    scope_->spawn(serve(client));
  }
  for (const auto& clone : clones_) {
    scope_->spawn(serve(clone->client));
  }
  scope_->spawn(operate());
}

bool World::quiet() const {
  for (const Client& client : clients_) {
    if (!client.idle) {
      return false;
    }
  }
  return std::ranges::all_of(clones_, [](const auto& clone) { return clone->client.idle; });
}

// An I/O error is no answer while disks fail: the client asks again.
bool World::excused(const Answer& answer) const {
  if (node_.died()) {
    return true;
  }
  const bool io = answer.error == Errc::kIo || answer.error == Errc::kCorrupt ||
                  answer.error == Errc::kClosed;
  return io && faults_;
}

void World::arm_faults() {
  faults_ = random_.one_in(4);
  if (!faults_) {
    return;
  }
  for (const auto& disk : node_.faults()) {
    switch (random_.below(5)) {
      case 0:
        disk->chance(sim::Fault::kReadError, 5 + random_.below(100));
        break;
      case 1:
        disk->chance(sim::Fault::kCorruptRead, 5 + random_.below(100));
        break;
      case 2:
        disk->arm({.fault = sim::Fault::kWriteError, .skip = random_.below(300), .block = {}});
        break;
      case 3:
        disk->arm({.fault = sim::Fault::kFlushError, .skip = random_.below(20), .block = {}});
        break;
      default:
        node_.fail_next_persist();
        break;
    }
  }
}

Complaint World::live() {
  arm_faults();
  if (random_.one_in(3)) {
    node_.clock().jump(std::chrono::seconds(random_.below(200'000)) - std::chrono::seconds(100'000));
  }
  // Over a network everything takes more turns; and a world that dies all the time gets on too.
  const std::uint64_t factor =
      (options_.wire ? 10 : 1) * (1 + statistics_.deaths / kDeathsBeforeLongerLives);
  if (random_.one_in(2)) {
    node_.die_at_event(1 + random_.below(2 * profile_.life_turns * factor));
  }
  std::uint64_t turns = 1 + random_.below(profile_.life_turns * factor);
  (void)scheduler_.run_until(
      [&] {
        return !complaint_.empty() || node_.died() || turns-- == 0 || steps_left_ == 0 ||
               io_errors_ > kIoErrorsMax;
      },
      kTurnsMax);
  return complaint_;
}

void World::die() {
  statistics_.cps += node_.serves() ? node_.filer().aggregate().cp_statistics().count : 0;
  node_.cut_connections();
  scope_.reset();
  service_.reset();
  node_.die(random_.one_in(3) ? Node::Death::kKilled : Node::Death::kPowerLoss);
  gone_.clear();
  for (const auto& clone : clones_) {
    clone->client.ends = false;
  }
  faults_ = io_failed_ = pause_ = false;
  io_errors_ = 0;
  ++statistics_.deaths;
  say("death");
}

Complaint World::recover() {
  const bool served = node_.serves() && !node_.died();
  die();
  if (random_.one_in(3)) {
    if (Complaint complaint = node_.check(); !complaint.empty()) {
      return "after a crash: " + complaint;
    }
  }
  if (served && random_.one_in(20)) {
    if (Complaint complaint = try_blank_memory(); !complaint.empty()) {
      return complaint;
    }
  }
  if (Complaint complaint = open_until_open(); !complaint.empty()) {
    return complaint;
  }
  statistics_.replayed += node_.filer().statistics().replayed_records;
  const auto last = static_cast<std::uint64_t>(node_.filer().log().last());
  say("open with " + std::to_string(last));
  if (Complaint complaint = history_->recovered(last); !complaint.empty()) {
    return complaint;
  }
  for (const auto& clone : clones_) {
    if (!clone->volume.has_value()) {
      continue;  // just made: settle() learns it, and nobody has asked it anything
    }
    if (Complaint complaint = clone->volume->history.recovered(last); !complaint.empty()) {
      return "clone " + clone->name + ": " + complaint;
    }
  }
  service_ = make_service();
  if (Complaint complaint = settle(); !complaint.empty()) {
    return complaint;
  }
  if (Complaint complaint = survey_all(); !complaint.empty()) {
    return complaint;
  }
  start_tasks();
  return complaint_;
}

Task<void> World::open_node() {
  const Status opened = co_await node_.open();
  opened_ = opened;
}

Complaint World::try_blank_memory() {
  std::unique_ptr<sim::SimPersistentMemory> memory = node_.take_memory();
  node_.replace_memory(
      std::make_unique<sim::SimPersistentMemory>(nvlog::region_bytes(nvlog::half_bytes_min())));
  node_.connect();
  const std::optional<Status> opened = node_.run(node_.open());
  const bool refused =
      opened.has_value() && !opened->ok() && opened->error().code == Errc::kForeign;
  node_.cut_connections();
  node_.die(Node::Death::kKilled);
  node_.replace_memory(std::move(memory));
  ++statistics_.refusals;
  return refused ? Complaint() : "a blank memory was not refused";
}

Complaint World::open_until_open() {
  for (bool first = true;; first = false) {
    node_.connect();
    // Half of the openings are disturbed; not for ever.
    const bool disturbed = random_.one_in(first ? 2 : 3);
    if (disturbed) {
      node_.die_at_event(1 + random_.below(random_.one_in(2) ? 20 : 200));
    }
    opened_.reset();
    scope_ = std::make_unique<TaskScope>(scheduler_);
    scope_->spawn(open_node());
    if (!scheduler_.run_until([&] { return opened_.has_value() || node_.died(); }, kTurnsMax)) {
      return "opening stands still";
    }
    if (!node_.died()) {
      node_.cancel_death();
      if (!opened_.has_value()) {
        return "opening stands still";
      }
      return opened_->ok() ? Complaint()
                           : "opening after a crash: " + std::string(opened_->error().context);
    }
    node_.cut_connections();
    scope_.reset();
    node_.die(Node::Death::kPowerLoss);
    ++statistics_.deaths_while_opening;
    if (random_.one_in(3)) {
      if (Complaint complaint = node_.check(); !complaint.empty()) {
        return "after a crash while opening: " + complaint;
      }
    }
  }
}

Complaint World::survey_all() {
  for (const auto& clone : clones_) {
    Tree tree = clone->volume->history.present();
    const auto never = [](const Answer&) { return false; };
    const std::optional<Complaint> complaint = node_.run(survey(*service_, tree, never), kTurnsMax);
    if (!complaint.has_value() || !complaint->empty()) {
      return "clone " + clone->name + ": " + complaint.value_or("a survey stands still");
    }
  }
  Tree present = history_->present();
  const auto excuse = [this](const Answer& answer) { return excused(answer); };
  std::optional<Complaint> complaint = node_.run(survey(*service_, present, excuse), kTurnsMax);
  if (!complaint.has_value()) {
    return "a survey stands still";
  }
  if (!complaint->empty()) {
    return "I6: " + *complaint;
  }
  for (auto& [name, tree] : history_->snapshots()) {
    const auto root = node_.run(snapshot_root(*service_, root_, name));
    if (!root.has_value() || root->empty()) {
      return "I9: a snapshot is gone: " + name;
    }
    tree.learn_root(*root);
    complaint = node_.run(survey(*service_, tree, excuse), kTurnsMax);
    if (!complaint.has_value() || !complaint->empty()) {
      return "I9: snapshot " + name + ": " + complaint.value_or("stands still");
    }
  }
  return {};
}

Complaint World::requests_that_run() {
  Complaint text = "requests that never end, ";
  text += node_.filer().aggregate().cp_running() ? "nor does a CP:" : "and no CP runs:";
  for (const Client& client : clients_) {
    if (client.request.has_value()) {
      text += "\n  client " + std::to_string(client.number) + " xid " +
              std::to_string(client.xid) + " " + text_of((*client.request)->operation);
    }
  }
  if (job_ != Job::kNone) {
    text += "\n  the operator, with snapshot " + job_name_;
  }
  return text;
}

// No more deaths: everything must come to its end.
Complaint World::finish() {
  for (const auto& disk : node_.faults()) {
    disk->disarm();
  }
  ending_ = true;
  if (io_failed_) {
    if (Complaint complaint = recover(); !complaint.empty()) {
      return complaint;
    }
  }
  node_.cancel_death();
  if (node_.died()) {
    if (Complaint complaint = recover(); !complaint.empty()) {
      return complaint;
    }
  }
  faults_ = false;
  const bool rests = scheduler_.run_until(
      [&] { return !complaint_.empty() || (quiet() && job_ == Job::kNone); }, kTurnsMax);
  if (!complaint_.empty()) {
    return complaint_;
  }
  if (!rests || !quiet() || job_ != Job::kNone) {
    return requests_that_run();
  }
  if (history_->running() != 0 || std::ranges::any_of(clones_, [](const auto& clone) {
        return clone->volume->history.running() != 0;
      })) {
    return "requests that were never answered";
  }
  if (Complaint complaint = survey_all(); !complaint.empty()) {
    return "at the end: " + complaint;
  }
  const std::optional<Status> stopped = node_.run(node_.filer().stop());
  if (!stopped.has_value() || !stopped->ok()) {
    return "stop: fails";
  }
  node_.cut_connections();
  scope_.reset();
  service_.reset();
  node_.die(Node::Death::kPowerLoss);
  if (Complaint complaint = node_.check(); !complaint.empty()) {
    return "after a clean stop: " + complaint;
  }
  return {};
}

}  // namespace duet::world
