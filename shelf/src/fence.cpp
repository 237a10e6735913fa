#include "shelf/fence.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>

namespace duet::shelf {

namespace {

struct alignas(kBlockBytes) BlockBuffer {
  std::array<std::byte, kBlockBytes> bytes{};
};

using Condemned = std::function<bool(DiskKey)>;

// Removes every key of `state` but mine for which `condemned` says so.
Task<Status> remove_keys(SharedDisk& disk, const DiskState& state, Reservation kind,
                         const Condemned& condemned) {
  for (const DiskKey key : state.keys) {
    if (key == disk.key() || !condemned(key)) {
      continue;
    }
    const Status removed = co_await disk.preempt_and_abort(key, kind);
    if (!removed.ok()) {
      co_return removed;
    }
  }
  co_return Ok{};
}

// Of those that are registered now.
Task<Status> remove_keys(SharedDisk& disk, Reservation kind, const Condemned& condemned) {
  const Result<DiskState> state = co_await disk.read_state();
  if (!state.ok()) {
    co_return state.error();
  }
  const Status removed = co_await remove_keys(disk, state.value(), kind, condemned);
  co_return removed;
}

bool registered(const DiskState& state, DiskKey key) {
  return std::ranges::binary_search(state.keys, key);
}

// A fence that the target forgets would let the fenced write again.
Status can_fence(const SharedDisk& disk, bool second_fence) {
  if (!disk.features().survives_power_loss && !second_fence) {
    return Error{Errc::kRefused, "a restart of the target would forget the fence"};
  }
  return Ok{};
}

// The reservation is mine, of this kind.
Task<Status> hold(SharedDisk& disk, Reservation kind) {
  const Result<DiskState> state = co_await disk.read_state();
  if (!state.ok()) {
    co_return state.error();
  }
  if (!registered(state.value(), disk.key())) {
    co_return Error{Errc::kFenced, "another node removed this one's key"};
  }
  co_return co_await disk.reserve(kind);
}

Task<Status> swap_under_fence(SharedDisk& disk, std::uint64_t block, ConstBytes expected,
                              ConstBytes desired) {
  const Result<DiskState> state = co_await disk.read_state();
  if (!state.ok()) {
    co_return state.error();
  }
  const bool reserved = state.value().reservation != Reservation::kNone;
  const Reservation kind = reserved ? state.value().reservation : Reservation::kWriteExclusive;
  const Status alone = co_await fence_disk(disk, kind, true);
  if (!alone.ok()) {
    co_return alone;
  }
  const auto buffer = std::make_unique<BlockBuffer>();
  const MutableBytes part(buffer->bytes);
  const std::span<const MutableBytes> parts(&part, 1);
  const Status read = co_await disk.read(block, parts);
  if (!read.ok()) {
    co_return read;
  }
  if (!same_bytes(part, expected)) {
    co_return Error{Errc::kOutOfSync, "the block holds something else"};
  }
  copy_bytes(desired, part);
  // Refused when another has removed my key since; and it drained this before it read.
  co_return co_await disk.write_durable(block, parts);
}

}  // namespace

Task<Status> join_disk(SharedDisk& disk, Reservation kind) {
  const Status registering = co_await disk.register_key();
  if (!registering.ok()) {
    co_return registering;
  }
  const Condemned same_node = [&disk](DiskKey key) { return node_of(key) == node_of(disk.key()); };
  const Status removed = co_await remove_keys(disk, kind, same_node);
  if (!removed.ok()) {
    co_return removed;
  }
  const Result<DiskState> state = co_await disk.read_state();
  if (!state.ok()) {
    co_return state.error();
  }
  if (state.value().reservation != Reservation::kNone) {
    co_return Ok{};
  }
  const Status reserved = co_await disk.reserve(kind);
  // Another may have been faster: then there is one, which is what counts.
  const bool held = reserved.ok() || reserved.error().code == Errc::kRefused;
  co_return held ? Status(Ok{}) : reserved;
}

Task<Status> fence_disk(SharedDisk& disk, Reservation kind, bool second_fence) {
  const Status able = can_fence(disk, second_fence);
  if (!able.ok()) {
    co_return able;
  }
  // It never registers: a claimant that was itself removed must not come back by repeating this.
  const Condemned any_other = [](DiskKey /*key*/) { return true; };
  const Status removed = co_await remove_keys(disk, kind, any_other);
  if (!removed.ok()) {
    co_return removed;
  }
  const Status held = co_await hold(disk, kind);
  if (!held.ok()) {
    co_return held;
  }
  const Result<DiskState> state = co_await disk.read_state();
  if (!state.ok()) {
    co_return state.error();
  }
  const DiskState& now = state.value();
  if (now.keys.size() != 1 || now.keys.front() != disk.key()) {
    co_return Error{Errc::kTryAgain, "a key was registered while others were removed"};
  }
  if (now.holder != disk.key() || now.reservation != kind) {
    co_return Error{Errc::kIo, "the target does not hold the reservation that it granted"};
  }
  co_return Ok{};
}

Task<Status> exclude_processes(SharedDisk& disk, std::uint8_t node, std::uint64_t incarnation,
                               bool second_fence) {
  const Status able = can_fence(disk, second_fence);
  if (!able.ok()) {
    co_return able;
  }
  const Result<DiskState> found = co_await disk.read_state();
  if (!found.ok()) {
    co_return found.error();
  }
  const DiskState& state = found.value();
  if (!registered(state, disk.key())) {
    co_return Error{Errc::kFenced, "another node removed this one's key"};
  }
  if (state.reservation == Reservation::kNone) {
    co_return Error{Errc::kRefused, "the target has lost its reservation"};
  }
  const Condemned old = [node, incarnation](DiskKey key) {
    return node_of(key) == node && incarnation_of(key) <= incarnation;
  };
  const Status removed = co_await remove_keys(disk, state, state.reservation, old);
  co_return removed;
}

Task<Status> swap_block(SharedDisk& disk, std::uint64_t block, ConstBytes expected,
                        ConstBytes desired) {
  if (disk.features().compare_and_swap) {
    co_return co_await disk.compare_and_swap(block, expected, desired);
  }
  co_return co_await swap_under_fence(disk, block, expected, desired);
}

}  // namespace duet::shelf
