#include "inode_codec.h"

namespace duet::wafl {

DiskInode encode_inode(const Attributes& attributes, Generation generation,
                       const std::uint64_t (&user_words)[2], const TreeRoot& tree) {
  DiskInode disk;
  disk.type = static_cast<std::uint8_t>(attributes.type);
  disk.mode = static_cast<std::uint16_t>(attributes.mode);
  disk.links = attributes.links;
  disk.uid = attributes.uid;
  disk.gid = attributes.gid;
  disk.size_bytes = attributes.size_bytes;
  disk.used_blocks = attributes.used_bytes / kBlockBytes;
  disk.atime_ns = static_cast<std::int64_t>(attributes.atime);
  disk.mtime_ns = static_cast<std::int64_t>(attributes.mtime);
  disk.ctime_ns = static_cast<std::int64_t>(attributes.ctime);
  disk.generation = static_cast<std::uint32_t>(generation);
  disk.device_major = attributes.device.major;
  disk.device_minor = attributes.device.minor;
  disk.user_words = {user_words[0], user_words[1]};
  disk.tree = tree;
  return disk;
}

Attributes decode_attributes(const DiskInode& disk) {
  Attributes attributes;
  attributes.type = static_cast<FileType>(disk.type);
  attributes.mode = disk.mode;
  attributes.links = disk.links;
  attributes.uid = disk.uid;
  attributes.gid = disk.gid;
  attributes.size_bytes = disk.size_bytes;
  attributes.used_bytes = disk.used_blocks * kBlockBytes;
  attributes.device = {disk.device_major, disk.device_minor};
  attributes.atime = Timestamp{disk.atime_ns};
  attributes.mtime = Timestamp{disk.mtime_ns};
  attributes.ctime = Timestamp{disk.ctime_ns};
  return attributes;
}

bool plausible(const DiskInode& disk) {
  return disk.type <= static_cast<std::uint8_t>(FileType::kSocket) && disk.mode <= 07777 &&
         disk.tree.height <= kHeightMax && disk.size_bytes <= kFileBytesMax &&
         disk.used_blocks <= kFileBytesMax / kBlockBytes;
}

}  // namespace duet::wafl
