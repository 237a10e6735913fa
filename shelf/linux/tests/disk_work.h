// What tests do with a shared disk, as tasks.

#pragma once

#include <array>
#include <memory>
#include <vector>

#include "platform/task.h"
#include "shelf/shared_disk.h"

namespace duet::shelf {

inline constexpr Reservation kWe = Reservation::kWriteExclusive;

struct alignas(kBlockBytes) AlignedBlock {
  std::array<std::byte, kBlockBytes> bytes{};
};

inline Task<Status> write_blocks(SharedDisk& disk, std::uint64_t block, std::uint8_t fill,
                                 int count) {
  const auto from = std::make_unique<std::array<AlignedBlock, 128>>();
  std::vector<MutableBytes> parts;
  for (int i = 0; i < count; ++i) {
    (*from)[static_cast<std::size_t>(i)].bytes.fill(std::byte{fill});
    parts.emplace_back((*from)[static_cast<std::size_t>(i)].bytes);
  }
  co_return co_await disk.write(block, parts);
}
inline Task<Status> write_durable(SharedDisk& disk, std::uint64_t block, std::uint8_t fill) {
  const auto from = std::make_unique<AlignedBlock>();
  from->bytes.fill(std::byte{fill});
  const MutableBytes part(from->bytes);
  co_return co_await disk.write_durable(block, std::span(&part, 1));
}
inline Task<Status> read_byte(SharedDisk& disk, std::uint64_t block, int& byte) {
  const auto into = std::make_unique<AlignedBlock>();
  const MutableBytes part(into->bytes);
  const Status read = co_await disk.read(block, std::span(&part, 1));
  byte = static_cast<int>(into->bytes[4095]);
  co_return read;
}
inline Task<Status> flush(SharedDisk& disk) { co_return co_await disk.flush(); }
inline Task<Status> do_register(SharedDisk& disk) { co_return co_await disk.register_key(); }
inline Task<Status> do_unregister(SharedDisk& disk) { co_return co_await disk.unregister_key(); }
inline Task<Status> do_reserve(SharedDisk& disk, Reservation kind) {
  co_return co_await disk.reserve(kind);
}
inline Task<Status> do_release(SharedDisk& disk) { co_return co_await disk.release(); }
inline Task<Status> do_clear(SharedDisk& disk) { co_return co_await disk.clear(); }
inline Task<Status> do_preempt(SharedDisk& disk, DiskKey victim) {
  co_return co_await disk.preempt_and_abort(victim, kWe);
}
inline Task<Result<DiskState>> do_state(SharedDisk& disk) { co_return co_await disk.read_state(); }
inline Task<Status> do_raise(SharedDisk& disk) { co_return co_await disk.raise_epoch(1); }

}  // namespace duet::shelf
