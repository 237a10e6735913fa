// Between an inode in memory and its 128 bytes on disk.

#pragma once

#include "wafl/tree_format.h"
#include "wafl/types.h"

namespace duet::wafl {

[[nodiscard]] DiskInode encode_inode(const Attributes& attributes, Generation generation,
                                     const std::uint64_t (&user_words)[2], const TreeRoot& tree);
[[nodiscard]] Attributes decode_attributes(const DiskInode& disk);
// Whether the bytes make sense: type, mode, height, sizes.
[[nodiscard]] bool plausible(const DiskInode& disk);

}  // namespace duet::wafl
