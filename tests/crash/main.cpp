// duet_crash: tries every place where a small workload may be stopped.
//
// At each event (a write begins, a flush has ended, a store, a persist) the machine is copied and
// the copies lose their power in every way that is promised to be survived: of the writes that are
// not flushed all subsets if they are few, else each alone kept, each alone lost, and some torn at
// random.  Each copy is checked, opened and held to the model; the request that was under way is
// asked again, and so is the last one that was answered.  And each opening is stopped in turn.

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "script.h"
#include "world/node.h"
#include "world/service.h"
#include "world/survey.h"
#include "world/tree.h"

namespace duet::crash {
namespace {

using world::Answer;
using world::Complaint;
using world::Node;
using world::NodeOptions;
using world::Operation;
using world::Tree;

constexpr std::uint32_t kClient = 1;

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t every = 1;         // only each so manieth event
  std::uint64_t every_again = 25;  // each so manieth copy is stopped again while it opens
  std::uint64_t subsets_of = 3;    // all subsets of at most so many writes
  std::uint64_t torn = 2;          // random ones besides
  world::Sabotage sabotage = world::Sabotage::kNone;
};

struct Volume {
  Tree tree;  // every answered change
  std::map<std::string, Tree> snapshots;
};

// What must be there after a crash now.
struct Progress {
  std::map<std::string, Volume> volumes;
  std::uint64_t sequence = 0;  // of the last answered change
  std::optional<Operation> asked;
  std::string asked_of;  // the volume
  std::uint32_t xid = 0;
  std::optional<std::pair<std::uint64_t, std::int64_t>> record;  // of what was asked
  std::optional<Administration> administered;                    // under way
  std::optional<Operation> kept;                                 // the last whose reply is kept
  Answer kept_answer;
  std::uint32_t kept_xid = 0;
};

bool same(const Answer& a, const Answer& b) {
  const auto attributes = [](const filer::PostAttributes& x, const filer::PostAttributes& y) {
    return x.has_value() == y.has_value() &&
           (!x.has_value() || (x->attributes == y->attributes && x->fsid == y->fsid &&
                               x->fileid == y->fileid));
  };
  const auto wcc = [&](const filer::WccData& x, const filer::WccData& y) {
    return attributes(x.after, y.after) && x.before.has_value() == y.before.has_value() &&
           (!x.before.has_value() ||
            (x.before->size_bytes == y.before->size_bytes && x.before->mtime == y.before->mtime &&
             x.before->ctime == y.before->ctime));
  };
  return a.error == b.error && a.handle == b.handle && attributes(a.attributes, b.attributes) &&
         wcc(a.first, b.first) && wcc(a.second, b.second);
}

// The handle of a volume's root; empty: refused.
std::string mount(Node& node, const std::string& volume) {
  const Operation nothing;
  const filer::Caller caller = world::caller_of(1000, 1, nothing);
  const std::string path = "/" + volume;
  const auto mounted = node.run(node.filer().mount(caller, path));
  if (!mounted.has_value() || mounted->error.has_value()) {
    return {};
  }
  return {reinterpret_cast<const char*>(mounted->handle.data.data()), mounted->handle.size};
}

// Sends a snapshot to the volume "r" of the same filer.
Task<Status> receive(filer::Filer& filer, std::string volume, std::string name, std::string from) {
  auto sender = filer.send_snapshot(volume, name, from);
  if (!sender.ok()) {
    co_return sender.error();
  }
  std::vector<std::byte> stream;
  while (!sender.value()->done()) {
    const Status sent = co_await sender.value()->next(stream, 100'000);
    if (!sent.ok()) {
      co_return sent;
    }
  }
  const auto body = stream.begin() + sizeof(wafl::StreamHeader);
  std::vector<std::byte> header(stream.begin(), body);
  const Result<std::uint64_t> id = co_await filer.begin_receive("r", std::move(header), false);
  if (!id.ok()) {
    co_return id.error();
  }
  // Two pieces, and a CP between them.
  const auto middle = body + (stream.end() - body) / 2;
  std::vector<std::byte> first(body, middle);
  const Result<bool> begun = co_await filer.receive(id.value(), std::move(first));
  const Status written = co_await filer.consistency_point();
  std::vector<std::byte> second(middle, stream.end());
  const Result<bool> ended = co_await filer.receive(id.value(), std::move(second));
  if (!begun.ok() || !written.ok() || !ended.ok() || !ended.value()) {
    co_return Error{Errc::kInvalid, "a stream that is not received"};
  }
  co_return Ok{};
}

// One copy of the machine, opened and held to what it must hold.
class Survivor {
 public:
  Survivor(const NodeOptions& options, Node::Hardware hardware, const Progress& progress,
           std::uint64_t seed)
      : progress_(progress), scheduler_(seed), node_(scheduler_, options, std::move(hardware)) {}

  Complaint run() {
    if (Complaint complaint = node_.check(); !complaint.empty()) {
      return complaint;
    }
    node_.connect();
    return open_and_compare();
  }

  // Stops it at the `event`th event of opening; false: there are fewer.
  bool run_stopped(std::uint64_t event, Complaint& complaint) {
    node_.connect();
    node_.die_at_event(event);
    std::optional<Status> opened;
    TaskScope scope(scheduler_);
    scope.spawn(open(opened));
    (void)scheduler_.run_until([&] { return opened.has_value() || node_.died(); }, 10'000'000);
    const bool stopped = node_.died();
    node_.cancel_death();
    if (stopped) {
      node_.cut_connections();
      scope.cancel();
      node_.die(Node::Death::kPowerLoss);
      complaint = run();
    }
    return stopped;
  }

 private:
  Task<void> open(std::optional<Status>& opened) {
    const Status status = co_await node_.open();
    opened = status;
  }

  Complaint open_and_compare() {
    const std::optional<Status> opened = node_.run(node_.open());
    if (!opened.has_value()) {
      return "opening stands still";
    }
    if (!opened->ok()) {
      return "opening: " + std::string(opened->error().context);
    }
    service_ = std::make_unique<world::DirectService>(node_.filer());
    const auto last = static_cast<std::uint64_t>(node_.filer().log().last());
    const bool recorded = progress_.record.has_value() && last == progress_.record->first;
    if (last < progress_.sequence) {
      return "I5: acknowledged and lost";
    }
    if (last > progress_.sequence && !recorded) {
      return "more was replayed than was logged";
    }
    if (Complaint complaint = compare_trees(recorded); !complaint.empty()) {
      return complaint;
    }
    return ask_again(recorded);
  }

  Complaint compare_trees(bool recorded) {
    volumes_ = progress_.volumes;
    if (recorded) {
      (void)asked_tree().apply(*progress_.asked, progress_.record->second, nullptr);
    }
    if (Complaint complaint = settle(); !complaint.empty()) {
      return complaint;
    }
    for (auto& [name, volume] : volumes_) {
      if (Complaint complaint = compare(name, volume); !complaint.empty()) {
        return name + ": " + complaint;
      }
    }
    return {};
  }

  Complaint compare(const std::string& name, Volume& volume) {
    Complaint complaint = survey_from(volume.tree);
    if (!complaint.empty() && restoring(name)) {
      // Done already: the live tree is the snapshot's.
      const Volume& before = progress_.volumes.at(name);
      volume.tree = before.tree;
      volume.tree.restore(before.snapshots.at(progress_.administered->name));
      complaint = survey_from(volume.tree);
    }
    const std::string volume_root = *volume.tree.handle_of(Tree::kRoot);
    for (auto snapshot = volume.snapshots.begin();
         complaint.empty() && snapshot != volume.snapshots.end(); ++snapshot) {
      const auto root = node_.run(world::snapshot_root(*service_, volume_root, snapshot->first));
      if (!root.has_value() || root->empty()) {
        return "I9: snapshot " + snapshot->first + " is gone";
      }
      snapshot->second.learn_root(*root);
      complaint = survey_from(snapshot->second);
    }
    return complaint;
  }

  [[nodiscard]] bool restoring(const std::string& volume) const {
    return progress_.administered.has_value() &&
           progress_.administered->kind == Administration::Kind::kRestoreSnapshot &&
           progress_.administered->volume == volume;
  }

  // What the operator had begun was done, or was not.
  Complaint settle() {
    if (!progress_.administered.has_value()) {
      return {};
    }
    const Administration& job = *progress_.administered;
    const wafl::Aggregate& aggregate = node_.filer().aggregate();
    Volume& volume = volumes_.at(job.volume);
    if (job.kind == Administration::Kind::kCloneVolume) {
      if (aggregate.find_volume(job.name2) != nullptr) {
        const std::string clone_root = mount(node_, job.name2);
        if (clone_root.empty()) {
          return "a clone cannot be mounted";
        }
        Tree tree = volume.snapshots.at(job.name).as_clone();
        tree.learn_root(clone_root);
        volumes_.emplace(job.name2, Volume{std::move(tree), {}});
      }
      return {};
    }
    if (job.kind == Administration::Kind::kReceive) {
      const wafl::Volume* received = aggregate.find_volume("r");
      const bool base =
          job.name2.empty() ? received == nullptr : received->find_snapshot(job.name2).has_value();
      const bool whole = received != nullptr && received->find_snapshot(job.name).has_value();
      const bool rests = received == nullptr || (!received->receiving() && received->unchanged());
      return (base || whole) && rests ? Complaint() : "a volume that is received in part";
    }
    if (job.kind == Administration::Kind::kDestroyVolume) {
      if (aggregate.find_volume(job.name) == nullptr) {
        volumes_.erase(job.name);
      }
      return {};
    }
    const bool there = aggregate.find_volume(job.volume)->find_snapshot(job.name).has_value();
    if (job.kind == Administration::Kind::kCreateSnapshot && there) {
      volume.snapshots.emplace(job.name, progress_.volumes.at(job.volume).tree.as_snapshot());
    } else if (job.kind == Administration::Kind::kDeleteSnapshot && !there) {
      volume.snapshots.erase(job.name);
    } else if (job.kind == Administration::Kind::kRenameSnapshot && !there) {
      auto snapshot = volume.snapshots.extract(job.name);
      snapshot.key() = job.name2;
      volume.snapshots.insert(std::move(snapshot));
    }
    return {};
  }

  Tree& asked_tree() { return volumes_.at(progress_.asked_of).tree; }

  Complaint survey_from(Tree& tree) {
    const auto excuse = [](const Answer&) { return false; };
    const auto complaint = node_.run(world::survey(*service_, tree, excuse));
    return complaint.value_or("a survey stands still");
  }

  Complaint ask_again(bool recorded) {
    if (progress_.kept.has_value()) {
      const filer::Caller caller = world::caller_of(kClient, progress_.kept_xid, *progress_.kept);
      const auto answer = node_.run(service_->call(caller, *progress_.kept));
      if (!answer.has_value() || !same(*answer, progress_.kept_answer)) {
        return "I7: another answer to " + text_of(*progress_.kept);
      }
    }
    if (!progress_.asked.has_value()) {
      return {};
    }
    const Operation& asked = *progress_.asked;
    std::optional<std::int64_t> now;
    node_.on_record([&now](const world::WatchedMemory::Seen& seen) { now = seen.now; });
    const filer::Caller caller = world::caller_of(kClient, progress_.xid, asked);
    const auto answer = node_.run(service_->call(caller, asked));
    node_.on_record({});
    if (!answer.has_value()) {
      return "a retry stands still";
    }
    if (recorded && reply_is_kept(asked)) {
      if (now.has_value()) {
        return "I7: done twice: " + text_of(asked);
      }
      asked_tree() = progress_.volumes.at(progress_.asked_of).tree;
      now = progress_.record->second;
    }
    Complaint complaint = now.has_value() ? asked_tree().apply(asked, *now, &*answer)
                                          : asked_tree().check(asked, *answer);
    return complaint.empty() ? complaint : "retry of " + text_of(asked) + ": " + complaint;
  }

  const Progress& progress_;
  sim::SimScheduler scheduler_;
  Node node_;
  std::unique_ptr<world::Service> service_;
  std::map<std::string, Volume> volumes_;
};

class Explorer {
 public:
  explicit Explorer(const Options& options)
      : options_(options), random_(options.seed), scheduler_(options.seed), node_(scheduler_, small()) {
    options_.every = std::max<std::uint64_t>(options_.every, 1);
  }

  int run() {
    Complaint complaint = begin();
    if (complaint.empty()) {
      node_.on_event([this] { event(); });
      for (const Step& step : script()) {
        complaint = step.operation ? ask(step) : administer(step.administration);
        if (!complaint.empty() || !failed_.empty()) {
          break;
        }
      }
      node_.on_event({});
    }
    node_.cut_connections();
    complaint = failed_.empty() ? complaint : failed_;
    std::printf("%llu events, %llu tried: %llu crash points, %llu of them while opening again\n",
                n(events_), n(events_tried_), n(points_), n(again_));
    if (!complaint.empty()) {
      std::printf("FAILED at event %llu: %s\n", n(events_), complaint.c_str());
    }
    return complaint.empty() ? 0 : 1;
  }

 private:
  static unsigned long long n(std::uint64_t value) { return value; }

  NodeOptions small() const {
    NodeOptions options;
    options.seed = options_.seed;
    options.disks = 2;
    options.blocks = 4096;
    options.sabotage = options_.sabotage;
    options.filer.cache_bytes = 4U << 20U;
    options.filer.cp_interval = std::chrono::hours(1);
    options.filer.reply_cache_entries = 16;
    return options;
  }

  Complaint begin() {
    if (Complaint complaint = node_.format(); !complaint.empty()) {
      return complaint;
    }
    service_ = std::make_unique<world::DirectService>(node_.filer());
    Operation getattr;
    const filer::Caller caller = world::caller_of(1000, 1, getattr);
    getattr.handle = handles_["/"] = mount(node_, "vol0");
    const auto root = node_.run(service_->call(caller, getattr));
    progress_.emplace();
    progress_->volumes.emplace("vol0", Volume{Tree(getattr.handle, *root->attributes), {}});
    node_.on_record([this](const world::WatchedMemory::Seen& seen) {
      progress_->record = {seen.sequence, seen.now};
    });
    return {};
  }

  Complaint ask(const Step& step) {
    progress_->asked = step.operation(handles_);
    progress_->asked_of = step.volume;
    Tree& tree = progress_->volumes.at(step.volume).tree;
    const Operation& operation = *progress_->asked;
    ++progress_->xid;
    const filer::Caller caller = world::caller_of(kClient, progress_->xid, operation);
    const auto answer = node_.run(service_->call(caller, operation));
    if (!answer.has_value()) {
      return "a request stands still: " + text_of(operation);
    }
    const Complaint complaint = progress_->record.has_value()
                                    ? tree.apply(operation, progress_->record->second, &*answer)
                                    : tree.check(operation, *answer);
    if (!complaint.empty()) {
      return text_of(operation) + ": " + complaint;
    }
    if (progress_->record.has_value()) {
      progress_->sequence = progress_->record->first;
    }
    if (!step.remember.empty()) {
      handles_[step.remember] = answer->handle.value_or(std::string());
    }
    if (reply_is_kept(operation)) {
      progress_->kept = operation;
      progress_->kept_answer = *answer;
      progress_->kept_xid = progress_->xid;
    }
    progress_->asked.reset();
    progress_->record.reset();
    return {};
  }

  Task<Status> start(const Administration& job) {
    filer::Filer& filer = node_.filer();
    switch (job.kind) {
      case Administration::Kind::kCp:
        return filer.consistency_point();
      case Administration::Kind::kCreateSnapshot:
        return filer.create_snapshot(job.volume, job.name);
      case Administration::Kind::kDeleteSnapshot:
        return filer.delete_snapshot(job.volume, job.name);
      case Administration::Kind::kRenameSnapshot:
        return filer.rename_snapshot(job.volume, job.name, job.name2);
      case Administration::Kind::kRestoreSnapshot:
        return filer.restore_snapshot(job.volume, job.name, {});
      case Administration::Kind::kCreateVolume:
        return filer.create_volume(job.name, 0);
      case Administration::Kind::kRenameVolume:
        return filer.rename_volume(job.name, job.name2);
      case Administration::Kind::kLimitVolume:
        return filer.set_volume_limit(job.name, 4U << 20U);
      case Administration::Kind::kDestroyVolume:
        return filer.destroy_volume(job.name);
      case Administration::Kind::kReceive:
        return receive(filer, job.volume, job.name, job.name2);
      case Administration::Kind::kCloneVolume:
        return filer.clone_volume(job.volume, job.name, job.name2, 0);
      case Administration::Kind::kSetExports:
        break;
    }
    filer::ExportTable exports = filer.exports();
    exports.exports.push_back({"/" + job.name, exports.exports.front().rules});
    return filer.set_exports(exports);
  }

  Complaint administer(const Administration& job) {
    progress_->administered = job;
    const auto done = node_.run(start(job));
    if (!done.has_value() || !done->ok()) {
      return "administration of " + job.name + ": " +
             (done.has_value() ? std::string(done->error().context) : "stands still");
    }
    Volume& volume = progress_->volumes.at(job.volume);
    auto& snapshots = volume.snapshots;
    if (job.kind == Administration::Kind::kCreateSnapshot) {
      snapshots.emplace(job.name, volume.tree.as_snapshot());
    } else if (job.kind == Administration::Kind::kDeleteSnapshot) {
      snapshots.erase(job.name);
    } else if (job.kind == Administration::Kind::kRenameSnapshot) {
      auto snapshot = snapshots.extract(job.name);
      snapshot.key() = job.name2;
      snapshots.insert(std::move(snapshot));
    } else if (job.kind == Administration::Kind::kRestoreSnapshot) {
      volume.tree.restore(snapshots.at(job.name));
      // What was answered before is of a tree that is no more.
      progress_->kept.reset();
    } else if (job.kind == Administration::Kind::kCloneVolume) {
      Tree tree = snapshots.at(job.name).as_clone();
      const std::string root = handles_[job.name2 + ":/"] = mount(node_, job.name2);
      if (root.empty()) {
        return "a clone cannot be mounted";
      }
      tree.learn_root(root);
      progress_->volumes.emplace(job.name2, Volume{std::move(tree), {}});
    } else if (job.kind == Administration::Kind::kDestroyVolume) {
      progress_->volumes.erase(job.name);
    }
    progress_->administered.reset();
    return {};
  }

  // Called in the middle of a turn.
  void event() {
    ++events_;
    if (!failed_.empty() || events_ % options_.every != options_.seed % options_.every) {
      return;
    }
    ++events_tried_;
    std::vector<std::size_t> writes;
    for (const auto& disk : node_.disks()) {
      writes.push_back(disk->unflushed());
    }
    std::size_t all = 0;
    for (const std::size_t count : writes) {
      all += count;
    }
    std::vector<std::vector<bool>> keeps;
    if (all <= options_.subsets_of) {
      for (std::uint64_t subset = 0; subset < (std::uint64_t{1} << all); ++subset) {
        std::vector<bool>& keep = keeps.emplace_back(all);
        for (std::size_t i = 0; i < all; ++i) {
          keep[i] = ((subset >> i) & 1U) != 0;
        }
      }
    } else {
      keeps.emplace_back(all, false);
      keeps.emplace_back(all, true);
      for (std::size_t i = 0; i < all; ++i) {
        keeps.emplace_back(all, false)[i] = true;
        keeps.emplace_back(all, true)[i] = false;
      }
    }
    for (const std::vector<bool>& keep : keeps) {
      try_one(&keep, writes);
    }
    for (std::uint64_t i = 0; i < options_.torn; ++i) {
      try_one(nullptr, writes);
    }
  }

  Node::Hardware lose_power(const std::vector<bool>* keep, const std::vector<std::size_t>& writes) {
    Node::Hardware hardware = node_.copy();
    std::size_t first = 0;
    for (std::size_t i = 0; i < hardware.disks.size(); ++i) {
      if (keep == nullptr) {
        hardware.disks[i]->lose_power(random_);
        continue;
      }
      const auto begin = keep->begin() + static_cast<std::ptrdiff_t>(first);
      hardware.disks[i]->lose_power({begin, begin + static_cast<std::ptrdiff_t>(writes[i])});
      first += writes[i];
    }
    // Every other time nothing that was not persisted is kept, else any of it.
    if (random_.one_in(2)) {
      hardware.memory->lose_power();
    } else {
      hardware.memory->lose_power(random_);
    }
    return hardware;
  }

  void try_one(const std::vector<bool>* keep, const std::vector<std::size_t>& writes) {
    if (!failed_.empty()) {
      return;
    }
    ++points_;
    {
      Survivor survivor(small(), lose_power(keep, writes), *progress_, random_.next());
      failed_ = survivor.run();
    }
    if (failed_.empty() && points_ % options_.every_again == 0) {
      try_openings(keep, writes);
    }
  }

  // The same again, stopped at every event of the opening.
  void try_openings(const std::vector<bool>* keep, const std::vector<std::size_t>& writes) {
    for (std::uint64_t event = 1; failed_.empty(); ++event) {
      Survivor survivor(small(), lose_power(keep, writes), *progress_, random_.next());
      if (!survivor.run_stopped(event, failed_)) {
        return;
      }
      ++again_;
      if (!failed_.empty()) {
        failed_ = "stopped again at event " + std::to_string(event) + " of opening: " + failed_;
      }
    }
  }

  Options options_;
  sim::Random random_;
  sim::SimScheduler scheduler_;
  Node node_;
  std::unique_ptr<world::Service> service_;
  std::optional<Progress> progress_;
  Handles handles_;
  std::uint64_t events_ = 0;
  std::uint64_t events_tried_ = 0;
  std::uint64_t points_ = 0;
  std::uint64_t again_ = 0;
  Complaint failed_;
};

int main_of(int argc, char** argv) {
  Options options;
  std::random_device device;
  options.seed = device();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::uint64_t number = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--seed") {
      options.seed = number;
    } else if (name == "--every") {
      options.every = number;
    } else if (name == "--every-again") {
      options.every_again = std::max<std::uint64_t>(number, 1);
    } else if (name == "--torn") {
      options.torn = number;
    } else if (name == "--subsets-of") {
      options.subsets_of = number;
    } else if (name == "--sabotage" && world::sabotage_named(argv[i + 1]).has_value()) {
      options.sabotage = *world::sabotage_named(argv[i + 1]);
    } else {
      std::fprintf(stderr, "duet_crash [--seed N] [--every N] [--every-again N] [--torn N] "
                           "[--subsets-of N] [--sabotage NAME]\n");
      return 2;
    }
  }
  std::string arguments;
  for (int i = 1; i < argc; ++i) {
    arguments += std::string(" ") + argv[i];
  }
  std::printf("replay: %s --seed %llu%s\n", argv[0],
              static_cast<unsigned long long>(options.seed), arguments.c_str());
  std::fflush(stdout);
  return Explorer(options).run();
}

}  // namespace
}  // namespace duet::crash

int main(int argc, char** argv) {
  // Every point copies the machine: tens of MiB.  By default glibc gives such memory back to the
  // kernel each time it is freed and fetches it again, zeroed: three quarters of the time.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  return duet::crash::main_of(argc, argv);
}
