#include "mailbox/place.h"

#include "shelf/fence.h"

namespace duet::mailbox {

namespace {

template <typename Record>
Record stamped(const Writer& writer, std::uint64_t generation) {
  Record record;
  record.header.pair = writer.pair;
  record.header.node = index_of(writer.node);
  record.header.incarnation = static_cast<std::uint64_t>(writer.incarnation);
  record.header.sequence = generation;
  record.generation = generation;
  return record;
}

template <typename Record>
Task<Status> replace(shelf::SharedDisk& disk, std::array<std::uint64_t, 2> pair, PlaceRead there,
                     Record record) {
  const auto desired = std::make_unique<SectorBuffer>();
  encode(record, desired->bytes());
  const Status swapped = co_await shelf::swap_block(disk, kArbitrationBlock, there.block->bytes(),
                                                    std::as_const(*desired).bytes());
  if (swapped.ok() || swapped.error().code != Errc::kIo) {
    co_return swapped;
  }
  const Result<PlaceRead> now = co_await read_place(pair, disk);
  const bool done =
      now.ok() && same_bytes(now.value().block->bytes(), std::as_const(*desired).bytes());
  co_return done ? Status(Ok{}) : swapped;
}

bool sane(const Owners& owners) {
  return std::ranges::all_of(owners, [](const OwnerEntry& entry) {
    return entry.owner < kNodes && entry.previous < kNodes;
  });
}

}  // namespace

Task<Result<PlaceRead>> read_place(std::array<std::uint64_t, 2> pair, shelf::SharedDisk& disk) {
  auto buffer = std::make_shared<SectorBuffer>();
  const Status read = co_await disk.read(kArbitrationBlock, buffer->parts());
  if (!read.ok()) {
    co_return read.error();
  }
  const ConstBytes bytes = std::as_const(*buffer).bytes();
  PlaceRead result;
  result.block = buffer;
  const Result<ArbitrationSector> record = decode<ArbitrationSector>(bytes, pair, 0);
  const Result<MovedSector> moved = decode<MovedSector>(bytes, pair, 0);
  if (record.ok() && sane(record.value().filers)) {
    result.kind = PlaceRead::Kind::kRecord;
    result.generation = record.value().generation;
    result.owners = record.value().filers;
  } else if (moved.ok()) {
    result.kind = moved.value().given_up != 0 ? PlaceRead::Kind::kGivenUp : PlaceRead::Kind::kMoved;
    result.generation = moved.value().generation;
  }
  co_return result;
}

Task<Status> put_record(Writer writer, shelf::SharedDisk& disk, PlaceRead there, Owners owners,
                        std::uint64_t generation) {
  auto record = stamped<ArbitrationSector>(writer, generation);
  record.filers = owners;
  co_return co_await replace(disk, writer.pair, std::move(there), record);
}

Task<Status> give_up(Writer writer, shelf::SharedDisk& disk, PlaceRead there,
                     std::uint64_t generation) {
  auto record = stamped<MovedSector>(writer, generation);
  record.given_up = 1;
  co_return co_await replace(disk, writer.pair, std::move(there), record);
}

Task<Status> point_to(Writer writer, shelf::SharedDisk& disk, PlaceRead there, Place now) {
  auto record = stamped<MovedSector>(writer, now.generation);
  record.disk = now.disk;
  co_return co_await replace(disk, writer.pair, std::move(there), record);
}

Owners merge(const Claims& mine, const Claims& partners) {
  Owners result = mine.known;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    OwnerEntry& entry = result[filer];
    if (partners.known[filer].epoch > entry.epoch) {
      entry = partners.known[filer];
    }
    const std::uint64_t known = entry.epoch;
    for (const OwnerEntry& maybe : {mine.maybe[filer], partners.maybe[filer]}) {
      if (maybe.epoch > entry.epoch) {
        entry = maybe;
      } else if (maybe.epoch == entry.epoch && known < entry.epoch && maybe != entry) {
        ++entry.epoch;  // one of the two may be known to somebody, soon: this follows on either
      }
    }
  }
  return result;
}

Task<Result<FoundPlace>> find_record(std::array<std::uint64_t, 2> pair,
                                     std::vector<shelf::SharedDisk*> disks) {
  std::optional<FoundPlace> found;
  for (std::size_t i = 0; i < disks.size(); ++i) {
    Result<PlaceRead> read = co_await read_place(pair, *disks[i]);
    if (!read.ok()) {
      co_return read.error();
    }
    const bool record = read.value().kind == PlaceRead::Kind::kRecord;
    if (record && (!found || found->read.generation < read.value().generation)) {
      found = FoundPlace{i, std::move(read.value())};
    }
  }
  if (!found) {
    co_return Error{Errc::kNotFound, "no disk holds an owner record"};
  }
  co_return std::move(*found);
}

}  // namespace duet::mailbox
