// Administrative changes: made in memory in the turn in which a CP freezes, answered when it
// is durable.

#include "administration.h"

#include <algorithm>

#include "filer_state.h"

namespace duet::filer {

Task<Status> administrate(FilerState& filer, std::function<Status()> change) {
  const FilerState::Running running(filer);
  Failure refused;
  if (!filer.accepts(refused)) {
    co_return Error{*refused, "the filer has stopped"};
  }
  if (filer.paused()) {
    co_return Error{Errc::kTryAgain, "the filer is being handed over"};
  }
  co_return co_await filer.cps.administrate(std::move(change));
}

Result<wafl::Volume*> find_volume(FilerState& filer, const std::string& name) {
  wafl::Volume* volume = filer.aggregate->find_volume(name);
  if (volume == nullptr || volume->id() == wafl::kSystemVolume) {
    return Error{Errc::kNotFound, "no such volume"};
  }
  return volume;
}

wafl::Timestamp take_time(FilerState& filer) {
  const wafl::Timestamp now = filer.times.next();
  filer.times.used(now);
  return now;
}

namespace {

Status check_not_receiving(const wafl::Volume& volume) {
  return volume.receiving() ? Status(Error{Errc::kRefused, "a snapshot is being received into it"})
                            : Status(Ok{});
}

// A change of a volume by name; snapshot lists show that they changed.
Task<Status> change_volume(FilerState& filer, std::string name,
                           std::function<Status(wafl::Volume&, wafl::Timestamp)> change) {
  auto job = [&filer, name = std::move(name), change = std::move(change)]() -> Status {
    const Result<wafl::Volume*> volume = find_volume(filer, name);
    if (!volume.ok()) {
      return volume.error();
    }
    if (Status quiet = check_not_receiving(*volume.value()); !quiet.ok()) {
      return quiet;
    }
    const wafl::VolumeId id = volume.value()->id();
    const wafl::Timestamp now = take_time(filer);
    Status changed = change(*volume.value(), now);
    if (changed.ok()) {
      filer.snapshot_times.changed(id, now);
    }
    return changed;
  };
  return administrate(filer, std::move(job));
}

// As the configuration's reader has it.
Status check_limit(std::uint64_t bytes) {
  constexpr std::uint64_t kLeast = 1ULL << 20U;
  return bytes == 0 || bytes >= kLeast
             ? Status(Ok{})
             : Status(Error{Errc::kInvalid, "a volume's limit is 1 MiB at least, or none"});
}

// What cannot be kept and read back is refused: a path that is not UTF-8, or too much.
Status check_exports(const ExportTable& exports) {
  const std::string text = encode(exports);
  if (text.size() > kExportTableBytesMax) {
    return Error{Errc::kFileTooBig, "exports: the table is too large"};
  }
  const Result<ExportTable> kept = decode_exports(text);
  if (!kept.ok() || kept.value() != exports) {
    return Error{Errc::kInvalid, "exports: a path or rule that cannot be stored"};
  }
  return Ok{};
}

// REQUIRES: check_exports() was ok.
void keep_exports(FilerState& filer, ExportTable exports) {
  filer.exports = std::move(exports);
  filer.export_cache.clear();
  filer.system_files.write_exports(filer.exports, take_time(filer));
}

// Exports follow a volume to its new name.
ExportTable renamed_exports(const ExportTable& exports, const std::string& from,
                            const std::string& to) {
  ExportTable renamed = exports;
  for (Export& entry : renamed.exports) {
    if (entry.path == "/" + from) {
      entry.path = "/" + to;
    }
  }
  return renamed;
}

Status rename_volume_now(FilerState& filer, const std::string& from, const std::string& to) {
  if (const Result<wafl::Volume*> volume = find_volume(filer, from); !volume.ok()) {
    return volume.error();
  }
  ExportTable exports = renamed_exports(filer.exports, from, to);
  const bool exported = exports != filer.exports;
  if (Status checked = exported ? check_exports(exports) : Status(Ok{}); !checked.ok()) {
    return checked;
  }
  Status renamed = filer.aggregate->rename_volume(from, to);
  if (renamed.ok() && exported) {
    keep_exports(filer, std::move(exports));
  }
  return renamed;
}

Status destroy_volume_now(FilerState& filer, const std::string& name) {
  const Result<wafl::Volume*> volume = find_volume(filer, name);
  if (!volume.ok()) {
    return volume.error();
  }
  if (Status quiet = check_not_receiving(*volume.value()); !quiet.ok()) {
    return quiet;
  }
  const wafl::VolumeId id = volume.value()->id();
  Status destroyed = filer.aggregate->destroy_volume(name);
  if (destroyed.ok()) {
    filer.hold_volume(id);
    filer.export_cache.clear();
  }
  return destroyed;
}

Status restore_now(FilerState& filer, wafl::Volume& volume, const std::string& name,
                   const std::vector<std::string>& newer) {
  const std::vector<wafl::SnapshotInfo> snapshots = volume.snapshots();
  const auto wanted =
      std::find_if(snapshots.begin(), snapshots.end(),
                   [&](const wafl::SnapshotInfo& snapshot) { return snapshot.name == name; });
  if (wanted == snapshots.end()) {
    return Error{Errc::kNotFound, "restore: no such snapshot"};
  }
  for (auto snapshot = wanted + 1; snapshot != snapshots.end(); ++snapshot) {
    if (std::find(newer.begin(), newer.end(), snapshot->name) == newer.end()) {
      return Error{Errc::kRefused, "restore: newer snapshots would be deleted; name them"};
    }
    if (!volume.clones_of(snapshot->id).empty()) {
      return Error{Errc::kRefused, "restore: volumes are clones of newer snapshots"};
    }
  }
  for (auto snapshot = snapshots.end(); --snapshot != wanted;) {
    if (Status deleted = volume.delete_snapshot(snapshot->name); !deleted.ok()) {
      return deleted;
    }
  }
  Status restored = volume.restore_snapshot(name);
  if (restored.ok()) {
    filer.hold_volume(volume.id());
  }
  return restored;
}

}  // namespace

Task<Status> Filer::create_volume(std::string name, std::uint64_t limit_bytes) {
  FilerState& filer = *state_;
  auto job = [&filer, name = std::move(name), limit_bytes]() -> Status {
    if (Status checked = check_limit(limit_bytes); !checked.ok()) {
      return checked;
    }
    return filer.aggregate->create_volume(name, limit_bytes, take_time(filer));
  };
  return administrate(filer, std::move(job));
}

Task<Status> Filer::clone_volume(std::string origin, std::string snapshot, std::string name,
                                 std::uint64_t limit_bytes) {
  FilerState& filer = *state_;
  auto job = [&filer, origin = std::move(origin), snapshot = std::move(snapshot),
              name = std::move(name), limit_bytes]() -> Status {
    if (Status checked = check_limit(limit_bytes); !checked.ok()) {
      return checked;
    }
    return filer.aggregate->clone_volume(origin, snapshot, name, limit_bytes, take_time(filer));
  };
  return administrate(filer, std::move(job));
}

Task<Status> Filer::destroy_volume(std::string name) {
  FilerState& filer = *state_;
  auto job = [&filer, name = std::move(name)] { return destroy_volume_now(filer, name); };
  return administrate(filer, std::move(job));
}

Task<Status> Filer::rename_volume(std::string from, std::string to) {
  FilerState& filer = *state_;
  auto job = [&filer, from = std::move(from), to = std::move(to)] {
    return rename_volume_now(filer, from, to);
  };
  return administrate(filer, std::move(job));
}

Task<Status> Filer::set_volume_limit(std::string name, std::uint64_t limit_bytes) {
  auto change = [limit_bytes](wafl::Volume& volume, wafl::Timestamp /*now*/) -> Status {
    if (Status checked = check_limit(limit_bytes); !checked.ok()) {
      return checked;
    }
    volume.set_limit_bytes(limit_bytes);
    return Ok{};
  };
  return change_volume(*state_, std::move(name), std::move(change));
}

Task<Status> Filer::create_snapshot(std::string volume, std::string name) {
  auto change = [name = std::move(name)](wafl::Volume& of, wafl::Timestamp now) {
    return of.create_snapshot(name, now);
  };
  return change_volume(*state_, std::move(volume), std::move(change));
}

Task<Status> Filer::delete_snapshot(std::string volume, std::string name) {
  auto change = [name = std::move(name)](wafl::Volume& of, wafl::Timestamp /*now*/) {
    return of.delete_snapshot(name);
  };
  return change_volume(*state_, std::move(volume), std::move(change));
}

Task<Status> Filer::rename_snapshot(std::string volume, std::string from, std::string to) {
  auto change = [from = std::move(from), to = std::move(to)](wafl::Volume& of,
                                                             wafl::Timestamp /*now*/) {
    return of.rename_snapshot(from, to);
  };
  return change_volume(*state_, std::move(volume), std::move(change));
}

Task<Status> Filer::restore_snapshot(std::string volume, std::string name,
                                     std::vector<std::string> newer) {
  FilerState& filer = *state_;
  auto change = [&filer, name = std::move(name), newer = std::move(newer)](
                    wafl::Volume& of, wafl::Timestamp /*now*/) {
    return restore_now(filer, of, name, newer);
  };
  return change_volume(filer, std::move(volume), std::move(change));
}

Task<Status> Filer::set_exports(ExportTable exports) {
  auto change = [exports = std::move(exports)](ExportTable& table) -> Status {
    table = exports;
    return Ok{};
  };
  return change_exports(std::move(change));
}

Task<Status> Filer::change_exports(std::function<Status(ExportTable&)> change) {
  FilerState& filer = *state_;
  auto job = [&filer, change = std::move(change)]() -> Status {
    ExportTable exports = filer.exports;
    if (Status changed = change(exports); !changed.ok()) {
      return changed;
    }
    if (Status checked = check_exports(exports); !checked.ok()) {
      return checked;
    }
    keep_exports(filer, std::move(exports));
    return Ok{};
  };
  return administrate(filer, std::move(job));
}

namespace {

Task<Status> label_and_add(FilerState& filer, BlockDevice& device) {
  const FilerState::Running running(filer);
  Failure refused;
  if (!filer.accepts(refused)) {
    co_return Error{*refused, "the filer has stopped"};
  }
  // Between its label and its CP a disk has a place in the table that only one may have.
  if (filer.adding_disk) {
    co_return Error{Errc::kRefused, "another disk is being added; try again when that is done"};
  }
  filer.adding_disk = true;
  Status added = co_await filer.aggregate->label_new_disk(device, filer.entropy);
  if (added.ok()) {
    auto job = [&filer, &device] { return filer.aggregate->add_disk(device); };
    added = co_await administrate(filer, std::move(job));
  }
  filer.adding_disk = false;
  co_return added;
}

}  // namespace

Task<Status> Filer::add_disk(BlockDevice& device) { return label_and_add(*state_, device); }

Task<Status> Filer::set_membership_generation(std::uint64_t generation) {
  FilerState& filer = *state_;
  auto job = [&filer, generation]() -> Status {
    filer.aggregate->set_membership_generation(generation);
    return Ok{};
  };
  return administrate(filer, std::move(job));
}

Task<Status> Filer::consistency_point() {
  auto job = []() -> Status { return Ok{}; };
  return administrate(*state_, std::move(job));
}

}  // namespace duet::filer
