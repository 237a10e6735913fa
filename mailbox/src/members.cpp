#include "mailbox/members.h"

namespace duet::mailbox {

Task<Result<std::optional<MembersSector>>> read_members(std::array<std::uint64_t, 2> pair,
                                                        Node node, MemberDisks disks) {
  std::optional<MembersSector> newest;
  std::size_t read = 0;
  for (shelf::SharedDisk* const disk : disks) {
    const Result<MembersSector> found = co_await read_sector<MembersSector>(
        *disk, kMembersBlock + index_of(node), pair, index_of(node));
    if (found.ok()) {
      ++read;
      if (!newest || found.value().generation > newest->generation) {
        newest = found.value();
      }
    } else if (found.error().code == Errc::kNotFound) {
      ++read;
    }
  }
  if (read < reading_quorum(disks.size())) {
    co_return Error{Errc::kIo, "too few mailbox members could be read"};
  }
  co_return newest;
}

Task<Status> write_members(Writer writer, MemberDisks disks, std::vector<DiskIdentity> identities,
                           std::uint64_t generation) {
  DUET_CHECK(disks.size() == identities.size() && disks.size() <= kMembersMax && !disks.empty());
  MembersSector sector;
  sector.header.pair = writer.pair;
  sector.header.subject = index_of(writer.node);
  sector.header.node = index_of(writer.node);
  sector.header.incarnation = static_cast<std::uint64_t>(writer.incarnation);
  sector.header.sequence = generation;
  sector.generation = generation;
  sector.count = static_cast<std::uint32_t>(disks.size());
  std::ranges::copy(identities, sector.disks.begin());
  const auto buffer = std::make_unique<SectorBuffer>();
  encode(sector, buffer->bytes());
  for (shelf::SharedDisk* const disk : disks) {
    const Status written =
        co_await disk->write_durable(kMembersBlock + index_of(writer.node), buffer->parts());
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return Ok{};
}

}  // namespace duet::mailbox
