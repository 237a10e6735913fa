// A filer on simulated disks and memory, that can be killed and opened again.

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "filer/filer.h"
#include "platform/task_scope.h"
#include "sim/sim_block_device.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_entropy.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"

namespace duet::filer::testing {

template <typename T>
Task<void> keep_result(Task<T> task, std::optional<T>& result) {
  result.emplace(co_await std::move(task));
}

inline ConstBytes bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class World {
 public:
  explicit World(std::uint64_t seed = 1, FilerOptions filer_options = quick_options(),
                 std::uint64_t disk_blocks = 32'768)
      : options(filer_options),
        scheduler(seed),
        clock(scheduler),
        entropy(seed),
        random(seed),
        memory(nvlog::region_bytes(nvlog::half_bytes_min())) {
    disks.push_back(std::make_unique<sim::SimDisk>("disk0", disk_blocks));
    disks.push_back(std::make_unique<sim::SimDisk>("disk1", disk_blocks));
    connect();
    wafl::FormatOptions format;
    format.pair = {11, 12};
    format.filer_name = "a";
    format.log_id = 77;
    format.now = wafl::Timestamp{clock.since_epoch().count()};
    const Status formatted = run(wafl::format(scheduler, pointers(), format, entropy));
    EXPECT_TRUE(formatted.ok());
    EXPECT_TRUE(nvlog::format_area(memory, {{11, 12}, 0, 77}, 0).ok());
    open();
    EXPECT_TRUE(run(filer->create_volume("vol0", 0)).ok());
    share({rule("*")});
  }
  ~World() {
    devices.clear();
    filer.reset();
  }

  // CPs only when the test asks for them.
  static FilerOptions quick_options() {
    FilerOptions options;
    options.cache_bytes = 16U << 20U;
    options.cp_interval = std::chrono::hours(1'000);
    options.reply_cache_entries = 64;
    return options;
  }

  static ExportRule rule(std::string_view client) {
    Result<ExportRule> parsed = parse_client(client);
    EXPECT_TRUE(parsed.ok());
    parsed.value().squash = Squash::kNone;
    return parsed.value();
  }
  void share(std::vector<ExportRule> rules) {
    ExportTable table;
    table.exports.push_back({"/vol0", std::move(rules)});
    ASSERT_TRUE(run(filer->set_exports(table)).ok());
  }

  std::vector<BlockDevice*> pointers() {
    std::vector<BlockDevice*> list;
    for (const auto& device : devices) {
      list.push_back(device.get());
    }
    return list;
  }
  void connect() {
    devices.clear();
    for (const auto& disk : disks) {
      devices.push_back(std::make_unique<sim::SimBlockDevice>(scheduler, *disk));
    }
  }
  Result<bool> try_open() {
    auto opened = run(Filer::open(scheduler, clock, entropy, pointers(), memory, options));
    if (!opened.ok()) {
      return opened.error();
    }
    filer = std::move(opened.value());
    return true;
  }
  void open() {
    const Result<bool> opened = try_open();
    ASSERT_TRUE(opened.ok()) << opened.error().context;
  }

  // kill -9, or with `power` the plug, and another start.
  void kill(bool power = false) {
    devices.clear();
    filer.reset();
    if (power) {
      for (const auto& disk : disks) {
        disk->lose_power(random);
      }
      memory.lose_power(random);
    }
    connect();
  }
  void crash(bool power = false) {
    kill(power);
    open();
  }
  void stop_and_open() {
    const Status stopped = run(filer->stop());
    ASSERT_TRUE(stopped.ok());
    filer.reset();
    open();
  }

  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    TaskScope scope(scheduler);
    scope.spawn(keep_result(std::move(task), result));
    EXPECT_TRUE(scheduler.run_until([&] { return result.has_value(); }, 50'000'000));
    EXPECT_TRUE(result.has_value()) << "the world came to rest before the answer";
    return std::move(*result);
  }

  // The next request of root at 127.0.0.1.
  Caller caller(std::uint32_t uid = 0, std::uint32_t gid = 0) {
    Caller next;
    next.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1};
    next.port = 700;
    next.credentials.uid = uid;
    next.credentials.gid = gid;
    next.xid = ++xid_;
    next.procedure = 8;
    next.checksum = xid_ * 3;
    return next;
  }

  // --- Requests that must succeed, as root unless said otherwise.

  Handle root(std::string_view path = "/vol0") {
    const Caller from = caller();
    const MountReply reply = run(filer->mount(from, path));
    EXPECT_FALSE(reply.error.has_value()) << static_cast<int>(reply.error.value_or(Errc{}));
    return reply.handle;
  }
  Handle create(const Handle& directory, std::string_view name, std::uint32_t mode = 0644,
                std::uint32_t uid = 0) {
    CreateRequest request{directory.bytes(), name, CreateMode::kGuarded, {}, 0};
    request.attributes.mode = mode;
    const Caller from = caller(uid, uid);
    const CreateReply reply = run(filer->create(from, request));
    EXPECT_FALSE(reply.error.has_value()) << static_cast<int>(reply.error.value_or(Errc{}));
    return reply.handle.value_or(Handle{});
  }
  Handle make_directory(const Handle& directory, std::string_view name, std::uint32_t mode = 0755,
                        std::uint32_t uid = 0) {
    MakeRequest request{directory.bytes(), name, wafl::FileType::kDirectory, {}, {}, {}};
    request.attributes.mode = mode;
    const Caller from = caller(uid, uid);
    const CreateReply reply = run(filer->make(from, request));
    EXPECT_FALSE(reply.error.has_value()) << static_cast<int>(reply.error.value_or(Errc{}));
    return reply.handle.value_or(Handle{});
  }
  LookupReply lookup(const Handle& directory, std::string_view name, std::uint32_t uid = 0) {
    const NameRequest request{directory.bytes(), name};
    const Caller from = caller(uid, uid);
    return run(filer->lookup(from, request));
  }
  GetattrReply getattr(const Handle& handle) {
    const Caller from = caller();
    return run(filer->getattr(from, handle.bytes()));
  }
  WriteReply write(const Handle& handle, std::uint64_t offset, std::string_view text,
                   std::uint32_t uid = 0) {
    const ConstBytes piece = bytes_of_text(text);
    const WriteRequest request{handle.bytes(), offset, std::span(&piece, 1)};
    const Caller from = caller(uid, uid);
    return run(filer->write(from, request));
  }
  // "" and an error when there is one.
  std::string read(const Handle& handle, std::uint64_t offset = 0, std::uint32_t count = 1U << 20U,
                   Failure* error = nullptr, std::uint32_t uid = 0) {
    const ReadRequest request{handle.bytes(), offset, count};
    const Caller from = caller(uid, uid);
    const ReadReply reply = run(filer->read(from, request));
    if (error != nullptr) {
      *error = reply.error;
    } else {
      EXPECT_FALSE(reply.error.has_value());
    }
    std::string text;
    for (const wafl::Extent& extent : reply.data.extents) {
      if (extent.buffer) {
        const ConstBytes part = extent.buffer.bytes().subspan(extent.offset, extent.bytes);
        text.append(reinterpret_cast<const char*>(part.data()), part.size());
      } else {
        text.append(extent.bytes, '\0');
      }
    }
    return text;
  }
  WccReply remove(const Handle& directory, std::string_view name, std::uint32_t uid = 0) {
    const NameRequest request{directory.bytes(), name};
    const Caller from = caller(uid, uid);
    return run(filer->remove(from, request));
  }
  WccReply rmdir(const Handle& directory, std::string_view name) {
    const NameRequest request{directory.bytes(), name};
    const Caller from = caller();
    return run(filer->rmdir(from, request));
  }
  RenameReply rename(const Handle& from_directory, std::string_view from_name,
                     const Handle& to_directory, std::string_view to_name, std::uint32_t uid = 0) {
    const RenameRequest request{from_directory.bytes(), from_name, to_directory.bytes(), to_name};
    const Caller from = caller(uid, uid);
    return run(filer->rename(from, request));
  }
  WccReply setattr(const Handle& handle, const SetAttributes& changes, std::uint32_t uid = 0) {
    const SetattrRequest request{handle.bytes(), changes, std::nullopt};
    const Caller from = caller(uid, uid);
    return run(filer->setattr(from, request));
  }
  ReaddirReply readdir(const Handle& directory, bool plus = false, std::uint64_t cookie = 0,
                       std::uint32_t bytes = 65'536) {
    ReaddirRequest request{directory.bytes(), cookie, 0, bytes, plus ? bytes : 0, plus};
    const Caller from = caller();
    return run(filer->readdir(from, request));
  }
  std::vector<std::string> names(const Handle& directory) {
    std::vector<std::string> list;
    for (const ReaddirEntry& entry : readdir(directory).entries) {
      list.push_back(entry.name);
    }
    return list;
  }

  FilerOptions options;
  sim::SimScheduler scheduler;
  sim::SimWallClock clock;
  sim::SimEntropy entropy;
  sim::Random random;
  std::vector<std::unique_ptr<sim::SimDisk>> disks;
  sim::SimPersistentMemory memory;
  std::vector<std::unique_ptr<sim::SimBlockDevice>> devices;
  std::unique_ptr<Filer> filer;

 private:
  std::uint32_t xid_ = 0;
};

// NFS shows every attribute but atime to be equal after a crash.
inline bool same_but_atime(FileAttributes a, FileAttributes b) {
  a.attributes.atime = b.attributes.atime = {};
  return a.attributes == b.attributes && a.fsid == b.fsid && a.fileid == b.fileid;
}

}  // namespace duet::filer::testing
