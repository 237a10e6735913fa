#include "mutation_reply.h"

#include <algorithm>

namespace duet::filer {

namespace {

AttributeBytes encode_attributes(const FileAttributes& from) {
  const wafl::Attributes& attributes = from.attributes;
  AttributeBytes to;
  to.type = static_cast<std::uint32_t>(attributes.type);
  to.mode = attributes.mode;
  to.links = attributes.links;
  to.uid = attributes.uid;
  to.gid = attributes.gid;
  to.device_major = attributes.device.major;
  to.device_minor = attributes.device.minor;
  to.size_bytes = attributes.size_bytes;
  to.used_bytes = attributes.used_bytes;
  to.atime_ns = static_cast<std::int64_t>(attributes.atime);
  to.mtime_ns = static_cast<std::int64_t>(attributes.mtime);
  to.ctime_ns = static_cast<std::int64_t>(attributes.ctime);
  to.fsid = from.fsid;
  to.fileid = from.fileid;
  return to;
}

// False: no attributes of any file.
bool decode_attributes(const AttributeBytes& from, PostAttributes& to) {
  if (from.type == 0 || from.type > static_cast<std::uint32_t>(wafl::FileType::kSocket) ||
      from.mode > 07777 || from.reserved0 != 0) {
    return false;
  }
  FileAttributes& file = to.emplace();
  wafl::Attributes& attributes = file.attributes;
  attributes.type = static_cast<wafl::FileType>(from.type);
  attributes.mode = from.mode;
  attributes.links = from.links;
  attributes.uid = from.uid;
  attributes.gid = from.gid;
  attributes.device = {from.device_major, from.device_minor};
  attributes.size_bytes = from.size_bytes;
  attributes.used_bytes = from.used_bytes;
  attributes.atime = wafl::Timestamp{from.atime_ns};
  attributes.mtime = wafl::Timestamp{from.mtime_ns};
  attributes.ctime = wafl::Timestamp{from.ctime_ns};
  file.fsid = from.fsid;
  file.fileid = from.fileid;
  return true;
}

void encode_wcc(const WccData& from, ReplyFlags before, ReplyFlags after, std::uint32_t& flags,
                WccBytes& to) {
  if (from.before.has_value()) {
    flags |= before;
    to.before_size_bytes = from.before->size_bytes;
    to.before_mtime_ns = static_cast<std::int64_t>(from.before->mtime);
    to.before_ctime_ns = static_cast<std::int64_t>(from.before->ctime);
  }
  if (from.after.has_value()) {
    flags |= after;
    to.after = encode_attributes(*from.after);
  }
}

bool decode_wcc(const WccBytes& from, std::uint32_t flags, ReplyFlags before, ReplyFlags after,
                WccData& to) {
  if ((flags & before) != 0) {
    to.before = {from.before_size_bytes, wafl::Timestamp{from.before_mtime_ns},
                 wafl::Timestamp{from.before_ctime_ns}};
  }
  return (flags & after) == 0 || decode_attributes(from.after, to.after);
}

constexpr Error kBad{Errc::kCorrupt, "reply cache: a slot makes no sense"};

}  // namespace

ReplySlot encode_reply(const MutationReply& reply) {
  ReplySlot slot;
  slot.flags = kReplyUsed;
  slot.error = reply.error.has_value() ? static_cast<std::uint32_t>(*reply.error) : 0;
  if (reply.object.has_value()) {
    slot.flags |= kReplyObject;
    slot.volume = static_cast<std::uint32_t>(reply.object->volume);
    slot.inode = static_cast<std::uint64_t>(reply.object->inode);
    slot.generation = static_cast<std::uint32_t>(reply.object->generation);
  }
  if (reply.attributes.has_value()) {
    slot.flags |= kReplyAttributes;
    slot.attributes = encode_attributes(*reply.attributes);
  }
  encode_wcc(reply.first, kReplyFirstBefore, kReplyFirstAfter, slot.flags, slot.first);
  encode_wcc(reply.second, kReplySecondBefore, kReplySecondAfter, slot.flags, slot.second);
  return slot;
}

Result<MutationReply> decode_reply(const ReplySlot& slot) {
  MutationReply reply;
  if ((slot.flags & kReplyUsed) == 0 || (slot.flags & ~std::uint32_t{kReplyFlagsAll}) != 0 ||
      slot.error > static_cast<std::uint32_t>(Errc::kClosed)) {
    return kBad;
  }
  if (slot.error != 0) {
    reply.error = static_cast<Errc>(slot.error);
  }
  if ((slot.flags & kReplyObject) != 0) {
    reply.object = {wafl::VolumeId{slot.volume}, wafl::kLive, wafl::InodeNumber{slot.inode},
                    wafl::Generation{slot.generation}};
  }
  if (((slot.flags & kReplyAttributes) != 0 &&
       !decode_attributes(slot.attributes, reply.attributes)) ||
      !decode_wcc(slot.first, slot.flags, kReplyFirstBefore, kReplyFirstAfter, reply.first) ||
      !decode_wcc(slot.second, slot.flags, kReplySecondBefore, kReplySecondAfter, reply.second)) {
    return kBad;
  }
  return reply;
}

void give(const HandleCodec& /*handles*/, const MutationReply& from, WccReply& to) {
  to.error = from.error;
  to.wcc = from.first;
}

void give(const HandleCodec& /*handles*/, const MutationReply& from, WriteReply& to) {
  to.error = from.error;
  to.wcc = from.first;
  to.count = from.count;
}

void give(const HandleCodec& handles, const MutationReply& from, CreateReply& to) {
  to.error = from.error;
  if (from.object.has_value()) {
    to.handle = handles.encode(HandleKind::kObject, *from.object);
  }
  to.attributes = from.attributes;
  to.directory = from.first;
}

void give(const HandleCodec& /*handles*/, const MutationReply& from, RenameReply& to) {
  to.error = from.error;
  to.from = from.first;
  to.to = from.second;
}

void give(const HandleCodec& /*handles*/, const MutationReply& from, LinkReply& to) {
  to.error = from.error;
  to.attributes = from.attributes;
  to.directory = from.first;
}

}  // namespace duet::filer
