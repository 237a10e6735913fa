// Members: the disks that carry a node's mailbox, and how many of them count (rule 2).
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mailbox/sector.h"

namespace duet::mailbox {

// In the order of the configuration; one (no failover), two or three.  Borrowed.
using MemberDisks = std::vector<shelf::SharedDisk*>;

// A node serves while it renews on so many: one of two, two of three.
[[nodiscard]] constexpr std::size_t serving_quorum(std::size_t members) {
  return members == 3 ? 2 : 1;
}
// So many must be read for "nothing changed": both of two, two of three.  Together with the other
// quorum more than all: what one wrote the other reads.
[[nodiscard]] constexpr std::size_t reading_quorum(std::size_t members) {
  return members == 3 ? 2 : members;
}

using DiskIdentity = std::array<std::uint64_t, 2>;

// What the members themselves say of who they are: the newest generation that any of `disks` holds.
// None: no disk was ever made a member.  kIo: fewer than the reading quorum could be read.
Task<Result<std::optional<MembersSector>>> read_members(std::array<std::uint64_t, 2> pair,
                                                        Node node, MemberDisks disks);

// Makes `disks` the members: writes `generation` durably to each.  It counts once it is in the root
// too (rule 2), which is the caller's; repeat it until then, with the same generation.
// REQUIRES: generation greater than any that read_members() found; as many identities as disks.
// Error: a disk could not be written; the old members go on.
Task<Status> write_members(Writer writer, MemberDisks disks, std::vector<DiskIdentity> identities,
                           std::uint64_t generation);

}  // namespace duet::mailbox
