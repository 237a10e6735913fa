#include "wafl/directory_format.h"

#include <algorithm>
#include <bitset>

namespace duet::wafl {

namespace {

constexpr Error kBad{Errc::kCorrupt, "directory block"};

bool all_zero(ConstBytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
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

Status check_leaf(ConstBytes block, const DirectoryBlockHeader& header) {
  const std::size_t table_end = sizeof(DirectoryBlockHeader) + header.count * std::size_t{2};
  if (header.level != 0 || header.next_free != 0 || header.heap_offset < table_end ||
      header.heap_offset > kBlockBytes ||
      !all_zero(block.subspan(table_end, header.heap_offset - table_end))) {
    return kBad;
  }
  std::bitset<kBlockBytes> starts;
  std::uint64_t last_cookie = 0;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const Result<DirectoryRecord> record = directory_record(block, i);
    if (!record.ok() || record.value().cookie <= last_cookie) {
      return kBad;
    }
    last_cookie = record.value().cookie;
    starts.set(load<std::uint16_t>(block, sizeof(DirectoryBlockHeader) + i * std::size_t{2}));
  }
  // The records fill the heap: no gap, no overlap, none twice.
  std::size_t at = header.heap_offset;
  std::uint32_t seen = 0;
  while (at < kBlockBytes && starts.test(at)) {
    ++seen;
    at += kDirectoryRecordBytes + load<std::uint8_t>(block, at + 17);
  }
  return at == kBlockBytes && seen == header.count ? Status(Ok{}) : Status(kBad);
}

Status check_interior(ConstBytes block, const DirectoryBlockHeader& header) {
  if (header.level == 0 || header.level > kDirectoryLevelsMax || header.count == 0 ||
      header.count > kDirectoryChildrenMax || header.heap_offset != 0 || header.next_free != 0) {
    return kBad;
  }
  std::uint64_t last_cookie = 0;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const DirectoryChild child = directory_child(block, i);
    const bool order = i == 0 ? child.first_cookie == 0 : child.first_cookie > last_cookie;
    if (!order || child.first_cookie >= kCookieEnd || child.block == 0) {
      return kBad;
    }
    last_cookie = child.first_cookie;
  }
  const std::size_t end = sizeof(DirectoryBlockHeader) + header.count * sizeof(DirectoryChild);
  return all_zero(block.subspan(end)) ? Status(Ok{}) : Status(kBad);
}

Status check_free(ConstBytes block, const DirectoryBlockHeader& header) {
  const bool ok = header.level == 0 && header.count == 0 && header.heap_offset == 0 &&
                  all_zero(block.subspan(sizeof(DirectoryBlockHeader)));
  return ok ? Status(Ok{}) : Status(kBad);
}

}  // namespace

Result<DirectoryRecord> directory_record(ConstBytes leaf, std::uint32_t i) {
  const std::size_t slot = sizeof(DirectoryBlockHeader) + i * std::size_t{2};
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

Status check_directory_block(ConstBytes block) {
  if (block.size() != kBlockBytes) {
    return kBad;
  }
  const auto header = load<DirectoryBlockHeader>(block, 0);
  if (header.magic != kDirectoryMagic || header.reserved0 != 0 || header.reserved1 != 0 ||
      header.reserved2 != 0) {
    return kBad;
  }
  switch (static_cast<DirectoryBlockKind>(header.kind)) {
    case DirectoryBlockKind::kLeaf:
      return check_leaf(block, header);
    case DirectoryBlockKind::kInterior:
      return check_interior(block, header);
    case DirectoryBlockKind::kFree:
      return check_free(block, header);
  }
  return kBad;
}

}  // namespace duet::wafl
