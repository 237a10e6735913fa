// The tasks of a world: clients that ask and ask again, and an operator with snapshots.

#include "platform/wait.h"
#include "world.h"

namespace duet::world {

namespace {

constexpr std::size_t kSnapshotsMax = 6;
constexpr std::size_t kClonesMax = 3;

std::string clone_name(std::size_t number) { return "clone" + std::to_string(number); }

}  // namespace

Task<void> World::serve(Client& client) {
  for (;;) {
    client.idle = !client.request.has_value();
    const Duration think = std::chrono::microseconds(scheduler_.random().below(200));
    co_await sleep(scheduler_, think);
    if (!client.request.has_value()) {
      if (ending_ || client.ends) {
        co_return;
      }
      if (pause_ || steps_left_ == 0) {
        continue;
      }
      --steps_left_;
      ++statistics_.requests;
      client.request =
          client.volume->history.begin(client.volume->workload.next(), client.number, ++client.xid);
      client.caller = caller_of(client.number, client.xid, (*client.request)->operation);
    } else {
      ++statistics_.retries;
    }
    client.idle = false;
    Answer answer = co_await service_->call(client.caller, (*client.request)->operation);
    if (node_.died()) {
      co_return;  // it never came
    }
    if (excused(answer)) {
      ++statistics_.faults;
      ++io_errors_;
      io_failed_ = true;
      continue;
    }
    const Operation& operation = (*client.request)->operation;
    say("client " + std::to_string(client.number) + " xid " + std::to_string(client.xid) + " " +
        text_of(operation) + ": " + text_of(answer.error));
    statistics_.full += answer.error == Errc::kNoSpace ? 1 : 0;
    client.volume->workload.heard(operation, answer);
    const History::RequestRef request = *client.request;
    client.request.reset();
    const Complaint complaint = client.volume->history.end(request, std::move(answer));
    if (!complaint.empty()) {
      fail(complaint);
      co_return;
    }
  }
}

Task<void> World::operate() {
  for (;;) {
    const Duration think = std::chrono::microseconds(100 + scheduler_.random().below(4000));
    co_await sleep(scheduler_, think);
    // A job whose end is not known is settled in the next life.
    if (ending_ || node_.died() || !complaint_.empty() || job_ != Job::kNone) {
      co_return;
    }
    const std::uint64_t what = scheduler_.random().below(12);
    if (what < 3 && history_->snapshots().size() < kSnapshotsMax) {
      co_await create_snapshot();
      if (job_ == Job::kNone && scheduler_.random().one_in(2)) {
        co_await make_clone();
      }
    } else if (what < 5) {
      co_await delete_snapshot();
    } else if (what == 5) {
      co_await rename_snapshot();
    } else if (what == 6 && options_.restores) {
      co_await restore_snapshot();
    } else if (what == 10) {
      co_await make_clone();
    } else if (what == 11) {
      co_await destroy_clone();
    } else {
      std::string name = pick_snapshot();
      co_await look_at_snapshot(std::move(name));
    }
  }
}

bool World::has_snapshot(const std::string& name) {
  const wafl::Volume* volume = node_.filer().aggregate().find_volume("vol0");
  return volume->find_snapshot(name).has_value();
}

std::string World::pick_snapshot() {
  const auto& snapshots = history_->snapshots();
  if (snapshots.empty()) {
    return {};
  }
  auto at = snapshots.begin();
  std::advance(at, scheduler_.random().below(snapshots.size()));
  return at->first;
}

Task<void> World::create_snapshot() {
  job_name_ = "s" + std::to_string(next_snapshot_++);
  job_ = Job::kCreate;
  pin_ = history_->pin();
  const std::string name = job_name_;
  const Status created = co_await node_.filer().create_snapshot("vol0", name);
  if (node_.died()) {
    co_return;
  }
  if (!created.ok() && faults_) {
    io_failed_ = true;
    co_return;  // it may be there: the next life will tell
  }
  if (!created.ok() && !(profile_.full && created.error().code == Errc::kNoSpace)) {
    fail("creating a snapshot: " + std::string(created.error().context));
  }
  settle_create();
}

// The snapshot of the job is there, or is not.
void World::settle_create() {
  const wafl::Volume* volume = node_.filer().aggregate().find_volume("vol0");
  const auto snapshot = volume->find_snapshot(job_name_);
  if (snapshot.has_value()) {
    say("snapshot " + job_name_);
    history_->snapshot_taken(static_cast<std::int64_t>(snapshot->created), job_name_);
    ++statistics_.snapshots;
  }
  job_ = Job::kNone;
  const Complaint complaint = history_->unpin(*pin_);
  pin_.reset();
  if (!complaint.empty()) {
    fail(complaint);
  }
}

Task<void> World::delete_snapshot() {
  job_name_ = pick_snapshot();
  if (job_name_.empty()) {
    co_return;
  }
  job_ = Job::kDelete;
  const std::string name = job_name_;
  const Status deleted = co_await node_.filer().delete_snapshot("vol0", name);
  if (node_.died()) {
    co_return;
  }
  if (!deleted.ok() && faults_) {
    io_failed_ = true;
    co_return;
  }
  job_ = Job::kNone;
  const bool cloned = has_clones(name);
  if (cloned && deleted.ok()) {
    fail("a snapshot was deleted that has clones");
  } else if (!deleted.ok() && !(cloned && deleted.error().code == Errc::kRefused)) {
    fail("deleting a snapshot: " + std::string(deleted.error().context));
  } else if (deleted.ok()) {
    history_->snapshot_deleted(name);
  }
}

Task<void> World::rename_snapshot() {
  job_name_ = pick_snapshot();
  if (job_name_.empty()) {
    co_return;
  }
  job_name2_ = "r" + std::to_string(next_snapshot_++);
  job_ = Job::kRename;
  const std::string from = job_name_;
  const std::string to = job_name2_;
  const Status renamed = co_await node_.filer().rename_snapshot("vol0", from, to);
  if (node_.died()) {
    co_return;
  }
  if (!renamed.ok() && faults_) {
    io_failed_ = true;
    co_return;
  }
  if (!renamed.ok()) {
    fail("renaming a snapshot: " + std::string(renamed.error().context));
  }
  snapshot_renamed(from, to);
  job_ = Job::kNone;
}

std::vector<std::string> World::newer_than(const std::string& name) {
  std::vector<std::string> newer;
  bool found = false;
  const wafl::Volume* volume = node_.filer().aggregate().find_volume("vol0");
  for (const wafl::SnapshotInfo& snapshot : volume->snapshots()) {
    if (found) {
      newer.push_back(snapshot.name);
    }
    found = found || snapshot.name == name;
  }
  return newer;
}

// All clients stand still: what they see then is the snapshot.
Task<void> World::restore_snapshot() {
  pause_ = true;
  while (!quiet()) {
    const Duration wait = std::chrono::microseconds(100);
    co_await sleep(scheduler_, wait);
    if (node_.died()) {
      co_return;
    }
  }
  job_name_ = pick_snapshot();
  bool cloned = false;
  for (const std::string& newer : newer_than(job_name_)) {
    cloned = cloned || has_clones(newer);
  }
  if (!job_name_.empty() && !cloned) {
    job_ = Job::kRestore;
    const Status restored_now = co_await settle_restore();
    if (node_.died()) {
      co_return;
    }
    if (!restored_now.ok() && faults_) {
      io_failed_ = true;
      co_return;
    }
    if (!restored_now.ok()) {
      fail("restoring a snapshot: " + std::string(restored_now.error().context));
    } else {
      restored();
    }
  }
  pause_ = false;
}

Task<Status> World::settle_restore() {
  std::string name = job_name_;
  std::vector<std::string> newer = newer_than(name);
  co_return co_await node_.filer().restore_snapshot("vol0", std::move(name), std::move(newer));
}

void World::restored() {
  say("restored " + job_name_);
  const Complaint complaint = history_->restored(job_name_);
  if (!complaint.empty()) {
    fail(complaint);
  }
  std::erase_if(history_->snapshots(),
                [this](const auto& snapshot) { return !has_snapshot(snapshot.first); });
  job_ = Job::kNone;
  ++statistics_.restores;
}

// --- Clones.  Their exports are there before them.

Complaint World::export_clones() {
  filer::ExportTable exports = node_.filer().exports();
  for (std::size_t i = 0; i < kClonesMax; ++i) {
    exports.exports.push_back({"/" + clone_name(i), exports.exports.front().rules});
  }
  const std::optional<Status> done = node_.run(node_.filer().set_exports(exports));
  return done.has_value() && done->ok() ? Complaint() : "exports: refused";
}

bool World::has_clones(const std::string& snapshot) const {
  return std::ranges::any_of(clones_,
                             [&](const auto& clone) { return clone->snapshot == snapshot; });
}

bool World::has_volume(const std::string& name) {
  return node_.filer().aggregate().find_volume(name) != nullptr;
}

void World::snapshot_renamed(const std::string& from, const std::string& to) {
  history_->snapshot_renamed(from, to);
  for (const auto& clone : clones_) {
    clone->snapshot = clone->snapshot == from ? to : clone->snapshot;
  }
}

Task<void> World::make_clone() {
  job_name_ = pick_snapshot();
  std::size_t number = 0;
  while (number < kClonesMax && has_volume(clone_name(number))) {
    ++number;
  }
  if (job_name_.empty() || number == kClonesMax) {
    co_return;
  }
  job_name2_ = clone_name(number);
  job_ = Job::kClone;
  const Status cloned = co_await node_.filer().clone_volume("vol0", job_name_, job_name2_, 0);
  if (node_.died()) {
    co_return;
  }
  if (!cloned.ok() && faults_) {
    io_failed_ = true;
    co_return;
  }
  if (!cloned.ok()) {
    fail("cloning: " + std::string(cloned.error().context));
    co_return;
  }
  add_clone();
  Clone& clone = *clones_.back();
  const bool learned = co_await learn_clone(clone);
  if (node_.died()) {
    co_return;  // the next life learns it
  }
  if (!learned) {
    io_failed_ = faults_;
    if (!faults_) {
      fail("mounting a clone: refused");
    }
    co_return;
  }
  job_ = Job::kNone;
  scope_->spawn(serve(clone.client));
}

// The clone of the job, as the model has it; its root's handle is not known yet.
void World::add_clone() {
  std::erase_if(clones_, [this](const auto& clone) { return clone->name == job_name2_; });
  say("clone " + job_name2_ + " of " + job_name_);
  auto clone = std::make_unique<Clone>();
  clone->name = job_name2_;
  clone->snapshot = job_name_;
  clone->client.number = next_clone_client_++;
  clones_.push_back(std::move(clone));
  ++statistics_.clones;
}

// Whether its root could be mounted.
Task<bool> World::learn_clone(Clone& clone) {
  const Operation mount;
  const filer::Caller caller = caller_of(1000, 1, mount);
  const std::string path = "/" + clone.name;
  const filer::MountReply reply = co_await node_.filer().mount(caller, path);
  if (reply.error.has_value()) {
    co_return false;
  }
  std::string root(reinterpret_cast<const char*>(reply.handle.data.data()), reply.handle.size);
  Tree tree = history_->snapshot(clone.snapshot)->as_clone();
  tree.learn_root(root);
  const Workload workload(options_.seed + clone.client.number, profile_.workload, std::move(root));
  clone.volume.emplace(std::move(tree), workload);
  clone.client.volume = &*clone.volume;
  co_return true;
}

Task<void> World::destroy_clone() {
  if (clones_.empty()) {
    co_return;
  }
  Clone& clone = *clones_[scheduler_.random().below(clones_.size())];
  // Its client has no request under way any more.
  clone.client.ends = true;
  while (!clone.client.idle) {
    const Duration wait = std::chrono::microseconds(100);
    co_await sleep(scheduler_, wait);
    if (node_.died()) {
      clone.client.ends = false;
      co_return;
    }
  }
  const std::string name = clone.name;
  job_name2_ = name;
  job_ = Job::kDestroyClone;
  const Status destroyed = co_await node_.filer().destroy_volume(name);
  if (node_.died()) {
    co_return;
  }
  if (!destroyed.ok() && faults_) {
    io_failed_ = true;
    co_return;
  }
  if (!destroyed.ok()) {
    fail("destroying a clone: " + std::string(destroyed.error().context));
  }
  clone_gone(name);
  job_ = Job::kNone;
}

// Its client ends when it looks next, and its objects stay until the next life.
void World::clone_gone(const std::string& name) {
  const auto gone =
      std::ranges::find_if(clones_, [&](const auto& clone) { return clone->name == name; });
  say("destroyed " + name);
  gone_.push_back(std::move(*gone));
  clones_.erase(gone);
}

Task<void> World::look_at_snapshot(std::string name) {
  if (name.empty()) {
    co_return;
  }
  const std::string root = co_await snapshot_root(*service_, root_, name);
  Tree* const tree = history_->snapshot(name);
  if (node_.died() || (root.empty() && faults_)) {
    co_return;
  }
  if (root.empty()) {
    fail("I9: a snapshot is gone: " + name);
    co_return;
  }
  tree->learn_root(root);
  auto excuse = [this](const Answer& answer) { return excused(answer); };
  const Complaint complaint = co_await survey(*service_, *tree, std::move(excuse));
  if (!complaint.empty()) {
    fail("I9: snapshot " + name + ": " + complaint);
  }
}

// What the operator had begun when the server died was done, or was not.
Complaint World::settle() {
  const bool there = job_ != Job::kNone && has_snapshot(job_name_);
  switch (job_) {
    case Job::kNone:
      break;
    case Job::kCreate:
      settle_create();
      break;
    case Job::kDelete:
      if (!there) {
        history_->snapshot_deleted(job_name_);
      }
      break;
    case Job::kRename:
      if (!there) {
        snapshot_renamed(job_name_, job_name2_);
      }
      break;
    case Job::kClone:
      if (has_volume(job_name2_)) {
        add_clone();
        const std::optional<bool> learned = node_.run(learn_clone(*clones_.back()));
        if (!learned.value_or(false)) {
          return "a clone cannot be mounted";
        }
      } else if (std::ranges::any_of(
                     clones_, [this](const auto& clone) { return clone->name == job_name2_; })) {
        return "I5: a clone was acknowledged and is lost: " + job_name2_;
      }
      break;
    case Job::kDestroyClone:
      if (!has_volume(job_name2_)) {
        clone_gone(job_name2_);
      }
      break;
    case Job::kRestore: {
      const std::optional<Status> done = node_.run(settle_restore());
      if (!done.has_value() || !done->ok()) {
        return "restoring a snapshot again: fails";
      }
      restored();
      break;
    }
  }
  job_ = Job::kNone;
  return complaint_;
}

}  // namespace duet::world
