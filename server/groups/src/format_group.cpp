// A new group: nothing of what its disks held is left, and its check data matches.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "groups/managed_group.h"
#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::groups {

namespace {

constexpr std::uint64_t kBlocksAtOnce = 256;  // 1 MiB
// Of a group: each range that was used has an entry in every node's memory.
constexpr std::uint64_t kRanges = 65'536;

class Bytes {
 public:
  explicit Bytes(std::uint64_t blocks)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, blocks * kBlockBytes))),
        size_(blocks * kBlockBytes) {
    DUET_CHECK(memory_ != nullptr);
    std::fill_n(memory_.get(), size_, std::byte{0});
  }
  [[nodiscard]] MutableBytes first(std::uint64_t blocks) const {
    return MutableBytes(memory_.get(), size_).first(blocks * kBlockBytes);
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t size_;
};

bool all_zero(ConstBytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

// The virtual disks one behind the other, in whole stripes.  Empty: they do not fit.
std::vector<raid::VirtualDiskEntry> parts_of(const config::RaidGroup& configured,
                                             const raid::Geometry& geometry) {
  const std::uint64_t stripe_bytes = geometry.stripe_blocks() * kBlockBytes;
  std::vector<raid::VirtualDiskEntry> entries;
  std::uint64_t next = 0;
  for (const config::VirtualDisk& disk : configured.virtual_disks) {
    const std::uint64_t left = geometry.stripes - next;
    const std::uint64_t count =
        disk.size_bytes == 0 ? left : (disk.size_bytes + stripe_bytes - 1) / stripe_bytes;
    if (count == 0 || count > left) {
      return {};
    }
    entries.push_back({disk.name, {next, count}});
    next += count;
  }
  return entries;
}

std::string text_of(const Error& error) {
  return error.context.empty() ? fmt::format("error {}", static_cast<int>(error.code))
                               : std::string(error.context);
}

}  // namespace

void ManagedGroup::note_zeros(const config::Disk& disk) {
  for (Slot& slot : slots_) {
    slot.zeros = slot.zeros || slot.configured == &disk;
  }
}

Task<Status> ManagedGroup::must_be_blank(BlockDevice& disk) {
  const Bytes bytes(raid::kDataStartBlock);
  const std::array<MutableBytes, 1> parts = {
      bytes.first(std::min(raid::kDataStartBlock, disk.block_count()))};
  const Status read = co_await disk.read(0, parts);
  if (read.ok() && !all_zero(parts[0])) {
    co_return Error{Errc::kRefused, "the disk holds something"};
  }
  co_return read;
}

// Reads first: a disk that is new, or an image with holes, stays as it is.
Task<Status> ManagedGroup::write_zeros(Slot& slot, std::uint64_t blocks, std::uint64_t& done) {
  const Bytes read_into(kBlocksAtOnce);
  const Bytes zeros(kBlocksAtOnce);
  for (std::uint64_t at = 0; at < blocks; at += kBlocksAtOnce) {
    const std::uint64_t count = std::min(kBlocksAtOnce, blocks - at);
    const std::array<MutableBytes, 1> read_parts = {read_into.first(count)};
    const Status read = co_await slot.device->read(at, read_parts);
    if (!read.ok() || !all_zero(read_parts[0])) {
      const std::array<MutableBytes, 1> zero_parts = {zeros.first(count)};
      const Status written = co_await slot.device->write(at, zero_parts);
      if (!written.ok()) {
        co_return written;
      }
    }
    done += count;
  }
  const Status flushed = co_await slot.device->flush();
  co_return flushed;
}

Task<std::string> ManagedGroup::format(PersistentMemory& memory, Entropy& entropy,
                                       const std::function<void(const std::string&)>& progress) {
  std::vector<BlockDevice*> devices;
  std::vector<raid::DiskId> ids;
  std::vector<BlockDevice*> spares;
  std::vector<raid::DiskId> spare_ids;
  std::uint64_t smallest = ~std::uint64_t{0};
  for (const Slot& slot : slots_) {
    if (slot.device == nullptr) {
      co_return fmt::format("{}:{}: disk {}: {}; a new group needs all its disks", file_,
                            slot.configured->path.line, slot.configured->path.text, slot.problem);
    }
    if (slot.spare) {
      spares.push_back(slot.device.get());
      spare_ids.push_back({entropy.next(), entropy.next()});
    } else {
      devices.push_back(slot.device.get());
      ids.push_back({entropy.next(), entropy.next()});
      smallest = std::min(smallest, slot.device->block_count() * kBlockBytes);
    }
  }
  const raid::Geometry geometry = configured_.geometry(smallest);
  for (const Slot& slot : slots_) {
    if (slot.device->block_count() < geometry.disk_blocks()) {
      co_return fmt::format("{}:{}: spare {} is smaller than the group's disks; give a larger one",
                            file_, slot.configured->path.line, slot.configured->path.text);
    }
  }
  const std::vector<raid::VirtualDiskEntry> parts =
      geometry.valid() ? parts_of(configured_, geometry) : std::vector<raid::VirtualDiskEntry>();
  if (parts.empty()) {
    co_return fmt::format(
        "{}: its virtual disks do not fit on disks of {}, which give {}; make them smaller, or the "
        "disks larger",
        place(), config::size_text(smallest),
        config::size_text(geometry.block_count() * kBlockBytes));
  }
  // All at once, a part of each in turn.
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::size_t left = 0;
  Status zeroed = Ok{};
  TaskScope scope(scheduler_);
  const auto zero = [&](Slot& slot, std::uint64_t blocks) -> Task<void> {
    const Status status = co_await write_zeros(slot, blocks, done);
    if (!status.ok()) {
      zeroed = status;
    }
    --left;
  };
  for (Slot& slot : slots_) {
    if (!slot.zeros) {
      const std::uint64_t blocks = geometry.disk_blocks();
      total += blocks;
      ++left;
      scope.spawn(zero(slot, blocks));
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
  const raid::GroupId id = {entropy.next(), entropy.next()};
  const raid::MemoryLayout layout = configured_.intents();
  const Status intents = raid::format_intents(memory, id, self_, layout.slots, layout.pages);
  if (!intents.ok()) {
    co_return fmt::format("{}: the memory: {}", place(), text_of(intents.error()));
  }
  raid::FormatOptions options;
  options.virtual_disks = parts;
  options.spares = spares;
  options.spare_ids = spare_ids;
  options.range_stripes =
      static_cast<std::uint32_t>(std::max<std::uint64_t>(geometry.stripes / kRanges, 1));
  const Status formatted =
      co_await raid::format_group(devices, ids, id, geometry, raid::only(self_), options);
  if (!formatted.ok()) {
    co_return fmt::format("{}: {}", place(), text_of(formatted.error()));
  }
  co_return std::string();
}

}  // namespace duet::groups
