#include "record.h"

#include <limits>

namespace duet::filer {

namespace {

template <typename T>
void put(RecordBytes& bytes, std::uint32_t bit, const std::optional<T>& value, auto& field) {
  if (value.has_value()) {
    bytes.changes |= bit;
    field = static_cast<std::remove_reference_t<decltype(field)>>(*value);
  }
}

// Error (false): a value that should not be there.
template <typename T>
bool take(const RecordBytes& bytes, std::uint32_t bit, auto field, std::optional<T>& value) {
  if ((bytes.changes & bit) != 0) {
    value = static_cast<T>(field);
    return true;
  }
  return field == 0;
}

bool take_changes(const RecordBytes& bytes, wafl::AttributeChanges& changes) {
  return (bytes.changes & ~std::uint32_t{kChangeAll}) == 0 && bytes.mode <= 07777 &&
         bytes.size_bytes <= wafl::kFileBytesMax &&
         take(bytes, kChangeMode, bytes.mode, changes.mode) &&
         take(bytes, kChangeUid, bytes.uid, changes.uid) &&
         take(bytes, kChangeGid, bytes.gid, changes.gid) &&
         take(bytes, kChangeSize, bytes.size_bytes, changes.size_bytes) &&
         take(bytes, kChangeAtime, bytes.atime_ns, changes.atime) &&
         take(bytes, kChangeMtime, bytes.mtime_ns, changes.mtime);
}

bool is_name(std::string_view name) { return wafl::check_name(name).ok(); }

// Whether the parts fit the operation; what does not belong to it is empty.
bool makes_sense(const RecordBytes& bytes, const Record& record) {
  const bool no_second = record.second == ObjectId{} && record.second_name.empty();
  const bool no_data = bytes.data_bytes == 0;
  const bool new_object = bytes.second != 0;
  const bool no_changes = bytes.changes == 0;
  if (record.operation != Operation::kCreate &&
      (bytes.type != 0 || record.device != wafl::Device{})) {
    return false;
  }
  if (record.operation != Operation::kWrite && (record.offset != 0 || record.drop_privileges)) {
    return false;
  }
  switch (record.operation) {
    case Operation::kWrite:
      return no_second && record.name.empty() && no_changes && !no_data;
    case Operation::kSetAttributes:
      return no_second && record.name.empty() && no_data;
    case Operation::kCreate: {
      constexpr std::uint32_t kNeeded = kChangeMode | kChangeUid | kChangeGid;
      const bool link = record.type == wafl::FileType::kSymlink;
      return is_name(record.name) && record.second_name.empty() && new_object &&
             (bytes.changes & kNeeded) == kNeeded && link != no_data &&
             bytes.data_bytes <= wafl::kSymlinkBytesMax && record.type != wafl::FileType::kFree &&
             record.type <= wafl::FileType::kSocket;
    }
    case Operation::kCreateExisting:
      return is_name(record.name) && record.second_name.empty() && new_object && no_data;
    case Operation::kRemove:
    case Operation::kRemoveDirectory:
      return is_name(record.name) && no_second && no_data && no_changes;
    case Operation::kRename:
      return is_name(record.name) && is_name(record.second_name) && new_object && no_data &&
             no_changes;
    case Operation::kLink:
      return is_name(record.name) && record.second_name.empty() && new_object && no_data &&
             no_changes;
  }
  return false;
}

constexpr Error kBad{Errc::kCorrupt, "request record: its fields make no sense"};

}  // namespace

std::size_t data_bytes(std::span<const ConstBytes> data) {
  std::size_t bytes = 0;
  for (const ConstBytes piece : data) {
    bytes += piece.size();
  }
  return bytes;
}

RecordBytes encode_record(const Record& record) {
  RecordBytes bytes;
  bytes.operation = static_cast<std::uint8_t>(record.operation);
  bytes.type = static_cast<std::uint8_t>(record.type);
  bytes.flags = static_cast<std::uint8_t>((record.reply_cached ? kRecordReplyCached : 0) |
                                          (record.drop_privileges ? kRecordDropPrivileges : 0));
  bytes.address = record.client.address;
  bytes.xid = record.client.xid;
  bytes.procedure = record.client.procedure;
  bytes.checksum = record.client.checksum;
  bytes.volume = static_cast<std::uint32_t>(record.volume);
  bytes.object = static_cast<std::uint64_t>(record.object.inode);
  bytes.second = static_cast<std::uint64_t>(record.second.inode);
  bytes.object_generation = static_cast<std::uint32_t>(record.object.generation);
  bytes.second_generation = static_cast<std::uint32_t>(record.second.generation);
  bytes.now_ns = static_cast<std::int64_t>(record.now);
  put(bytes, kChangeMode, record.changes.mode, bytes.mode);
  put(bytes, kChangeUid, record.changes.uid, bytes.uid);
  put(bytes, kChangeGid, record.changes.gid, bytes.gid);
  put(bytes, kChangeSize, record.changes.size_bytes, bytes.size_bytes);
  put(bytes, kChangeAtime, record.changes.atime, bytes.atime_ns);
  put(bytes, kChangeMtime, record.changes.mtime, bytes.mtime_ns);
  bytes.device_major = record.device.major;
  bytes.device_minor = record.device.minor;
  bytes.offset = record.offset;
  bytes.data_bytes = static_cast<std::uint32_t>(data_bytes(record.data));
  bytes.name_bytes = static_cast<std::uint16_t>(record.name.size());
  bytes.second_name_bytes = static_cast<std::uint16_t>(record.second_name.size());
  return bytes;
}

Result<Record> decode_record(ConstBytes body, ConstBytes& data) {
  if (body.size() < sizeof(RecordBytes)) {
    return kBad;
  }
  const auto bytes = load<RecordBytes>(body, 0);
  if (bytes.version != kRecordVersion) {
    return Error{Errc::kNotSupported, "request record: written by another version"};
  }
  const std::uint64_t tail =
      std::uint64_t{bytes.name_bytes} + bytes.second_name_bytes + std::uint64_t{bytes.data_bytes};
  if (tail != body.size() - sizeof(RecordBytes) || bytes.reserved0 != 0 ||
      (bytes.flags & ~unsigned{kRecordReplyCached | kRecordDropPrivileges}) != 0) {
    return kBad;
  }
  Record record;
  record.operation = static_cast<Operation>(bytes.operation);
  record.reply_cached = (bytes.flags & kRecordReplyCached) != 0;
  record.drop_privileges = (bytes.flags & kRecordDropPrivileges) != 0;
  record.client = {bytes.address, bytes.xid, bytes.procedure, bytes.checksum};
  record.now = wafl::Timestamp{bytes.now_ns};
  record.volume = wafl::VolumeId{bytes.volume};
  record.object = {wafl::InodeNumber{bytes.object}, wafl::Generation{bytes.object_generation}};
  record.second = {wafl::InodeNumber{bytes.second}, wafl::Generation{bytes.second_generation}};
  record.type = static_cast<wafl::FileType>(bytes.type);
  record.device = {bytes.device_major, bytes.device_minor};
  record.offset = bytes.offset;
  const auto text = [body](std::size_t offset, std::size_t size) {
    return std::string_view(reinterpret_cast<const char*>(body.data()) + offset, size);
  };
  record.name = text(sizeof(RecordBytes), bytes.name_bytes);
  record.second_name = text(sizeof(RecordBytes) + bytes.name_bytes, bytes.second_name_bytes);
  data = body.last(bytes.data_bytes);
  record.data = std::span<const ConstBytes>(&data, bytes.data_bytes == 0 ? 0 : 1);
  if (!take_changes(bytes, record.changes) || !makes_sense(bytes, record)) {
    return kBad;
  }
  return record;
}

}  // namespace duet::filer
