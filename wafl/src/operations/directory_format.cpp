#include "wafl/directory_format.h"

#include <bitset>
#include <cstring>

#include "operations/directory_node.h"

namespace duet::wafl {

namespace {

constexpr Error kBad{Errc::kCorrupt, "directory block"};

constexpr std::size_t kHeaderBytes = sizeof(DirectoryBlockHeader);

std::size_t table_end(const DirectoryBlockHeader& header) {
  return kHeaderBytes + header.count * sizeof(std::uint16_t);
}

bool name_possible(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

bool plausible(const DirectoryRecord& record) {
  return record.cookie >= kCookieFirst && record.cookie < kCookieEnd && record.inode != 0 &&
         record.type >= static_cast<std::uint8_t>(FileType::kRegular) &&
         record.type <= static_cast<std::uint8_t>(FileType::kSocket) && name_possible(record.name);
}

// The offsets ascend by cookie, and the records fill the heap: no gap, no overlap, none twice.
bool leaf_layout_ok(ConstBytes block, const DirectoryBlockHeader& header) {
  if (header.level != 0 || header.next_free != 0 || header.heap_offset > kBlockBytes ||
      header.heap_offset < table_end(header)) {
    return false;
  }
  std::bitset<kBlockBytes> starts;
  std::uint64_t last_cookie = 0;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const std::size_t offset = load<std::uint16_t>(block, kHeaderBytes + i * std::size_t{2});
    if (offset < header.heap_offset || offset + kDirectoryRecordBytes > kBlockBytes) {
      return false;
    }
    const auto cookie = load<std::uint64_t>(block, offset);
    if (cookie <= last_cookie) {
      return false;
    }
    last_cookie = cookie;
    starts[offset] = true;
  }
  std::size_t at = header.heap_offset;
  std::uint32_t seen = 0;
  while (at < kBlockBytes && starts[at]) {
    ++seen;
    at += kDirectoryRecordBytes + load<std::uint8_t>(block, at + 17);
  }
  return at == kBlockBytes && seen == header.count;
}

bool leaf_contents_ok(ConstBytes block, const DirectoryBlockHeader& header) {
  for (std::uint32_t i = 0; i < header.count; ++i) {
    if (!directory_record(block, i).ok()) {
      return false;
    }
  }
  const std::size_t end = table_end(header);
  return all_zero(block.subspan(end, header.heap_offset - end));
}

bool interior_ok(ConstBytes block, const DirectoryBlockHeader& header) {
  if (header.level == 0 || header.level > kDirectoryLevelsMax || header.count == 0 ||
      header.count > kDirectoryChildrenMax || header.heap_offset != 0 || header.next_free != 0) {
    return false;
  }
  std::uint64_t last_cookie = 0;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const DirectoryChild child = directory_child(block, i);
    const bool order = i == 0 ? child.first_cookie == 0 : child.first_cookie > last_cookie;
    if (!order || child.first_cookie >= kCookieEnd || child.block == 0) {
      return false;
    }
    last_cookie = child.first_cookie;
  }
  const std::size_t end = kHeaderBytes + header.count * sizeof(DirectoryChild);
  return all_zero(block.subspan(end));
}

bool free_ok(ConstBytes block, const DirectoryBlockHeader& header) {
  return header.level == 0 && header.count == 0 && header.heap_offset == 0 &&
         all_zero(block.subspan(kHeaderBytes));
}

}  // namespace

Result<DirectoryRecord> directory_record(ConstBytes leaf, std::uint32_t i) {
  const std::size_t slot = kHeaderBytes + i * std::size_t{2};
  if (leaf.size() != kBlockBytes || slot + 2 > kBlockBytes) {
    return kBad;
  }
  const std::size_t offset = load<std::uint16_t>(leaf, slot);
  if (offset < slot + 2 || offset + kDirectoryRecordBytes > kBlockBytes) {
    return kBad;
  }
  const auto name_bytes = load<std::uint8_t>(leaf, offset + 17);
  if (offset + kDirectoryRecordBytes + name_bytes > kBlockBytes) {
    return kBad;
  }
  const ConstBytes name = leaf.subspan(offset + kDirectoryRecordBytes, name_bytes);
  const DirectoryRecord record{load<std::uint64_t>(leaf, offset),
                               load<std::uint64_t>(leaf, offset + 8),
                               load<std::uint8_t>(leaf, offset + 16),
                               {reinterpret_cast<const char*>(name.data()), name.size()}};
  return plausible(record) ? Result<DirectoryRecord>(record) : Result<DirectoryRecord>(kBad);
}

bool directory_layout_ok(ConstBytes block) {
  if (block.size() != kBlockBytes) {
    return false;
  }
  const auto header = load<DirectoryBlockHeader>(block, 0);
  if (header.magic != kDirectoryMagic || header.reserved0 != 0 || header.reserved1 != 0 ||
      header.reserved2 != 0) {
    return false;
  }
  switch (static_cast<DirectoryBlockKind>(header.kind)) {
    case DirectoryBlockKind::kLeaf:
      return leaf_layout_ok(block, header);
    case DirectoryBlockKind::kInterior:
      return interior_ok(block, header);
    case DirectoryBlockKind::kFree:
      return free_ok(block, header);
  }
  return false;
}

Status check_directory_block(ConstBytes block) {
  if (!directory_layout_ok(block)) {
    return kBad;
  }
  const auto header = load<DirectoryBlockHeader>(block, 0);
  const bool leaf = header.kind == static_cast<std::uint8_t>(DirectoryBlockKind::kLeaf);
  return !leaf || leaf_contents_ok(block, header) ? Status(Ok{}) : Status(kBad);
}

}  // namespace duet::wafl
