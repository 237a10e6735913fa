#include "allocator.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "tree_reader.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kWords = kAreaBlocks / 64;

}  // namespace

Allocator::Allocator(AggregateState& state)
    : state_(state), left_(state.area_free), searching_(state.disks.striped()) {
  state_.without_stripes.resize(left_.size());
}

Task<Status> Allocator::prepare(std::uint64_t blocks) {
  while (!prepared(blocks)) {
    const Status opened = co_await open_area();
    if (!opened.ok()) {
      co_return opened;
    }
  }
  co_return Ok{};
}

// The emptiest; while stripes are looked for, of those that may have one.
std::optional<std::uint64_t> Allocator::best_area() const {
  std::optional<std::uint64_t> best;
  for (std::uint64_t area = 0; area < left_.size(); ++area) {
    const bool fits = left_[area] > 0 && !(searching_ && state_.without_stripes[area]);
    if (fits && (!best || left_[area] > left_[*best])) {
      best = area;
    }
  }
  return best;
}

// Opens the best area, or finds that there is no use in looking for stripes any more.
Task<Status> Allocator::open_area() {
  const std::optional<std::uint64_t> best = best_area();
  if (!best && searching_) {
    searching_ = false;
    co_return Ok{};
  }
  if (!best) {
    co_return Error{Errc::kNoSpace, "no area has a free block"};
  }
  Area area;
  area.number = *best;
  const Status read = co_await read_map(area);
  if (!read.ok()) {
    co_return read;
  }
  const std::uint64_t in_stripes = state_.disks.striped() ? count_in_stripes(area) : 0;
  if (searching_ && in_stripes == 0) {
    state_.without_stripes[*best] = true;
    searching_ = --looks_left_ > 0;
  }
  ready_ += std::exchange(left_[*best], 0);
  in_stripes_ += in_stripes;
  areas_.push_back(std::move(area));
  co_return Ok{};
}

Task<Status> Allocator::read_map(Area& area) {
  area.busy.resize(kWords);
  Attempt attempt(*state_.aggregate);
  for (;;) {
    const Result<BlockPointer> leaf = find_leaf(attempt, state_.root.block_map, area.number);
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
    if (block / kAreaBlocks == area.number) {
      area.busy[block % kAreaBlocks / 64] |= std::uint64_t{1} << (block % 64);
    }
  }
  std::uint64_t free = 0;
  for (const std::uint64_t word : area.busy) {
    free += static_cast<std::uint64_t>(std::popcount(~word));
  }
  if (free != left_[area.number]) {
    co_return Error{Errc::kCorrupt, "an area's free count does not match the block map"};
  }
  co_return Ok{};
}

std::optional<Allocator::Stripe> Allocator::find_whole_stripe(const Area& area,
                                                              std::uint64_t from) const {
  const std::uint64_t base = area.number * kAreaBlocks;
  const std::uint64_t end = std::min(base + kAreaBlocks, state_.disks.block_count());
  const auto free = [&](std::uint64_t block) {
    return ((area.busy[(block - base) / 64] >> (block % 64)) & 1U) == 0;
  };
  for (std::uint64_t block = base + from; block < end;) {
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
      return Stripe{first - base, first - base + stripe};
    }
    block = first + stripe;
  }
  return std::nullopt;
}

std::uint64_t Allocator::count_in_stripes(const Area& area) const {
  std::uint64_t count = 0;
  std::optional<Stripe> stripe = find_whole_stripe(area, 0);
  while (stripe) {
    count += stripe->end - stripe->first;
    stripe = find_whole_stripe(area, stripe->end);
  }
  return count;
}

std::uint64_t Allocator::take() {
  DUET_CHECK(ready_ > 0);
  --ready_;
  return in_stripes_ > 0 ? take_of_stripe() : take_single();
}

std::uint64_t Allocator::take_of_stripe() {
  for (;;) {
    Area& area = areas_[striping_];
    if (area.stripe_at == area.stripe_end) {
      const std::optional<Stripe> next = find_whole_stripe(area, area.stripe_end);
      if (!next) {
        state_.without_stripes[area.number] = true;
        ++striping_;
        continue;
      }
      area.stripe_at = next->first;
      area.stripe_end = next->end;
    }
    const std::uint64_t at = area.stripe_at++;
    area.busy[at / 64] |= std::uint64_t{1} << (at % 64);
    --in_stripes_;
    return area.number * kAreaBlocks + at;
  }
}

std::uint64_t Allocator::take_single() {
  for (;; ++current_) {
    Area& area = areas_[current_];
    for (std::uint64_t word = area.cursor / 64; word < kWords; ++word) {
      const std::uint64_t free = ~area.busy[word];
      if (free != 0) {
        const auto bit = static_cast<std::uint64_t>(std::countr_zero(free));
        area.busy[word] |= std::uint64_t{1} << bit;
        area.cursor = word * 64 + bit;
        return area.number * kAreaBlocks + area.cursor;
      }
    }
  }
}

bool Allocator::holds(std::uint64_t first, std::uint64_t end) const {
  for (const Area& area : areas_) {
    const std::uint64_t base = area.number * kAreaBlocks;
    for (std::uint64_t at = std::max(first, base); at < std::min(end, base + kAreaBlocks); ++at) {
      if (((area.busy[(at - base) / 64] >> (at % 64)) & 1U) != 0) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace duet::wafl
