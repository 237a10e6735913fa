#include "allocator.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "tree_reader.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kWords = kAreaBlocks / 64;

}  // namespace

Task<Status> Allocator::prepare(std::uint64_t blocks) {
  while (ready_ < blocks) {
    const Status opened = co_await open_area();
    if (!opened.ok()) {
      co_return opened;
    }
  }
  co_return Ok{};
}

Task<Status> Allocator::open_area() {
  const auto best = std::ranges::max_element(left_);
  if (best == left_.end() || *best == 0) {
    co_return Error{Errc::kNoSpace, "no area has a free block"};
  }
  const auto number = static_cast<std::uint64_t>(best - left_.begin());
  Area area;
  area.number = number;
  area.busy.resize(kWords);
  area.whole_stripes = state_.disks.striped();
  Attempt attempt(*state_.aggregate);
  for (;;) {
    const Result<BlockPointer> leaf = find_leaf(attempt, state_.root.block_map, number);
    if (leaf.ok() && leaf.value().hole()) {
      break;
    }
    if (leaf.ok()) {
      const Result<BufferRef> map = get_block(attempt, leaf.value());
      if (map.ok()) {
        std::memcpy(area.busy.data(), map.value().bytes().data(), kBlockBytes);
        break;
      }
    }
    const Status loaded = co_await attempt.load_patiently();
    if (!loaded.ok()) {
      co_return loaded;
    }
  }
  for (const std::uint64_t block : excluded_) {
    if (block / kAreaBlocks == number) {
      area.busy[block % kAreaBlocks / 64] |= std::uint64_t{1} << (block % 64);
    }
  }
  std::uint64_t free = 0;
  for (const std::uint64_t word : area.busy) {
    free += static_cast<std::uint64_t>(std::popcount(~word));
  }
  if (free != left_[number]) {
    co_return Error{Errc::kCorrupt, "an area's free count does not match the block map"};
  }
  left_[number] = 0;
  ready_ += free;
  areas_.push_back(std::move(area));
  co_return Ok{};
}

// Moves the cursor to the next stripe that lies in the area and is free.  False: there is none, and
// the cursor is at the beginning of the area.
bool Allocator::find_whole_stripe(Area& area) const {
  const std::uint64_t base = area.number * kAreaBlocks;
  const std::uint64_t end = std::min(base + kAreaBlocks, state_.disks.block_count());
  const auto free = [&](std::uint64_t block) {
    return ((area.busy[(block - base) / 64] >> (block % 64)) & 1U) == 0;
  };
  for (std::uint64_t block = base + area.cursor; block < end;) {
    const DiskSet::Disk& disk = state_.disks.disk_of(block);
    const std::uint64_t stripe = disk.stripe_blocks;
    const std::uint64_t first = disk.base + (block - disk.base + stripe - 1) / stripe * stripe;
    if (first + stripe > disk.base + disk.blocks) {
      block = disk.base + disk.blocks;
      continue;
    }
    if (first + stripe > end) {
      break;
    }
    std::uint64_t at = first;
    while (at < first + stripe && free(at)) {
      ++at;
    }
    if (at == first + stripe) {
      area.cursor = first - base;
      area.stripe_end = area.cursor + stripe;
      return true;
    }
    block = first + stripe;
  }
  area.cursor = 0;
  return false;
}

std::uint64_t Allocator::take() {
  DUET_CHECK(ready_ > 0);
  for (;;) {
    Area& area = areas_[current_];
    if (area.whole_stripes && area.cursor >= area.stripe_end) {
      area.whole_stripes = find_whole_stripe(area);
    }
    if (area.whole_stripes) {
      const std::uint64_t at = area.cursor++;
      area.busy[at / 64] |= std::uint64_t{1} << (at % 64);
      --ready_;
      return area.number * kAreaBlocks + at;
    }
    for (std::uint64_t word = area.cursor / 64; word < kWords; ++word) {
      const std::uint64_t free = ~area.busy[word];
      if (free != 0) {
        const auto bit = static_cast<std::uint64_t>(std::countr_zero(free));
        area.busy[word] |= std::uint64_t{1} << bit;
        area.cursor = word * 64 + bit;
        --ready_;
        return area.number * kAreaBlocks + area.cursor;
      }
    }
    ++current_;
  }
}

}  // namespace duet::wafl
