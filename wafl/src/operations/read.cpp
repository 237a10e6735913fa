// Contents, read.

#include <algorithm>
#include <string>

#include "operations/support.h"
#include "wafl/operations.h"

namespace duet::wafl {

Result<ReadResult> read(Attempt& attempt, Inode& inode, std::uint64_t offset, std::uint32_t count) {
  const Attributes& attributes = inode.attributes();
  if (attributes.type != FileType::kRegular) {
    return is_directory(inode) ? Error{Errc::kIsDirectory, "read of a directory"}
                               : Error{Errc::kBadType, "read of a special file"};
  }
  ReadResult result;
  if (offset >= attributes.size_bytes) {
    result.end_of_file = true;
    return result;
  }
  result.bytes = std::min<std::uint64_t>(count, attributes.size_bytes - offset);
  result.end_of_file = offset + result.bytes == attributes.size_bytes;
  const std::uint64_t end = offset + result.bytes;
  result.extents.reserve(static_cast<std::size_t>(result.bytes / kBlockBytes + 2));
  bool missed = false;
  for (std::uint64_t at = offset; at < end;) {
    const std::uint64_t in_block = at % kBlockBytes;
    const std::uint64_t bytes = std::min(kBlockBytes - in_block, end - at);
    Result<BufferRef> block = inode.block(attempt, at / kBlockBytes);
    if (block.ok()) {
      result.extents.push_back({std::move(block.value()), static_cast<std::uint32_t>(in_block),
                                static_cast<std::uint32_t>(bytes)});
    } else if (is_miss(block)) {
      missed = true;  // name the others too
    } else {
      return block.error();
    }
    at += bytes;
  }
  if (missed) {
    return Error{Errc::kMiss, "read"};
  }
  return result;
}

Result<std::string> read_link(Attempt& attempt, Inode& inode) {
  const Attributes& attributes = inode.attributes();
  if (attributes.type != FileType::kSymlink) {
    return Error{Errc::kBadType, "no symbolic link"};
  }
  if (attributes.size_bytes == 0 || attributes.size_bytes > kSymlinkBytesMax) {
    return Error{Errc::kCorrupt, "size of a symbolic link"};
  }
  const Result<BufferRef> block = inode.block(attempt, 0);
  if (!block.ok()) {
    return block.error();
  }
  if (!block.value()) {
    return Error{Errc::kCorrupt, "a symbolic link without its target"};
  }
  const ConstBytes target = block.value().bytes().first(attributes.size_bytes);
  return std::string(reinterpret_cast<const char*>(target.data()), target.size());
}

}  // namespace duet::wafl
