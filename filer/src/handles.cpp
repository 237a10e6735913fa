#include "handles.h"

#include <cstring>

namespace duet::filer {

namespace {

std::uint64_t mac_of(const SipKey& key, const HandleBytes& bytes) {
  return siphash24(key, bytes_of(bytes).first(offsetof(HandleBytes, mac)));
}

constexpr Error kForged{Errc::kBadHandle, "handle: not one of ours"};
// Whole, but under another key: most likely of this filer before a forced takeover or a new
// format.  Clients know what to do about "stale"; of "bad handle" Linux makes an unknown error.
constexpr Error kOtherKey{Errc::kStaleHandle, "handle: of another filer, or of its older self"};

}  // namespace

Handle HandleCodec::encode(HandleKind kind, const wafl::FileId& id) const {
  HandleBytes bytes;
  bytes.kind = static_cast<std::uint8_t>(kind);
  bytes.filer = filer_;
  bytes.volume = static_cast<std::uint32_t>(id.volume);
  bytes.snapshot = static_cast<std::uint32_t>(id.snapshot);
  bytes.inode = static_cast<std::uint64_t>(id.inode);
  bytes.generation = static_cast<std::uint32_t>(id.generation);
  bytes.mac = mac_of(key_, bytes);
  Handle handle;
  handle.size = sizeof(bytes);
  std::memcpy(handle.data.data(), &bytes, sizeof(bytes));
  return handle;
}

Result<HandleParts> HandleCodec::decode(ConstBytes handle) const {
  if (handle.size() != sizeof(HandleBytes)) {
    return kForged;
  }
  const auto bytes = load<HandleBytes>(handle, 0);
  if (bytes.version != kHandleVersion) {
    return kForged;
  }
  if (bytes.mac != mac_of(key_, bytes)) {
    return kOtherKey;
  }
  const auto kind = static_cast<HandleKind>(bytes.kind);
  if ((kind != HandleKind::kObject && kind != HandleKind::kSnapshotDirectory) ||
      bytes.volume == static_cast<std::uint32_t>(wafl::kSystemVolume)) {
    return kForged;
  }
  if (bytes.filer != filer_) {
    return Error{Errc::kStaleHandle, "handle: of another filer"};
  }
  return HandleParts{kind,
                     {wafl::VolumeId{bytes.volume}, wafl::SnapshotId{bytes.snapshot},
                      wafl::InodeNumber{bytes.inode}, wafl::Generation{bytes.generation}}};
}

}  // namespace duet::filer
