#include "receive.h"

#include <algorithm>

#include "administration.h"
#include "driver.h"
#include "filer_state.h"

namespace duet::filer {

namespace {

constexpr int kFramesPerTurn = 64;

// In the turn of a freeze.
Status begin_now(FilerState& filer, const std::string& name, const wafl::StreamHeader& header,
                 bool rollback) {
  if (header.incremental == 0) {
    Status made = filer.aggregate->create_volume(name, 0, take_time(filer));
    if (made.ok()) {
      filer.aggregate->find_volume(name)->begin_receive();
    }
    return made;
  }
  const Result<wafl::Volume*> found = find_volume(filer, name);
  if (!found.ok()) {
    return found.error();
  }
  wafl::Volume& volume = *found.value();
  if (volume.receiving()) {
    return Error{Errc::kRefused, "receive: another stream was begun at the same time"};
  }
  const std::vector<wafl::SnapshotInfo> snapshots = volume.snapshots();
  if (snapshots.empty() || volume.identity(snapshots.back().id) != header.base) {
    return Error{Errc::kRefused, "receive: its newest snapshot is not the one that this goes onto"};
  }
  if (volume.find_snapshot(wafl::snapshot_name(header))) {
    return Error{Errc::kExists, "receive: it has a snapshot of that name"};
  }
  if (!volume.unchanged()) {
    if (!rollback) {
      return Error{Errc::kRefused, "receive: it was changed since its newest snapshot"};
    }
    if (Status restored = volume.restore_snapshot(snapshots.back().name); !restored.ok()) {
      return restored;
    }
  }
  filer.hold_volume(volume.id());
  volume.begin_receive();
  return Ok{};
}

Status end_now(FilerState& filer, Receiving& receiving) {
  const wafl::StreamHeader& header = receiving.header;
  Status ended = receiving.volume.end_receive(wafl::snapshot_name(header), header.snapshot,
                                              wafl::Timestamp{header.created_ns});
  if (ended.ok()) {
    filer.hold_volume(receiving.volume.id());
    filer.snapshot_times.changed(receiving.volume.id(), take_time(filer));
  }
  return ended;
}

[[nodiscard]] bool busy_with(const FilerState& filer, const wafl::Volume& volume) {
  return std::any_of(
      filer.receives.running.begin(), filer.receives.running.end(),
      [&](const auto& entry) { return &entry.second->volume == &volume && entry.second->busy; });
}

// Gives up what runs on this volume.  Error: kNotFound; kRefused: a piece is being received.
Task<Status> give_up(FilerState& filer, std::string name) {
  auto job = [&filer, name = std::move(name)]() -> Status {
    const Result<wafl::Volume*> volume = find_volume(filer, name);
    if (!volume.ok()) {
      return volume.error();
    }
    if (!volume.value()->receiving()) {
      return Error{Errc::kNotFound, "receive: nothing is being received"};
    }
    if (busy_with(filer, *volume.value())) {
      return Error{Errc::kRefused, "receive: a piece of another stream is being received"};
    }
    std::erase_if(filer.receives.running,
                  [&](const auto& entry) { return &entry.second->volume == volume.value(); });
    filer.hold_volume(volume.value()->id());
    filer.export_cache.clear();
    return give_up_receive(*filer.aggregate, *volume.value());
  };
  return administrate(filer, std::move(job));
}

Task<Result<std::uint64_t>> begin(FilerState& filer, std::string name, wafl::StreamHeader header,
                                  bool rollback) {
  const wafl::Volume* present = filer.aggregate->find_volume(name);
  if (present != nullptr && present->receiving()) {
    const Status given_up = co_await give_up(filer, name);
    if (!given_up.ok()) {
      co_return given_up.error();
    }
  }
  auto job = [&filer, name, header, rollback] { return begin_now(filer, name, header, rollback); };
  const Status begun = co_await administrate(filer, std::move(job));
  if (!begun.ok()) {
    co_return begun.error();
  }
  wafl::Volume* volume = filer.aggregate->find_volume(name);
  if (volume == nullptr || !volume->receiving()) {
    co_return Error{Errc::kRefused, "receive: it was given up"};
  }
  const std::uint64_t id = filer.receives.next++;
  filer.receives.running.emplace(id, std::make_unique<Receiving>(*volume, header));
  co_return id;
}

// One frame, whatever it waits for.
Task<Status> take(FilerState& filer, Receiving& receiving, ConstBytes frame) {
  wafl::Attempt attempt(*filer.aggregate);
  WaitForSpace space;
  for (;;) {
    Failure refused;
    if (!filer.accepts(refused)) {
      co_return Error{*refused, "receive: the filer stops"};
    }
    if (!filer.has_room(0)) {
      co_await filer.cps.finished_changed().wait();
      continue;
    }
    const Status taken = receiving.receiver.take(attempt, frame);
    if (taken.ok()) {
      filer.changed();
      co_return taken;
    }
    const Errc code = taken.error().code;
    if (code == Errc::kMiss) {
      const Status loaded = co_await attempt.load();
      if (!loaded.ok()) {
        co_return loaded;
      }
    } else if (code == Errc::kTryAgain && space.worth_a_cp(filer)) {
      co_await filer.cps.one_more(CpCause::kMemory);
    } else {
      co_return code == Errc::kTryAgain ? Error{Errc::kNoSpace, "receive"} : taken.error();
    }
  }
}

Task<Status> take_all(FilerState& filer, Receiving& receiving) {
  std::size_t at = 0;
  Status result = Ok{};
  for (int frames = 1; result.ok() && !receiving.receiver.complete(); ++frames) {
    const ConstBytes rest = ConstBytes(receiving.bytes).subspan(at);
    const Result<std::size_t> bytes = wafl::frame_bytes(rest);
    if (!bytes.ok()) {
      co_return bytes.error();
    }
    if (bytes.value() == 0 || bytes.value() > rest.size()) {
      break;
    }
    result = co_await take(filer, receiving, rest.first(bytes.value()));
    at += bytes.value();
    if (frames % kFramesPerTurn == 0) {
      co_await yield(filer.scheduler);
    }
  }
  receiving.bytes.erase(receiving.bytes.begin(),
                        receiving.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  if (result.ok() && receiving.receiver.complete() && !receiving.bytes.empty()) {
    co_return Error{Errc::kInvalid, "bytes behind the end of the stream"};
  }
  co_return result;
}

Task<Result<bool>> receive_piece(FilerState& filer, std::uint64_t id,
                                 std::vector<std::byte> piece) {
  const FilerState::Running running(filer);
  const auto found = filer.receives.running.find(id);
  if (found == filer.receives.running.end()) {
    co_return Error{Errc::kNotFound, "receive: it was given up, or has ended"};
  }
  Receiving& receiving = *found->second;
  if (receiving.busy) {
    co_return Error{Errc::kRefused, "receive: the piece before is still being received"};
  }
  receiving.busy = true;
  receiving.bytes.insert(receiving.bytes.end(), piece.begin(), piece.end());
  Status taken = co_await take_all(filer, receiving);
  const bool complete = receiving.receiver.complete();
  if (taken.ok() && complete) {
    auto job = [&filer, &receiving] { return end_now(filer, receiving); };
    taken = co_await administrate(filer, std::move(job));
    if (taken.ok()) {
      filer.receives.running.erase(id);
      co_return true;
    }
  }
  receiving.busy = false;
  if (!taken.ok()) {
    std::string name = receiving.volume.name();
    // When the filer stops, its next opening gives it up.
    const Status given_up = co_await give_up(filer, std::move(name));
    (void)given_up;
    co_return taken.error();
  }
  co_return false;
}

}  // namespace

Status give_up_receive(wafl::Aggregate& aggregate, wafl::Volume& volume) {
  if (volume.snapshots().empty()) {
    return aggregate.destroy_volume(volume.name());
  }
  return volume.cancel_receive();
}

Task<Result<std::uint64_t>> Filer::begin_receive(std::string volume, std::vector<std::byte> header,
                                                 bool rollback) {
  const Result<wafl::StreamHeader> read = wafl::read_stream_header(header);
  if (!read.ok()) {
    co_return read.error();
  }
  const Result<std::uint64_t> begun =
      co_await begin(*state_, std::move(volume), read.value(), rollback);
  co_return begun;
}

Task<Result<bool>> Filer::receive(std::uint64_t id, std::vector<std::byte> piece) {
  return receive_piece(*state_, id, std::move(piece));
}

Task<Status> Filer::cancel_receive(std::string volume) {
  return give_up(*state_, std::move(volume));
}

Result<std::unique_ptr<wafl::SnapshotSender>> Filer::send_snapshot(const std::string& volume,
                                                                   const std::string& snapshot,
                                                                   const std::string& from) {
  const Result<wafl::Volume*> found = find_volume(*state_, volume);
  if (!found.ok()) {
    return found.error();
  }
  const std::optional<wafl::SnapshotInfo> sent = found.value()->find_snapshot(snapshot);
  const std::optional<wafl::SnapshotInfo> older = found.value()->find_snapshot(from);
  if (!sent || (!from.empty() && !older)) {
    return Error{Errc::kNotFound, "send: no such snapshot"};
  }
  return wafl::SnapshotSender::make(*state_->aggregate, found.value()->id(), sent->id,
                                    from.empty() ? std::nullopt : std::optional(older->id));
}

}  // namespace duet::filer
