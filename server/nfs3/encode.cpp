#include "nfs3/encode.h"

#include <limits>

namespace duet::server::nfs3 {

namespace {

Ftype ftype(wafl::FileType type) {
  switch (type) {
    case wafl::FileType::kRegular:
      return Ftype::kReg;
    case wafl::FileType::kDirectory:
      return Ftype::kDir;
    case wafl::FileType::kSymlink:
      return Ftype::kLnk;
    case wafl::FileType::kBlockDevice:
      return Ftype::kBlk;
    case wafl::FileType::kCharacterDevice:
      return Ftype::kChr;
    case wafl::FileType::kFifo:
      return Ftype::kFifo;
    case wafl::FileType::kSocket:
      return Ftype::kSock;
    case wafl::FileType::kFree:
      break;
  }
  DUET_CHECK(false);  // the filer shows no free inode
  return Ftype::kReg;
}

}  // namespace

// Seconds are 32 bits without a sign: times outside 1970 .. 2106 become the nearest that fits.
void write_time(XdrWriter& out, wafl::Timestamp time) {
  constexpr std::int64_t kSecondsMax = std::numeric_limits<std::uint32_t>::max();
  const auto since_epoch = static_cast<std::int64_t>(time);
  const std::int64_t seconds = since_epoch / kNanosecondsPerSecond;
  if (since_epoch < 0) {
    out.u64(0);
  } else if (seconds > kSecondsMax) {
    out.u32(static_cast<std::uint32_t>(kSecondsMax));
    out.u32(kNanosecondsPerSecond - 1);
  } else {
    out.u32(static_cast<std::uint32_t>(seconds));
    out.u32(static_cast<std::uint32_t>(since_epoch % kNanosecondsPerSecond));
  }
}

void write_attributes(XdrWriter& out, const filer::FileAttributes& file) {
  const wafl::Attributes& a = file.attributes;
  out.u32(static_cast<std::uint32_t>(ftype(a.type)));
  out.u32(a.mode);
  out.u32(a.links);
  out.u32(a.uid);
  out.u32(a.gid);
  out.u64(a.size_bytes);
  out.u64(a.used_bytes);
  out.u32(a.device.major);
  out.u32(a.device.minor);
  out.u64(file.fsid);
  out.u64(file.fileid);
  write_time(out, a.atime);
  write_time(out, a.mtime);
  write_time(out, a.ctime);
}

void write_post(XdrWriter& out, const filer::PostAttributes& attributes) {
  out.boolean(attributes.has_value());
  if (attributes) {
    write_attributes(out, *attributes);
  }
}

void write_wcc(XdrWriter& out, const filer::WccData& wcc) {
  out.boolean(wcc.before.has_value());
  if (wcc.before) {
    out.u64(wcc.before->size_bytes);
    write_time(out, wcc.before->mtime);
    write_time(out, wcc.before->ctime);
  }
  write_post(out, wcc.after);
}

void write_handle(XdrWriter& out, const filer::Handle& handle) { out.opaque(handle.bytes()); }

void write_post_handle(XdrWriter& out, const std::optional<filer::Handle>& handle) {
  out.boolean(handle.has_value());
  if (handle) {
    write_handle(out, *handle);
  }
}

}  // namespace duet::server::nfs3
