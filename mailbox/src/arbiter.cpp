#include "mailbox/arbiter.h"

#include <utility>

#include "shelf/fence.h"

namespace duet::mailbox {

Task<Result<OwnersRead>> Arbiter::read() {
  std::uint64_t binds = binds_;
  Result<OwnersRead> here = co_await read_here();
  while (binds != binds_) {  // promised or moved while it was read
    binds = binds_;
    here = co_await read_here();
  }
  if (!bound_) {
    co_return here;
  }
  // In this order: as long as the record is not there, what was read before counted when it was
  // read.
  const Bound bound = *bound_;
  const Result<PlaceRead> there = co_await read_place(writer_.pair, *bound.disk);
  if (!there.ok()) {
    co_return there.error();
  }
  const bool moved = there.value().kind == PlaceRead::Kind::kRecord &&
                     there.value().generation == bound.generation;
  if (!moved) {
    co_return here;
  }
  if (generation_ < bound.generation) {
    use(*bound.disk, bound.generation);
    if (on_moved) {
      on_moved();
    }
  }
  if (generation_ != bound.generation) {
    co_return Error{Errc::kForeign, "the owner record that counts is on another disk"};
  }
  learn(there.value().owners);
  co_return OwnersRead{there.value().owners, there.value().block};
}

Task<Result<OwnersRead>> Arbiter::read_here() {
  auto buffer = std::make_shared<SectorBuffer>();
  const std::uint64_t generation = generation_;
  const Status read = co_await disk_->read(kArbitrationBlock, buffer->parts());
  if (!read.ok()) {
    co_return read.error();
  }
  const Result<ArbitrationSector> found =
      decode<ArbitrationSector>(std::as_const(*buffer).bytes(), writer_.pair, 0);
  if (!found.ok()) {
    co_return found.error();
  }
  if (found.value().generation != generation || generation != generation_) {
    co_return Error{Errc::kForeign, "the owner record that counts is on another disk"};
  }
  OwnersRead result;
  result.owners = found.value().filers;
  result.block = std::move(buffer);
  for (const OwnerEntry& entry : result.owners) {
    if (entry.owner >= kNodes || entry.previous >= kNodes) {
      co_return Error{Errc::kCorrupt, "the arbitration record names a node that is none"};
    }
  }
  learn(result.owners);
  co_return result;
}

ArbitrationSector Arbiter::record(const Owners& owners) {
  ArbitrationSector sector;
  sector.header.pair = writer_.pair;
  sector.header.node = index_of(writer_.node);
  sector.header.incarnation = static_cast<std::uint64_t>(writer_.incarnation);
  sector.header.sequence = ++sequence_;
  sector.filers = owners;
  sector.generation = generation_;
  return sector;
}

Task<Status> Arbiter::swap(const OwnersRead& from, Owners to) {
  DUET_CHECK(from.owners != to);
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    DUET_CHECK(from.owners[filer] == to[filer] || from.owners[filer].epoch < to[filer].epoch);
  }
  if (bound_) {
    co_return Error{Errc::kTryAgain, "the owner record is on its way to another disk"};
  }
  const auto desired = std::make_unique<SectorBuffer>();
  encode(record(to), desired->bytes());
  const std::uint64_t binds = binds_;
  const Owners maybe_before = std::exchange(claims_.maybe, to);
  const Owners from_before = std::exchange(maybe_from_, from.owners);
  const Status swapped = co_await shelf::swap_block(*disk_, kArbitrationBlock, from.block->bytes(),
                                                    std::as_const(*desired).bytes());
  // A promise was given meanwhile, and said that this may have happened: the record will say.
  const bool promised = binds != binds_;
  if (!promised && swapped.ok()) {
    learn(to);
    co_return swapped;
  }
  if (!promised && swapped.error().code != Errc::kIo) {
    claims_.maybe = maybe_before;
    maybe_from_ = from_before;
    co_return swapped;
  }
  const Result<OwnersRead> now = co_await read();
  if (!now.ok() || bound_) {
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
  co_return co_await disk_->write_durable(kArbitrationBlock, buffer->parts());
}

void Arbiter::bind(shelf::SharedDisk& to, std::uint64_t generation) {
  bound_ = Bound{&to, generation};
  ++binds_;
}

void Arbiter::use(shelf::SharedDisk& disk, std::uint64_t generation) {
  disk_ = &disk;
  generation_ = generation;
  bound_.reset();
  claims_.maybe = {};
  ++binds_;
}

void Arbiter::learn(const Owners& owners) {
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (owners[filer].epoch > maybe_from_[filer].epoch) {
      claims_.maybe = {};
    }
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    if (!claims_.any[filer] || claims_.known[filer].epoch < owners[filer].epoch) {
      claims_.known[filer] = owners[filer];
      claims_.any[filer] = true;
    }
  }
}

}  // namespace duet::mailbox
