#include "sim/sim_disk.h"

#include <cstring>

#include "base/check.h"

namespace duet::sim {

namespace {

constexpr SimDisk::Block kZeros{};

const SimDisk::Block& bytes_in(const SimDisk::BlockRef& block) {
  return block == nullptr ? kZeros : *block;
}

// Calls `visit` with each block of `parts`, in order.
template <typename Visit>
void for_each_block(std::span<const MutableBytes> parts, Visit visit) {
  for (const MutableBytes part : parts) {
    for (std::size_t at = 0; at < part.size(); at += kBlockBytes) {
      visit(ConstBytes(part).subspan(at, kBlockBytes));
    }
  }
}

SimDisk::BlockRef copy_of(ConstBytes bytes) {
  auto block = std::make_shared<SimDisk::Block>();
  copy_bytes(bytes, *block);
  return block;
}

}  // namespace

SimDisk::SimDisk(const SimDisk& other)
    : name_(other.name_),
      blocks_(other.blocks_),
      durable_(other.durable_),
      current_(other.current_),
      volatile_(other.volatile_),
      next_id_(other.next_id_),
      ended_(other.ended_) {}

const SimDisk::Block& SimDisk::block(std::uint64_t number) const {
  DUET_CHECK(number < blocks_);
  const auto found = current_.find(number);
  return found == current_.end() ? kZeros : bytes_in(found->second);
}

SimDisk::WriteId SimDisk::begin_write(std::uint64_t block, std::span<const MutableBytes> parts) {
  const WriteId id{next_id_++};
  Write& write = volatile_[static_cast<std::uint64_t>(id)];
  write.block = block;
  for_each_block(parts, [&write](ConstBytes bytes) { write.data.push_back(copy_of(bytes)); });
  DUET_CHECK(block <= blocks_ && write.data.size() <= blocks_ - block);
  notify(EventKind::kWrite, block, write.data.size());
  return id;
}

bool SimDisk::unchanged(WriteId id, std::span<const MutableBytes> parts) const {
  const Write& write = const_cast<SimDisk*>(this)->find(id);
  std::size_t position = 0;
  bool same = true;
  for_each_block(parts, [&](ConstBytes bytes) {
    same = same && same_bytes(bytes, *write.data[position]);
    ++position;
  });
  return same;
}

void SimDisk::end_write(WriteId id) {
  Write& write = find(id);
  write.ended = ++ended_;
  for (std::size_t i = 0; i < write.data.size(); ++i) {
    current_[write.block + i] = write.data[i];
  }
}

void SimDisk::abandon_write(WriteId id, Random& random) {
  Write& write = find(id);
  for (std::size_t i = 0; i < write.data.size(); ++i) {
    BlockRef& now = current_[write.block + i];
    if (random.one_in(2)) {
      now = write.data[i];
    } else {
      write.data[i] = now;  // it stays as it is, whatever comes
    }
  }
  write.ended = ++ended_;
}

void SimDisk::end_flush(FlushMark mark) {
  const auto flushed = static_cast<std::uint64_t>(mark);
  std::map<std::uint64_t, const Write*> covered;  // by the order in which they ended
  for (const auto& [id, write] : volatile_) {
    if (write.ended && *write.ended <= flushed) {
      covered.emplace(*write.ended, &write);
    }
  }
  for (const auto& [ended, write] : covered) {
    for (std::size_t i = 0; i < write->data.size(); ++i) {
      durable_[write->block + i] = write->data[i];
    }
  }
  std::erase_if(volatile_, [flushed](const auto& entry) {
    return entry.second.ended && *entry.second.ended <= flushed;
  });
  notify(EventKind::kFlush, 0, 0);
}

void SimDisk::put(std::uint64_t block, ConstBytes bytes) {
  DUET_CHECK(block < blocks_);
  DUET_CHECK(bytes.size() == kBlockBytes);
  durable_[block] = current_[block] = copy_of(bytes);
}

void SimDisk::flip_bit(std::uint64_t block_number, std::size_t byte, unsigned bit) {
  DUET_CHECK(byte < kBlockBytes && bit < 8);
  Block turned = block(block_number);
  turned[byte] ^= std::byte{1} << bit;
  put(block_number, turned);
}

void SimDisk::lose_power(Random& random, Keep keep) {
  for (const auto& [id, write] : volatile_) {
    switch (keep) {
      case Keep::kNothing:
        break;
      case Keep::kEverything:
        for (std::size_t i = 0; i < write.data.size(); ++i) {
          durable_[write.block + i] = write.data[i];
        }
        break;
      case Keep::kAny:
        keep_some(durable_, write, random);
        break;
    }
  }
  volatile_.clear();
  current_ = durable_;
}

void SimDisk::lose_power(const std::vector<bool>& kept) {
  DUET_CHECK(kept.size() == volatile_.size());
  std::size_t position = 0;
  for (const auto& [id, write] : volatile_) {
    for (std::size_t i = 0; kept[position] && i < write.data.size(); ++i) {
      durable_[write.block + i] = write.data[i];
    }
    ++position;
  }
  volatile_.clear();
  current_ = durable_;
}

// A third of the writes is kept whole, a third lost whole, and the rest torn.
void SimDisk::keep_some(Image& image, const Write& write, Random& random) {
  const std::uint64_t fate = random.below(3);
  if (fate == 0) {
    return;
  }
  for (std::size_t i = 0; i < write.data.size(); ++i) {
    BlockRef& kept = image[write.block + i];
    if (fate == 1) {
      kept = write.data[i];
      continue;
    }
    auto torn = std::make_shared<Block>(bytes_in(kept));
    const std::uint64_t sectors = random.next();
    for (std::size_t sector = 0; sector < kBlockBytes / kSectorBytes; ++sector) {
      if ((sectors >> sector & 1U) != 0) {
        std::memcpy(torn->data() + sector * kSectorBytes,
                    bytes_in(write.data[i]).data() + sector * kSectorBytes, kSectorBytes);
      }
    }
    kept = std::move(torn);
  }
}

SimDisk::Write& SimDisk::find(WriteId id) {
  const auto found = volatile_.find(static_cast<std::uint64_t>(id));
  DUET_CHECK(found != volatile_.end());
  return found->second;
}

void SimDisk::notify(EventKind kind, std::uint64_t block, std::uint64_t blocks) const {
  if (observer_) {
    observer_({kind, block, blocks});
  }
}

}  // namespace duet::sim
