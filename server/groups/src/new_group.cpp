#include "new_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "found_group.h"
#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::groups {

namespace {

constexpr std::uint64_t kBlocksAtOnce = 256;  // 1 MiB
// Of a group: each range that was used has an entry in every node's memory.
constexpr std::uint64_t kRanges = 65'536;

// Reads first: a disk that is new, or an image with holes, stays as it is.
Task<Status> write_zeros_to(BlockDevice& disk, std::uint64_t blocks, std::uint64_t& done) {
  const Bytes read_into(kBlocksAtOnce);
  const Bytes zeros(kBlocksAtOnce);
  for (std::uint64_t at = 0; at < blocks; at += kBlocksAtOnce) {
    const std::uint64_t count = std::min(kBlocksAtOnce, blocks - at);
    const std::array<MutableBytes, 1> read_parts = {read_into.first(count)};
    const Status read = co_await disk.read(at, read_parts);
    if (!read.ok() || !all_zero(read_parts[0])) {
      const std::array<MutableBytes, 1> zero_parts = {zeros.first(count)};
      const Status written = co_await disk.write(at, zero_parts);
      if (!written.ok()) {
        co_return written;
      }
    }
    done += count;
  }
  const Status flushed = co_await disk.flush();
  co_return flushed;
}

}  // namespace

Bytes::Bytes(std::uint64_t blocks)
    : memory_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, blocks * kBlockBytes))),
      size_(blocks * kBlockBytes) {
  DUET_CHECK(memory_ != nullptr);
  std::fill_n(memory_.get(), size_, std::byte{0});
}

NewGroup::NewGroup(Scheduler& scheduler, const std::string& file,
                   const config::RaidGroup& configured, std::vector<NewDisk> disks)
    : scheduler_(scheduler), file_(file), configured_(configured), disks_(std::move(disks)) {
  for (const NewDisk& disk : disks_) {
    if (!disk.spare) {
      smallest_ = std::min(smallest_, disk.device->block_count() * kBlockBytes);
    }
  }
  geometry_ = configured_.geometry(smallest_);
}

std::string NewGroup::place() const {
  return fmt::format("{}:{}: redundancy group {}", file_, configured_.line, configured_.name);
}

// The virtual disks one behind the other, in whole stripes.  Empty: they do not fit.
std::vector<raid::VirtualDiskEntry> NewGroup::parts() const {
  if (!geometry_.valid()) {
    return {};
  }
  const std::uint64_t stripe_bytes = geometry_.stripe_blocks() * kBlockBytes;
  std::vector<raid::VirtualDiskEntry> entries;
  std::uint64_t next = 0;
  for (const config::VirtualDisk& disk : configured_.virtual_disks) {
    const std::uint64_t left = geometry_.stripes - next;
    const std::uint64_t count =
        disk.size_bytes == 0 ? left : (disk.size_bytes + stripe_bytes - 1) / stripe_bytes;
    if (count == 0 || count > left) {
      return {};
    }
    entries.push_back(
        {disk.name, {next * geometry_.stripe_blocks(), count * geometry_.stripe_blocks()}});
    next += count;
  }
  return entries;
}

std::string NewGroup::check() const {
  for (const NewDisk& disk : disks_) {
    if (disk.device->block_count() < geometry_.disk_blocks()) {
      return fmt::format("{}:{}: spare {} is smaller than the group's disks; give a larger one",
                         file_, disk.configured->path.line, disk.device->name());
    }
  }
  if (parts().empty()) {
    return fmt::format(
        "{}: its virtual disks do not fit on disks of {}, which give {}; make them smaller, or the "
        "disks larger",
        place(), config::size_text(smallest_),
        config::size_text(geometry_.block_count() * kBlockBytes));
  }
  return {};
}

Task<std::string> NewGroup::write_zeros(const std::function<void(const std::string&)>& progress) {
  // All at once, a part of each in turn.
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::size_t left = 0;
  Status zeroed = Ok{};
  TaskScope scope(scheduler_);
  const auto zero = [&](BlockDevice& disk, std::uint64_t blocks) -> Task<void> {
    const Status status = co_await write_zeros_to(disk, blocks, done);
    if (!status.ok()) {
      zeroed = status;
    }
    --left;
  };
  for (const NewDisk& disk : disks_) {
    if (!disk.zeros) {
      const std::uint64_t blocks = geometry_.disk_blocks();
      total += blocks;
      ++left;
      scope.spawn(zero(*disk.device, blocks));
    }
  }
  std::uint64_t tenths = 0;
  while (left > 0) {
    co_await sleep(scheduler_, std::chrono::milliseconds(50));
    if (done * 10 / total > tenths && done < total) {
      tenths = done * 10 / total;
      progress(fmt::format("redundancy group {}: zeroing its disks, {} %", configured_.name,
                           tenths * 10));
    }
  }
  if (!zeroed.ok()) {
    co_return fmt::format("{}: a disk cannot be written: {}", place(), text_of(zeroed.error()));
  }
  co_return std::string();
}

Task<std::string> NewGroup::write_labels(const raid::GroupId& id, raid::NodeSet nodes,
                                         Entropy& entropy) {
  std::vector<BlockDevice*> devices;
  std::vector<raid::DiskId> ids;
  std::vector<BlockDevice*> spares;
  std::vector<raid::DiskId> spare_ids;
  for (const NewDisk& disk : disks_) {
    (disk.spare ? spares : devices).push_back(disk.device);
    (disk.spare ? spare_ids : ids).push_back({entropy.next(), entropy.next()});
  }
  const std::vector<raid::VirtualDiskEntry> entries = parts();
  raid::FormatOptions options;
  options.virtual_disks = entries;
  options.spares = spares;
  options.spare_ids = spare_ids;
  options.range_stripes =
      static_cast<std::uint32_t>(std::max<std::uint64_t>(geometry_.stripes / kRanges, 1));
  const Status formatted = co_await raid::format_group(devices, ids, id, geometry_, nodes, options);
  if (!formatted.ok()) {
    co_return fmt::format("{}: {}", place(), text_of(formatted.error()));
  }
  co_return std::string();
}

}  // namespace duet::groups
