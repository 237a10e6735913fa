#include "world/workload.h"

#include <algorithm>

namespace duet::world {

namespace {

constexpr std::size_t kRemembered = 40;

}  // namespace

Workload::Workload(std::uint64_t seed, const WorkloadOptions& options, std::string root)
    : random_(seed), options_(options), root_(std::move(root)) {}

std::string Workload::pick(const std::vector<std::string>& handles) {
  return handles.empty() ? root_ : handles[random_.below(handles.size())];
}

std::string Workload::directory() { return random_.one_in(3) ? root_ : pick(directories_); }

std::string Workload::any() {
  switch (random_.below(4)) {
    case 0:
      return directory();
    case 1:
      return pick(others_);
    default:
      return pick(files_);
  }
}

std::string Workload::name() {
  const std::uint64_t number = random_.below(options_.names);
  std::string name = "n" + std::to_string(number);
  // The same number always has the same length.
  if (options_.long_names_one_in != 0 && number % options_.long_names_one_in == 1) {
    name.append(200 + number % 50, static_cast<char>('a' + number % 26));
  }
  return name;
}

std::string Workload::data(std::uint64_t bytes) {
  std::string data(bytes, '\0');
  std::uint64_t word = random_.next();
  for (std::size_t i = 0; i < bytes; ++i) {
    if (i % 512 == 0) {
      word = random_.next();
    }
    data[i] = static_cast<char>((word >> (i % 8 * 8)) + i / 8);
  }
  return data;
}

std::uint64_t Workload::offset() {
  if (options_.far_one_in != 0 && random_.one_in(options_.far_one_in)) {
    return random_.next() % (std::uint64_t{1} << (20 + random_.below(39)));
  }
  return random_.below(options_.file_bytes);
}

filer::SetAttributes Workload::attributes() {
  filer::SetAttributes changes;
  if (random_.one_in(2)) {
    changes.mode = static_cast<std::uint32_t>(random_.below(010000));
  }
  if (random_.one_in(4)) {
    changes.uid = static_cast<std::uint32_t>(random_.below(3));
    changes.gid = static_cast<std::uint32_t>(random_.below(3));
  }
  if (random_.one_in(6)) {
    changes.set_mtime = filer::SetTime::kClientTime;
    changes.mtime = wafl::Timestamp{static_cast<std::int64_t>(random_.below(1'000'000'000'000))};
  } else if (random_.one_in(6)) {
    changes.set_atime = changes.set_mtime = filer::SetTime::kServerTime;
  }
  return changes;
}

Operation Workload::make() {
  Operation operation;
  operation.handle = directory();
  operation.name = name();
  operation.changes = attributes();
  const std::uint64_t kind = random_.below(10);
  if (kind < 5) {
    operation.kind = Kind::kCreate;
    const std::uint64_t mode = random_.below(4);
    if (mode == 0) {
      operation.mode = filer::CreateMode::kExclusive;
      operation.changes = {};
      if (verifiers_.size() < 4) {
        verifiers_.push_back(random_.next());
      }
      operation.verifier = verifiers_[random_.below(verifiers_.size())];
    } else if (mode == 1) {
      operation.mode = filer::CreateMode::kGuarded;
    } else if (random_.one_in(2)) {
      operation.changes.size_bytes = random_.one_in(2) ? 0 : random_.below(options_.file_bytes);
    }
    return operation;
  }
  operation.kind = Kind::kMake;
  if (kind < 8) {
    operation.type = wafl::FileType::kDirectory;
  } else if (kind == 8) {
    operation.type = wafl::FileType::kSymlink;
    operation.name2 = "to/" + data(1 + random_.below(100));
    std::replace(operation.name2.begin(), operation.name2.end(), '\0', 'x');
  } else {
    operation.type = static_cast<wafl::FileType>(
        static_cast<std::uint64_t>(wafl::FileType::kBlockDevice) + random_.below(4));
    operation.device = {static_cast<std::uint32_t>(random_.below(300)),
                        static_cast<std::uint32_t>(random_.below(300))};
  }
  return operation;
}

Operation Workload::change() {
  Operation operation;
  const std::uint64_t kind = random_.below(100);
  if (kind < options_.remove_percent) {
    operation.kind = random_.one_in(4) ? Kind::kRmdir : Kind::kRemove;
    operation.handle = directory();
    operation.name = name();
  } else if (kind < options_.remove_percent + options_.write_percent) {
    operation.kind = Kind::kWrite;
    operation.handle = random_.one_in(20) ? any() : pick(files_);
    const bool large = options_.large_one_in != 0 && random_.one_in(options_.large_one_in);
    operation.data = data(1 + random_.below(large ? 300'000 : options_.write_bytes));
    operation.offset = offset();
  } else if (kind < options_.remove_percent + options_.write_percent + 12) {
    operation.kind = Kind::kSetattr;
    operation.handle = any();
    operation.changes = attributes();
    if (random_.one_in(3)) {
      operation.handle = pick(files_);
      operation.changes.size_bytes = random_.one_in(4) ? 0 : offset();
    }
    if (!guarded_.empty() && random_.one_in(6)) {
      operation.handle = guarded_;
      operation.guard = last_ctime_;
    }
  } else if (kind < options_.remove_percent + options_.write_percent + 22) {
    operation.kind = Kind::kRename;
    operation.handle = directory();
    operation.name = name();
    operation.handle2 = random_.one_in(2) ? operation.handle : directory();
    operation.name2 = name();
  } else if (kind < options_.remove_percent + options_.write_percent + 29) {
    operation.kind = Kind::kLink;
    operation.handle = random_.one_in(8) ? any() : pick(files_);
    operation.handle2 = directory();
    operation.name = name();
  } else {
    return make();
  }
  return operation;
}

Operation Workload::look() {
  static constexpr std::array<Kind, 16> kLooks{
      Kind::kGetattr, Kind::kLookup, Kind::kLookup,  Kind::kAccess,  Kind::kReadlink, Kind::kRead,
      Kind::kRead,    Kind::kRead,   Kind::kReaddir, Kind::kReaddir, Kind::kReaddir,  Kind::kReaddir,
      Kind::kFsstat,  Kind::kCommit, Kind::kLookup,  Kind::kGetattr};
  Operation operation;
  operation.kind = kLooks.at(random_.below(kLooks.size()));
  operation.handle = any();
  if (operation.kind == Kind::kLookup) {
    operation.handle = directory();
    operation.name = random_.one_in(10) ? (random_.one_in(2) ? "." : "..") : name();
  } else if (operation.kind == Kind::kAccess) {
    operation.wanted = static_cast<std::uint32_t>(random_.below(64));
  } else if (operation.kind == Kind::kReadlink) {
    operation.handle = random_.one_in(10) ? any() : pick(others_);
  } else if (operation.kind == Kind::kRead) {
    operation.handle = random_.one_in(20) ? any() : pick(files_);
    operation.offset = offset();
    operation.count = static_cast<std::uint32_t>(1 + random_.below(100'000));
  } else if (operation.kind == Kind::kReaddir) {
    operation.handle = directory();
    if (!listings_.empty() && random_.one_in(2)) {
      const Listing listing = listings_[random_.below(listings_.size())];
      operation.handle = listing.directory;
      operation.cookie = listing.cookie;
      operation.verifier = listing.verifier;
    }
    operation.plus = random_.one_in(2);
    operation.bytes_max = static_cast<std::uint32_t>(1024 + random_.below(3000));
    operation.reply_bytes_max =
        operation.bytes_max + static_cast<std::uint32_t>(random_.below(4000));
  }
  return operation;
}

Operation Workload::next() { return random_.below(100) < 60 ? change() : look(); }

void Workload::remember(std::vector<std::string>& handles, const std::string& handle) {
  if (std::find(handles.begin(), handles.end(), handle) != handles.end()) {
    return;
  }
  if (handles.size() < kRemembered) {
    handles.push_back(handle);
  } else {
    handles[random_.below(handles.size())] = handle;
  }
}

void Workload::heard(const Operation& operation, const Answer& answer) {
  if (answer.first.after.has_value() &&
      (operation.kind == Kind::kSetattr || operation.kind == Kind::kWrite)) {
    guarded_ = operation.handle;
    last_ctime_ = answer.first.after->attributes.ctime;
  }
  if (operation.kind == Kind::kReaddir && !answer.error.has_value() && !answer.entries.empty()) {
    const Listing listing{operation.handle,
                          answer.entries[random_.below(answer.entries.size())].cookie,
                          answer.verifier};
    if (listings_.size() < 10) {
      listings_.push_back(listing);
    } else {
      listings_[random_.below(listings_.size())] = listing;
    }
  }
  if (!answer.handle.has_value() || !answer.attributes.has_value() || *answer.handle == root_) {
    return;
  }
  const wafl::FileType type = answer.attributes->attributes.type;
  const bool file = type == wafl::FileType::kRegular;
  remember(type == wafl::FileType::kDirectory ? directories_ : (file ? files_ : others_),
           *answer.handle);
}

}  // namespace duet::world
