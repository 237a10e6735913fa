#include "heal.h"

#include <algorithm>

namespace duet::wafl {

namespace {

// Says that a block is being healed.
class UnderWay {
 public:
  UnderWay(AggregateState& state, std::uint32_t cp)
      : state_(state), self_(state.heals_under_way.insert(cp)) {}
  ~UnderWay() {
    state_.heals_under_way.erase(self_);
    state_.heal_done.wake_all();
  }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;

 private:
  AggregateState& state_;
  std::multiset<std::uint32_t>::iterator self_;
};

}  // namespace

Task<bool> heal(AggregateState& state, BlockPointer pointer, std::uint32_t found_in,
                MutableBytes bytes) {
  const DiskSet::Disk disk = state.disks.disk_of(pointer.block());
  Redundancy* const others = disk.device->redundancy();
  if (others == nullptr || found_in != state.root.cp) {
    co_return false;
  }
  const UnderWay under_way(state, found_in);
  const std::uint64_t block = pointer.block() - disk.base;
  for (std::uint32_t attempt = 0;; ++attempt) {
    const Status read = co_await others->read_other(block, attempt, bytes);
    if (read.ok() && crc32c(bytes) == pointer.checksum) {
      break;
    }
    if (!read.ok() && read.error().code != Errc::kIo) {
      ++state.heals.failed;
      co_return false;
    }
  }
  ++state.heals.healed;
  const Status repaired = co_await others->repair(block, bytes);
  state.heals.left += repaired.ok() ? 0 : 1;
  co_return true;
}

Task<void> await_heals(AggregateState& state) {
  while (!state.heals_under_way.empty() && *state.heals_under_way.begin() < state.root.cp) {
    co_await state.heal_done.wait();
  }
}

}  // namespace duet::wafl
