#include "context.h"

#include "filer_state.h"
#include "snapshot_directory.h"

namespace duet::filer {

Context::Context(FilerState& filer_given, const Caller& caller_given)
    : filer(filer_given), caller(caller_given), attempt(*filer_given.aggregate) {}

Status resolve(Context& context, ConstBytes handle, Target& target) {
  FilerState& filer = context.filer;
  const Result<HandleParts> decoded = filer.handles.decode(handle);
  if (!decoded.ok()) {
    return decoded.error();
  }
  const HandleParts& parts = decoded.value();
  if (filer.held(parts.id.volume)) {
    context.volume_held = true;
    return Error{Errc::kTryAgain, "the volume is being restored or destroyed"};
  }
  target.kind = parts.kind;
  target.volume = filer.aggregate->find_volume(parts.id.volume);
  if (target.volume == nullptr) {
    return Error{Errc::kStaleHandle, "handle: its volume is gone"};
  }
  const Result<ExportRule> rule = find_rule(context, *target.volume);
  if (!rule.ok()) {
    return rule.error();
  }
  target.rule = rule.value();
  if (target.volume->receiving() && parts.id.snapshot == wafl::kLive) {
    context.volume_receiving = true;
    return Error{Errc::kTryAgain, "a snapshot is being received into the volume"};
  }
  Result<wafl::InodeRef> inode = target.volume->find_inode(context.attempt, parts.id);
  if (!inode.ok()) {
    context.saw_administration |= parts.id.snapshot != wafl::kLive;
    return inode.error();
  }
  target.inode = std::move(inode.value());
  return Ok{};
}

Status resolve_writable(Context& context, ConstBytes handle, Target& target) {
  if (Status resolved = resolve(context, handle, target); !resolved.ok()) {
    return resolved;
  }
  if (!target.writable()) {
    return Error{Errc::kReadOnly, "a snapshot, or exported read-only"};
  }
  return Ok{};
}

Identity identify(const Context& context, const Target& target) {
  return identify(context.caller.credentials, target.rule);
}

Result<ExportRule> find_rule(Context& context, const wafl::Volume& volume) {
  constexpr std::uint16_t kFirstOrdinaryPort = 1024;
  FilerState& filer = context.filer;
  const ExportRule* rule = filer.export_cache.find(filer.exports, volume, context.caller.address);
  if (rule == nullptr || (rule->secure_ports && context.caller.port >= kFirstOrdinaryPort)) {
    return Error{Errc::kAccess, "not exported to this client"};
  }
  return *rule;
}

std::uint64_t fsid_of(const wafl::Volume& volume, wafl::SnapshotId snapshot) {
  // Odd factor: different for every snapshot of a volume, and the volume's own for kLive.
  return volume.fsid() ^ (static_cast<std::uint64_t>(snapshot) * 0x9E37'79B9'7F4A'7C15U);
}

FileAttributes file_attributes(const wafl::Inode& inode) {
  return {inode.attributes(), fsid_of(inode.volume(), inode.id().snapshot),
          static_cast<std::uint64_t>(inode.id().inode)};
}

FileAttributes file_attributes(Context& context, const Target& target) {
  return target.virtual_directory() ? snapshot_directory_attributes(context, *target.inode)
                                    : file_attributes(*target.inode);
}

PreAttributes pre_attributes(const wafl::Inode& inode) {
  const wafl::Attributes& attributes = inode.attributes();
  return {attributes.size_bytes, attributes.mtime, attributes.ctime};
}

WccData unchanged(const wafl::Inode& inode) {
  return {pre_attributes(inode), file_attributes(inode)};
}

Handle handle_of(const Context& context, const wafl::Inode& inode) {
  return context.filer.handles.encode(HandleKind::kObject, inode.id());
}

}  // namespace duet::filer
