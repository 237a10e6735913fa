#include "needs.h"

#include <algorithm>
#include <utility>

#include "allocator.h"
#include "platform/wait.h"
#include "tree_reader.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kAreasAhead = 4;  // 512 MiB: a rebuild is some seconds on its way through

}  // namespace

Needs::Needs(AggregateState& state) : state_(state), scope_(state.scheduler) {
  for (const DiskSet::Disk& disk : state.disks.disks()) {
    add(disk);
  }
}

Needs::~Needs() { silence(); }

void Needs::add(const DiskSet::Disk& disk) {
  Redundancy* const redundancy = disk.device->redundancy();
  if (redundancy == nullptr || ended_) {
    return;
  }
  told_.push_back(redundancy);
  // Behind what the aggregate uses of the disk others may live.
  redundancy->set_needed(
      [this, base = disk.base, size = disk.blocks](std::uint64_t first, std::uint64_t blocks) {
        return first + blocks > size || needed(base + first, base + first + blocks);
      });
}

void Needs::silence() {
  ended_ = true;
  for (Redundancy* const redundancy : std::exchange(told_, {})) {
    redundancy->set_needed(nullptr);
  }
}

Task<void> Needs::end() {
  silence();
  co_await scope_.join();
}

bool Needs::needed(std::uint64_t first, std::uint64_t end) {
  const Allocator* const running = state_.running_allocator;
  if (state_.failed || end > state_.root.block_count ||
      (running != nullptr && running->holds(first, end))) {
    return true;
  }
  for (std::uint64_t area = first / kAreaBlocks; area * kAreaBlocks < end; ++area) {
    const std::uint64_t base = area * kAreaBlocks;
    if (allocated(area, std::max(first, base) - base, std::min(end, base + kAreaBlocks) - base)) {
      return true;
    }
  }
  return false;
}

// Blocks [first, end) of the area.
bool Needs::allocated(std::uint64_t area, std::uint64_t first, std::uint64_t end) {
  const std::optional<BufferRef> map = map_of(area);
  const std::uint64_t next = area + 1;
  if (!map.has_value() ||
      (next * kAreaBlocks < state_.root.block_count && !map_of(next).has_value())) {
    want(area);
  }
  if (!map.has_value()) {
    return true;
  }
  if (!*map) {
    return false;
  }
  const ConstBytes bits = map->bytes();
  for (std::uint64_t at = first; at < end;) {
    const std::byte byte = bits[at / 8];
    if (byte == std::byte{0}) {
      at = (at / 8 + 1) * 8;
      continue;
    }
    if (((byte >> (at % 8)) & std::byte{1}) != std::byte{0}) {
      return true;
    }
    ++at;
  }
  return false;
}

std::optional<BufferRef> Needs::map_of(std::uint64_t area) {
  Attempt attempt(*state_.aggregate);
  const Result<BlockPointer> leaf = find_leaf(attempt, state_.root.block_map, area);
  if (!leaf.ok()) {
    return std::nullopt;
  }
  if (leaf.value().hole()) {
    return BufferRef();
  }
  Result<BufferRef> map = get_block(attempt, leaf.value());
  return map.ok() ? std::optional(std::move(map.value())) : std::nullopt;
}

void Needs::want(std::uint64_t area) {
  if (!reading_ && !ended_) {
    reading_ = true;
    scope_.spawn(read_maps(area));
  }
}

// What cannot be read stays needed.
Task<void> Needs::read_maps(std::uint64_t first) {
  co_await yield(state_.scheduler);  // whoever asks is in the middle of something
  auto attempt = std::make_unique<Attempt>(*state_.aggregate);
  for (;;) {
    const std::uint64_t areas = state_.area_free.size();
    for (std::uint64_t area = first; area < std::min(areas, first + kAreasAhead); ++area) {
      const Result<BlockPointer> leaf = find_leaf(*attempt, state_.root.block_map, area);
      if (leaf.ok() && !leaf.value().hole()) {
        static_cast<void>(get_block(*attempt, leaf.value()));
      }
    }
    if (!attempt->missed() || ended_) {
      break;
    }
    const Status loaded = co_await attempt->load();
    if (!loaded.ok()) {
      break;
    }
  }
  held_ = std::move(attempt);
  reading_ = false;
}

}  // namespace duet::wafl
