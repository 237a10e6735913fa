#include "apply.h"

#include "context.h"
#include "wafl/aggregate.h"
#include "wafl/operations.h"
#include "wafl/volume.h"

namespace duet::filer {

namespace {

Result<wafl::InodeRef> find(wafl::Attempt& attempt, const Record& record, const ObjectId& object) {
  wafl::Volume* volume = attempt.aggregate().find_volume(record.volume);
  if (volume == nullptr) {
    return Error{Errc::kStaleHandle, "record: its volume is gone"};
  }
  return volume->find_inode(attempt, {record.volume, wafl::kLive, object.inode, object.generation});
}

}  // namespace

Status apply_write(wafl::Attempt& attempt, wafl::Inode& file, Record& record,
                   MutationReply& reply) {
  reply.first.before = pre_attributes(file);
  std::uint32_t checksum = 0;
  Status done = wafl::write(attempt, file, record.offset, record.data, record.drop_privileges,
                            record.now, &checksum);
  if (done.ok()) {
    record.data_checksum = checksum;
    reply.first.after = file_attributes(file);
  }
  return done;
}

Status apply_set_attributes(wafl::Attempt& attempt, wafl::Inode& inode, const Record& record,
                            MutationReply& reply) {
  reply.first.before = pre_attributes(inode);
  Status done = wafl::set_attributes(attempt, inode, record.changes, record.now);
  if (done.ok()) {
    reply.first.after = file_attributes(inode);
  }
  return done;
}

Status apply_create(wafl::Attempt& attempt, wafl::Inode& directory, Record& record,
                    MutationReply& reply) {
  reply.first.before = pre_attributes(directory);
  wafl::NewNode node;
  node.type = record.type;
  node.mode = *record.changes.mode;
  node.uid = *record.changes.uid;
  node.gid = *record.changes.gid;
  node.device = record.device;
  node.atime = record.changes.atime;
  node.mtime = record.changes.mtime;
  if (!record.data.empty()) {
    const ConstBytes target = record.data.front();
    node.target = {reinterpret_cast<const char*>(target.data()), target.size()};
  }
  const bool chosen = record.second != ObjectId{};
  if (chosen) {
    node.inode = record.second.inode;
  }
  Result<wafl::InodeRef> made = wafl::create(attempt, directory, record.name, node, record.now);
  if (!made.ok()) {
    return made.error();
  }
  wafl::Inode& inode = *made.value();
  if (chosen && object_of(inode.id()) != record.second) {
    return Error{Errc::kCorrupt, "replay: a new object is not the one of the first time"};
  }
  record.second = object_of(inode.id());
  // An empty file grows without blocks, so this cannot fail.
  if (record.changes.size_bytes.has_value() && record.type == wafl::FileType::kRegular) {
    inode.change_attributes().size_bytes = *record.changes.size_bytes;
  }
  reply.object = inode.id();
  reply.attributes = file_attributes(inode);
  reply.first.after = file_attributes(directory);
  return Ok{};
}

Status apply_create_existing(wafl::Attempt& attempt, wafl::Inode& directory, wafl::Inode& file,
                             const Record& record, MutationReply& reply) {
  Status done = wafl::set_attributes(attempt, file, record.changes, record.now);
  if (done.ok()) {
    reply.object = file.id();
    reply.attributes = file_attributes(file);
    reply.first = unchanged(directory);
  }
  return done;
}

Status apply_remove(wafl::Attempt& attempt, wafl::Inode& directory, const Record& record,
                    MutationReply& reply) {
  reply.first.before = pre_attributes(directory);
  Status done = record.operation == Operation::kRemoveDirectory
                    ? wafl::remove_directory(attempt, directory, record.name, record.now)
                    : wafl::remove(attempt, directory, record.name, record.now);
  if (done.ok()) {
    reply.first.after = file_attributes(directory);
  }
  return done;
}

Status apply_rename(wafl::Attempt& attempt, wafl::Inode& from, wafl::Inode& to,
                    const Record& record, MutationReply& reply) {
  reply.first.before = pre_attributes(from);
  reply.second.before = pre_attributes(to);
  Status done = wafl::rename(attempt, from, record.name, to, record.second_name, record.now);
  if (done.ok()) {
    reply.first.after = file_attributes(from);
    reply.second.after = file_attributes(to);
  }
  return done;
}

Status apply_link(wafl::Attempt& attempt, wafl::Inode& file, wafl::Inode& directory,
                  const Record& record, MutationReply& reply) {
  reply.first.before = pre_attributes(directory);
  Status done = wafl::link(attempt, directory, record.name, file, record.now);
  if (done.ok()) {
    reply.attributes = file_attributes(file);
    reply.first.after = file_attributes(directory);
  }
  return done;
}

Status apply_record(wafl::Attempt& attempt, Record& record, MutationReply& reply) {
  const Result<wafl::InodeRef> object = find(attempt, record, record.object);
  if (!object.ok()) {
    return object.error();
  }
  wafl::Inode& first = *object.value();
  switch (record.operation) {
    case Operation::kWrite:
      return apply_write(attempt, first, record, reply);
    case Operation::kSetAttributes:
      return apply_set_attributes(attempt, first, record, reply);
    case Operation::kCreate:
      return apply_create(attempt, first, record, reply);
    case Operation::kRemove:
    case Operation::kRemoveDirectory:
      return apply_remove(attempt, first, record, reply);
    case Operation::kCreateExisting:
    case Operation::kRename:
    case Operation::kLink:
      break;
  }
  const Result<wafl::InodeRef> second = find(attempt, record, record.second);
  if (!second.ok()) {
    return second.error();
  }
  if (record.operation == Operation::kRename) {
    return apply_rename(attempt, first, *second.value(), record, reply);
  }
  if (record.operation == Operation::kLink) {
    return apply_link(attempt, first, *second.value(), record, reply);
  }
  return apply_create_existing(attempt, first, *second.value(), record, reply);
}

}  // namespace duet::filer
