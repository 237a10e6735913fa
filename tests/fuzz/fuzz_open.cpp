// Opening an aggregate whose bytes anybody may have changed, and reading what is in it.

#include "image.h"
#include "sim/sim_block_device.h"
#include "sim/sim_clock.h"
#include "wafl/aggregate.h"
#include "wafl/operations.h"
#include "platform/task_scope.h"

namespace {

using namespace duet;  // NOLINT: one small file

// Again until nothing is missing.
template <typename Look>
Task<Status> attempt(wafl::Aggregate& aggregate, Look look) {
  wafl::Attempt tries(aggregate);
  for (int rounds = 0; rounds < 200; ++rounds) {
    const Status done = look(tries);
    if (done.ok() || done.error().code != Errc::kMiss) {
      co_return done;
    }
    const Status loaded = co_await tries.load();
    if (!loaded.ok()) {
      co_return loaded;
    }
  }
  co_return Error{Errc::kTryAgain, "it never ends"};
}

Status look_at(wafl::Attempt& tries, wafl::Volume& volume, wafl::SnapshotId snapshot,
               wafl::InodeNumber number, std::vector<wafl::InodeNumber>& found) {
  const Result<wafl::InodeRef> inode = volume.find_inode(tries, snapshot, number);
  if (!inode.ok()) {
    return inode.error();
  }
  const wafl::FileType type = inode.value()->attributes().type;
  if (type == wafl::FileType::kDirectory) {
    found.clear();
    const auto visit = [&found](const wafl::ListedEntry& entry) {
      found.push_back(entry.inode);
      return found.size() < 100;
    };
    const Result<bool> listed = wafl::list(tries, *inode.value(), wafl::Cookie{0}, visit);
    if (!listed.ok()) {
      return listed.error();
    }
    const Result<wafl::Entry> entry = wafl::lookup(tries, *inode.value(), "file");
    return entry.ok() ? Status(Ok{}) : Status(entry.error());
  }
  if (type == wafl::FileType::kSymlink) {
    const Result<std::string> target = wafl::read_link(tries, *inode.value());
    return target.ok() ? Status(Ok{}) : Status(target.error());
  }
  const Result<wafl::ReadResult> read = wafl::read(tries, *inode.value(), 0, 65'536);
  return read.ok() ? Status(Ok{}) : Status(read.error());
}

Task<void> walk(wafl::Aggregate& aggregate) {
  for (wafl::Volume* volume : aggregate.volumes()) {
    std::vector<wafl::SnapshotId> snapshots{wafl::kLive};
    for (const wafl::SnapshotInfo& snapshot : volume->snapshots()) {
      snapshots.push_back(snapshot.id);
    }
    for (const wafl::SnapshotId snapshot : snapshots) {
      std::vector<wafl::InodeNumber> queue{wafl::kRootInode};
      for (std::size_t i = 0; i < queue.size() && i < 40; ++i) {
        std::vector<wafl::InodeNumber> found;
        const wafl::InodeNumber number = queue[i];
        auto look = [volume, snapshot, number, &found](wafl::Attempt& tries) {
          return look_at(tries, *volume, snapshot, number, found);
        };
        const Status looked = co_await attempt(aggregate, look);
        static_cast<void>(looked);
        queue.insert(queue.end(), found.begin(), found.end());
      }
    }
  }
}

Task<void> open(sim::SimScheduler& scheduler, BlockDevice& disk, WallClock& clock, bool& done) {
  std::vector<BlockDevice*> disks{&disk};
  wafl::AggregateOptions options;
  options.cache_bytes = 1U << 20U;
  Result<std::unique_ptr<wafl::Aggregate>> opened =
      co_await wafl::Aggregate::open(scheduler, clock, disks, options);
  if (opened.ok()) {
    co_await walk(*opened.value());
  }
  done = true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto disk = fuzz::Image::valid().changed(input);
  sim::SimScheduler scheduler(1);
  sim::SimWallClock clock(scheduler);
  sim::SimBlockDevice device(scheduler, *disk);
  bool done = false;
  TaskScope scope(scheduler);
  scope.spawn(open(scheduler, device, clock, done));
  DUET_CHECK(scheduler.run(10'000'000));
  DUET_CHECK(done);
  return 0;
}
