#include "intent_memory.h"

#include <bit>
#include <optional>

namespace duet::raid {

std::uint32_t Intent::page_count() const {
  auto pages = static_cast<std::uint32_t>(std::popcount(check)) * row_count;
  if (kind != IntentKind::kPartial) {
    for (const Span& span : spans) {
      pages += span.count;
    }
  }
  return pages;
}

namespace {

bool sane(const MemoryHeader& header, std::uint64_t memory_bytes) {
  return header.magic == kMemoryMagic && header.version == kMemoryVersion &&
         header.node < kNodesMax && header.slots > 0 && header.slots <= (1U << 16U) &&
         header.pages > 0 && header.pages <= (1U << 24U) &&
         MemoryLayout{header.slots, header.pages}.memory_bytes(1) <= memory_bytes;
}

std::optional<MemoryHeader> header_at(const PersistentMemory& memory, std::uint64_t offset) {
  MemoryHeader header = load<MemoryHeader>(memory.bytes(), offset);
  const std::uint32_t checksum = std::exchange(header.checksum, 0);
  if (checksum != crc32c(bytes_of(header)) || !sane(header, memory.bytes().size())) {
    return std::nullopt;
  }
  return header;
}

std::uint64_t copy_of(std::uint64_t sequence) { return sequence % 2 * kMemoryHeaderCopy; }

}  // namespace

Status IntentMemory::put_header(PersistentMemory& memory, MemoryHeader header) {
  header.checksum = 0;
  header.checksum = crc32c(bytes_of(header));
  memory.store(copy_of(header.sequence), bytes_of(header));
  return memory.persist();
}

Status IntentMemory::format(PersistentMemory& memory, const GroupId& group, NodeId node,
                            const MemoryLayout& layout) {
  const MemoryHeader header = {
      .node = number(node), .group = group, .slots = layout.slots, .pages = layout.pages};
  if (!sane(header, memory.bytes().size()) ||
      layout.memory_bytes(number(node) + 1) > memory.bytes().size()) {
    return Error{Errc::kInvalid, "the persistent memory is too small for the group's intents"};
  }
  const std::array<std::byte, sizeof(MemoryHeader)> zeros{};
  memory.store(kMemoryHeaderCopy, zeros);
  const Status done = put_header(memory, header);
  if (!done.ok()) {
    return done;
  }
  IntentMemory formatted(memory, header);
  for (std::uint32_t i = 0; layout.memory_bytes(i + 1) <= memory.bytes().size() && i < kNodesMax;
       ++i) {
    if (const Status wiped = formatted.wipe(NodeId{static_cast<std::uint8_t>(i)}); !wiped.ok()) {
      return wiped;
    }
  }
  return Ok{};
}

Result<IntentMemory> IntentMemory::open(PersistentMemory& memory, const GroupId& group,
                                        NodeId node) {
  if (memory.bytes().size() < kMemoryHeaderBytes) {
    return Error{Errc::kNotFound, "no memory for a group's intents"};
  }
  std::optional<MemoryHeader> best = header_at(memory, 0);
  const std::optional<MemoryHeader> other = header_at(memory, kMemoryHeaderCopy);
  if (!best.has_value() || (other.has_value() && best->sequence < other->sequence)) {
    best = other;
  }
  if (!best.has_value()) {
    return Error{Errc::kNotFound, "the memory holds no intents of a group"};
  }
  if (best->group != group || best->node != number(node)) {
    return Error{Errc::kForeign, "the memory holds the intents of another group or node"};
  }
  return IntentMemory(memory, *best);
}

Status IntentMemory::set_generation(Generation generation, Generation before) {
  ++header_.sequence;
  header_.generation = static_cast<std::uint64_t>(generation);
  header_.before = static_cast<std::uint64_t>(before);
  return put_header(*memory_, header_);
}

Status IntentMemory::wipe(NodeId node) {
  if (layout_.memory_bytes(number(node) + 1) > memory_->bytes().size()) {
    return Error{Errc::kInvalid, "the persistent memory has no room for this node's intents"};
  }
  const std::vector<std::byte> zeros(layout_.table_bytes());
  memory_->store(layout_.area(node), zeros);
  return memory_->persist();
}

IntentHeader encode_intent(const Intent& intent, std::uint64_t number, std::uint32_t first_page,
                           std::uint32_t pages_checksum) {
  IntentHeader header = {.magic = kIntentMagic,
                         .kind = static_cast<std::uint16_t>(intent.kind),
                         .disks = static_cast<std::uint16_t>(intent.disks),
                         .number = number,
                         .stripe = static_cast<std::uint64_t>(intent.stripe),
                         .first_row = static_cast<std::uint16_t>(intent.first_row),
                         .row_count = static_cast<std::uint16_t>(intent.row_count),
                         .check = intent.check,
                         .first_page = first_page,
                         .page_count = intent.page_count(),
                         .spans = intent.spans,
                         .pages_checksum = pages_checksum};
  header.checksum = crc32c(bytes_of(header));
  return header;
}

namespace {

// Whether it can be of a stripe of this group; what its pages hold is not looked at.
bool sane(const Intent& intent, const GroupLabel& label) {
  Geometry geometry = geometry_of(label);
  const bool moves = intent.kind == IntentKind::kMove;
  if (intent.disks != label.disks && (moves || intent.disks != label.disks_before)) {
    return false;
  }
  geometry.disks = intent.disks;
  const ColumnSet checks = first(geometry.disks) & ~first(geometry.data_columns());
  bool good =
      (intent.kind == IntentKind::kContent || intent.kind == IntentKind::kPartial || moves) &&
      static_cast<std::uint64_t>(intent.stripe) < geometry.stripes &&
      (intent.check & ~checks) == 0 && intent.first_row + intent.row_count <= geometry.chunk_blocks;
  for (std::uint32_t column = 0; column < kDisksMax; ++column) {
    const Span& span = intent.spans[column];
    good = good && (span.count == 0 ||
                    (column < geometry.data_columns() && span.first >= intent.first_row &&
                     span.first + span.count <= intent.first_row + intent.row_count));
    const bool whole = span.count == geometry.chunk_blocks || column >= geometry.data_columns();
    good = good && (!moves || (whole && intent.check == checks));
  }
  return good;
}

}  // namespace

std::vector<FoundIntent> IntentMemory::scan(NodeId node, const GroupLabel& label) const {
  std::vector<FoundIntent> found;
  const ConstBytes bytes = memory_->bytes();
  if (layout_.memory_bytes(number(node) + 1) > bytes.size()) {
    return found;
  }
  for (std::uint32_t slot = 0; slot < layout_.slots; ++slot) {
    IntentHeader header = load<IntentHeader>(bytes, layout_.slot(node, slot));
    const std::uint32_t checksum = std::exchange(header.checksum, 0);
    if (header.magic != kIntentMagic || checksum != crc32c(bytes_of(header))) {
      continue;
    }
    Intent intent = {.kind = static_cast<IntentKind>(header.kind),
                     .stripe = Stripe{header.stripe},
                     .disks = header.disks,
                     .first_row = header.first_row,
                     .row_count = header.row_count,
                     .check = header.check,
                     .spans = header.spans};
    if (!sane(intent, label) || header.page_count != intent.page_count() ||
        header.first_page > layout_.pages ||
        header.page_count > layout_.pages - header.first_page) {
      continue;
    }
    const ConstBytes pages =
        bytes.subspan(layout_.page(node, header.first_page), header.page_count * kBlockBytes);
    if (crc32c(pages) == header.pages_checksum) {
      found.push_back({intent, pages});
    }
  }
  return found;
}

}  // namespace duet::raid
