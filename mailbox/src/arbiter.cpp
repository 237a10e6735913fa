#include "mailbox/arbiter.h"

#include "shelf/fence.h"

namespace duet::mailbox {

Task<Result<OwnersRead>> Arbiter::read() {
  auto buffer = std::make_shared<SectorBuffer>();
  const Status read = co_await disk_.read(kArbitrationBlock, buffer->parts());
  if (!read.ok()) {
    co_return read.error();
  }
  const Result<ArbitrationSector> found =
      decode<ArbitrationSector>(std::as_const(*buffer).bytes(), writer_.pair, 0);
  if (!found.ok()) {
    co_return found.error();
  }
  OwnersRead result;
  result.owners = found.value().filers;
  result.block = std::move(buffer);
  for (const OwnerEntry& entry : result.owners) {
    if (entry.owner >= kNodes || entry.previous >= kNodes) {
      co_return Error{Errc::kCorrupt, "the arbitration record names a node that is none"};
    }
  }
  co_return result;
}

ArbitrationSector Arbiter::record(const Owners& owners) {
  ArbitrationSector sector;
  sector.header.pair = writer_.pair;
  sector.header.node = index_of(writer_.node);
  sector.header.incarnation = static_cast<std::uint64_t>(writer_.incarnation);
  sector.header.sequence = ++sequence_;
  sector.filers = owners;
  return sector;
}

Task<Status> Arbiter::swap(const OwnersRead& from, const Owners& to) {
  DUET_CHECK(from.owners != to);
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    DUET_CHECK(from.owners[filer] == to[filer] || from.owners[filer].epoch < to[filer].epoch);
  }
  const auto desired = std::make_unique<SectorBuffer>();
  encode(record(to), desired->bytes());
  const Status swapped = co_await shelf::swap_block(disk_, kArbitrationBlock, from.block->bytes(),
                                                    std::as_const(*desired).bytes());
  if (swapped.ok() || swapped.error().code != Errc::kIo) {
    co_return swapped;
  }
  const Result<OwnersRead> now = co_await read();
  if (!now.ok()) {
    co_return Error{Errc::kIo, "a swap of ownership was not answered"};
  }
  if (now.value().owners == to) {
    co_return Ok{};
  }
  const bool untouched = now.value().owners == from.owners;
  co_return Error{untouched ? Errc::kIo : Errc::kOutOfSync, "the swap of ownership did not happen"};
}

Task<Status> Arbiter::format(const Owners& owners) {
  const Result<OwnersRead> there = co_await read();
  if (there.ok() || there.error().code != Errc::kNotFound) {
    co_return Error{Errc::kRefused, "an arbitration record is there already"};
  }
  const auto buffer = std::make_unique<SectorBuffer>();
  encode(record(owners), buffer->bytes());
  co_return co_await disk_.write_durable(kArbitrationBlock, buffer->parts());
}

}  // namespace duet::mailbox
