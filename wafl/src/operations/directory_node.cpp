#include "operations/directory_node.h"

#include <cstring>

#include "base/check.h"

namespace duet::wafl {

namespace {

constexpr std::size_t kHeaderBytes = sizeof(DirectoryBlockHeader);

std::size_t offset_of(std::uint32_t slot) { return kHeaderBytes + std::size_t{2} * slot; }
std::size_t child_offset(std::uint32_t slot) {
  return kHeaderBytes + sizeof(DirectoryChild) * std::size_t{slot};
}

std::size_t record_bytes_at(ConstBytes leaf, std::size_t offset) {
  return kDirectoryRecordBytes + load<std::uint8_t>(leaf, offset + 17);
}

void start_block(MutableBytes block, const DirectoryBlockHeader& header) {
  std::memset(block.data(), 0, block.size());
  store(block, 0, header);
}

}  // namespace

Result<NodeView> NodeView::open(ConstBytes block) {
  const auto header = load<DirectoryBlockHeader>(block, 0);
  const auto kind = static_cast<DirectoryBlockKind>(header.kind);
  bool ok = header.magic == kDirectoryMagic;
  if (kind == DirectoryBlockKind::kLeaf) {
    ok = ok && header.level == 0 && header.heap_offset <= kBlockBytes &&
         header.heap_offset >= kHeaderBytes + std::size_t{2} * header.count;
  } else {
    ok = ok && kind == DirectoryBlockKind::kInterior && header.level >= 1 &&
         header.level <= kDirectoryLevelsMax && header.count >= 1 &&
         header.count <= kDirectoryChildrenMax;
  }
  if (!ok) {
    return Error{Errc::kCorrupt, "directory node"};
  }
  return NodeView(block, header);
}

std::optional<std::uint64_t> NodeView::cookie_at(std::uint32_t slot) const {
  const std::size_t offset = load<std::uint16_t>(block_, offset_of(slot));
  if (offset + kDirectoryRecordBytes > kBlockBytes) {
    return std::nullopt;
  }
  return load<std::uint64_t>(block_, offset);
}

Result<std::uint32_t> NodeView::lower_bound(std::uint64_t cookie) const {
  std::uint32_t low = 0;
  std::uint32_t high = header_.count;
  while (low < high) {
    const std::uint32_t middle = (low + high) / 2;
    const std::optional<std::uint64_t> there = cookie_at(middle);
    if (!there) {
      return Error{Errc::kCorrupt, "directory record's offset"};
    }
    if (*there < cookie) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool NodeView::within(std::uint64_t lower, std::uint64_t upper) const {
  if (leaf()) {
    if (header_.count == 0) {
      return true;
    }
    const std::optional<std::uint64_t> first = cookie_at(0);
    const std::optional<std::uint64_t> last = cookie_at(header_.count - 1U);
    return first && last && *first >= lower && *last < upper;
  }
  return header_.count == 1 ||
         (child(1).first_cookie > lower && child(header_.count - 1U).first_cookie < upper);
}

std::uint32_t NodeView::slot_for(std::uint64_t cookie) const {
  // The last child that does not begin behind the cookie; the first one takes the rest.
  std::uint32_t low = 1;
  std::uint32_t high = header_.count;
  while (low < high) {
    const std::uint32_t middle = (low + high) / 2;
    if (child(middle).first_cookie <= cookie) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

RecordBytes::RecordBytes(const DirectoryRecord& record)
    : size_(kDirectoryRecordBytes + record.name.size()) {
  DUET_CHECK(record.name.size() <= kNameBytesMax);
  const MutableBytes out(bytes_);
  store(out, 0, record.cookie);
  store(out, 8, record.inode);
  store(out, 16, record.type);
  store(out, 17, static_cast<std::uint8_t>(record.name.size()));
  std::memcpy(out.subspan(kDirectoryRecordBytes).data(), record.name.data(), record.name.size());
}

ConstBytes record_span(ConstBytes leaf, std::uint32_t slot) {
  const std::size_t offset = load<std::uint16_t>(leaf, offset_of(slot));
  return leaf.subspan(offset, record_bytes_at(leaf, offset));
}

void build_leaf(MutableBytes block, std::span<const ConstBytes> records) {
  DirectoryBlockHeader header;
  header.kind = static_cast<std::uint8_t>(DirectoryBlockKind::kLeaf);
  header.count = static_cast<std::uint16_t>(records.size());
  start_block(block, header);
  std::size_t heap = kBlockBytes;
  for (std::uint32_t i = 0; i < records.size(); ++i) {
    heap -= records[i].size();
    DUET_CHECK(heap >= offset_of(header.count));
    std::memcpy(block.data() + heap, records[i].data(), records[i].size());
    store(block, offset_of(i), static_cast<std::uint16_t>(heap));
  }
  store(block, offsetof(DirectoryBlockHeader, heap_offset), static_cast<std::uint16_t>(heap));
}

void insert_record(MutableBytes leaf, std::uint32_t slot, ConstBytes record) {
  auto header = load<DirectoryBlockHeader>(leaf, 0);
  const std::size_t heap = header.heap_offset - record.size();
  DUET_CHECK(slot <= header.count &&
             header.heap_offset >= offset_of(header.count + 1U) + record.size());
  std::memcpy(leaf.data() + heap, record.data(), record.size());
  std::memmove(leaf.data() + offset_of(slot + 1), leaf.data() + offset_of(slot),
               std::size_t{2} * (header.count - slot));
  store(leaf, offset_of(slot), static_cast<std::uint16_t>(heap));
  header.heap_offset = static_cast<std::uint16_t>(heap);
  ++header.count;
  store(leaf, 0, header);
}

void remove_record(MutableBytes leaf, std::uint32_t slot) {
  auto header = load<DirectoryBlockHeader>(leaf, 0);
  DUET_CHECK(slot < header.count);
  const std::uint16_t offset = load<std::uint16_t>(leaf, offset_of(slot));
  const std::size_t size = record_bytes_at(leaf, offset);
  // Close the gap in the heap, and leave nothing of the name behind.
  std::memmove(leaf.data() + header.heap_offset + size, leaf.data() + header.heap_offset,
               static_cast<std::size_t>(offset - header.heap_offset));
  std::memset(leaf.data() + header.heap_offset, 0, size);
  std::memmove(leaf.data() + offset_of(slot), leaf.data() + offset_of(slot + 1),
               std::size_t{2} * (header.count - slot - 1U));
  --header.count;
  store(leaf, offset_of(header.count), std::uint16_t{0});
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const std::uint16_t other = load<std::uint16_t>(leaf, offset_of(i));
    if (other < offset) {
      store(leaf, offset_of(i), static_cast<std::uint16_t>(other + size));
    }
  }
  header.heap_offset = static_cast<std::uint16_t>(header.heap_offset + size);
  store(leaf, 0, header);
}

void retarget_record(MutableBytes leaf, std::uint32_t slot, std::uint64_t inode,
                     std::uint8_t type) {
  const std::size_t offset = load<std::uint16_t>(leaf, offset_of(slot));
  store(leaf, offset + 8, inode);
  store(leaf, offset + 16, type);
}

void build_interior(MutableBytes block, std::uint32_t level,
                    std::span<const DirectoryChild> children) {
  DUET_CHECK(!children.empty() && children.size() <= kDirectoryChildrenMax &&
             level <= kDirectoryLevelsMax);
  DirectoryBlockHeader header;
  header.kind = static_cast<std::uint8_t>(DirectoryBlockKind::kInterior);
  header.level = static_cast<std::uint8_t>(level);
  header.count = static_cast<std::uint16_t>(children.size());
  start_block(block, header);
  std::memcpy(block.data() + kHeaderBytes, children.data(), children.size_bytes());
  store(block, kHeaderBytes, std::uint64_t{0});
}

void insert_child(MutableBytes node, std::uint32_t slot, const DirectoryChild& child) {
  auto header = load<DirectoryBlockHeader>(node, 0);
  DUET_CHECK(slot >= 1 && slot <= header.count && header.count < kDirectoryChildrenMax);
  const std::size_t moved = sizeof(DirectoryChild) * (header.count - std::size_t{slot});
  std::memmove(node.data() + child_offset(slot + 1), node.data() + child_offset(slot), moved);
  store(node, child_offset(slot), child);
  ++header.count;
  store(node, 0, header);
}

void remove_child(MutableBytes node, std::uint32_t slot) {
  auto header = load<DirectoryBlockHeader>(node, 0);
  DUET_CHECK(slot < header.count && header.count > 1);
  const std::size_t moved = sizeof(DirectoryChild) * (header.count - std::size_t{slot} - 1);
  std::memmove(node.data() + child_offset(slot), node.data() + child_offset(slot + 1), moved);
  --header.count;
  store(node, child_offset(header.count), DirectoryChild{});
  store(node, kHeaderBytes, std::uint64_t{0});  // the first child's cookie
  store(node, 0, header);
}

void make_free(MutableBytes block, std::uint64_t next_free) {
  DirectoryBlockHeader header;
  header.kind = static_cast<std::uint8_t>(DirectoryBlockKind::kFree);
  header.next_free = next_free;
  start_block(block, header);
}

}  // namespace duet::wafl
