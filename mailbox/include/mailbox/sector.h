// Sectors: how a record gets to its block and back, and what may be believed of it.
//
// Torn, unreadable or foreign is no information (rule 1): every way to fail is an error, and no
// error means anything else.
//
// Thread-safety: none needed; SectorBuffer belongs to one task at a time.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"
#include "mailbox/mailbox_format.h"
#include "platform/task.h"
#include "shelf/shared_disk.h"

namespace duet::mailbox {

// Drawn when the process starts, greater than that of every earlier process of the node; also in
// its DiskKey.
enum class Incarnation : std::uint64_t {};

enum class Node : std::uint8_t { kA = 0, kB = 1 };
constexpr Node partner_of(Node node) { return node == Node::kA ? Node::kB : Node::kA; }
constexpr std::uint8_t index_of(Node node) { return static_cast<std::uint8_t>(node); }

// Who writes.
struct Writer {
  std::array<std::uint64_t, 2> pair{};
  Node node{};
  Incarnation incarnation{};
};

// A block in memory, for one I/O.
class alignas(kBlockBytes) SectorBuffer {
 public:
  SectorBuffer() = default;
  SectorBuffer(const SectorBuffer&) = delete;
  SectorBuffer& operator=(const SectorBuffer&) = delete;
  [[nodiscard]] std::span<const MutableBytes> parts() const { return {&part_, 1}; }
  [[nodiscard]] MutableBytes bytes() { return bytes_; }
  [[nodiscard]] ConstBytes bytes() const { return bytes_; }

 private:
  std::array<std::byte, kBlockBytes> bytes_{};
  MutableBytes part_{bytes_};
};

// The block of a record: its checksum set, the rest zero.
template <typename Record>
void encode(Record record, MutableBytes block) {
  static_assert(sizeof(Record) == kSectorBytes);
  record.checksum = 0;
  record.checksum = crc32c(bytes_of(record));
  std::ranges::fill(block, std::byte{0});
  store(block, 0, record);
}

namespace detail {
// Blank, or what is wrong with the header; and the checksum over the sector.
Status check(ConstBytes block, const SectorHeader& header, bool whole, SectorKind kind,
             const std::array<std::uint64_t, 2>& pair, std::uint32_t subject);
}  // namespace detail

// kNotFound: the sector is all zero: never written.  kCorrupt: torn or damaged.  kForeign:
// of another pair, kind or subject, or of a version that this build does not know.
template <typename Record>
[[nodiscard]] Result<Record> decode(ConstBytes block, const std::array<std::uint64_t, 2>& pair,
                                    std::uint32_t subject) {
  Record record = load<Record>(block, 0);
  const std::uint32_t checksum = record.checksum;
  record.checksum = 0;
  const Status checked =
      detail::check(block, record.header, checksum == crc32c(bytes_of(record)),
                    static_cast<SectorKind>(Record{}.header.kind), pair, subject);
  if (!checked.ok()) {
    return checked.error();
  }
  record.checksum = checksum;
  return record;
}

// Reads and decodes; also what BlockDevice::read gives.
template <typename Record>
Task<Result<Record>> read_sector(shelf::SharedDisk& disk, std::uint64_t block,
                                 std::array<std::uint64_t, 2> pair, std::uint32_t subject) {
  const auto buffer = std::make_unique<SectorBuffer>();
  const Status read = co_await disk.read(block, buffer->parts());
  if (!read.ok()) {
    co_return read.error();
  }
  co_return decode<Record>(std::as_const(*buffer).bytes(), pair, subject);
}

}  // namespace duet::mailbox
