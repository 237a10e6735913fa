// Record: one logged operation with its choices, and its bytes.

#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "filer/record_format.h"
#include "filer/request.h"
#include "wafl/operations.h"

namespace duet::filer {

// How a retry of a request is known (Caller without what may change between the two).
struct ReplyKey {
  Address address{};
  std::uint32_t xid = 0;
  std::uint32_t procedure = 0;
  std::uint32_t checksum = 0;
  friend bool operator==(const ReplyKey&, const ReplyKey&) = default;
};
inline ReplyKey key_of(const Caller& caller) {
  return {caller.address, caller.xid, caller.procedure, caller.checksum};
}

struct ObjectId {
  wafl::InodeNumber inode{};
  wafl::Generation generation{};
  friend bool operator==(ObjectId, ObjectId) = default;
};
inline ObjectId object_of(const wafl::FileId& id) { return {id.inode, id.generation}; }

// Views borrow: from the request, or from the log.
struct Record {
  Operation operation{};
  bool reply_cached = false;
  bool drop_privileges = false;
  ReplyKey client;
  wafl::Timestamp now{};
  wafl::VolumeId volume{};
  ObjectId object;
  ObjectId second;  // new objects: zero until one is made or replay says which
  wafl::FileType type = wafl::FileType::kFree;
  wafl::Device device;
  wafl::AttributeChanges changes;  // kCreate: mode, uid and gid are set
  std::uint64_t offset = 0;
  std::string_view name;
  std::string_view second_name;
  std::span<const ConstBytes> data;
  // Of `data`, once it was written: the log need not read it again.  Is in no record on its own.
  std::optional<std::uint32_t> data_checksum;
};

// What a record takes at most, names and a symbolic link's target included, without WRITE data.
inline constexpr std::size_t kSmallRecordBytesMax =
    sizeof(RecordBytes) + 2 * wafl::kNameBytesMax + wafl::kSymlinkBytesMax;

[[nodiscard]] std::size_t data_bytes(std::span<const ConstBytes> data);

// The fixed part; names and data follow it in the log.
[[nodiscard]] RecordBytes encode_record(const Record& record);
// `data` keeps the view that the record's data consists of; both borrow from `body`.
// Error: kCorrupt; kNotSupported for another version.
Result<Record> decode_record(ConstBytes body, ConstBytes& data);

}  // namespace duet::filer
