#include "nfs3/decode.h"

#include "nfs3/nfs3_format.h"

namespace duet::server::nfs3 {

namespace {

std::optional<std::uint32_t> read_optional(XdrReader& in) {
  if (!in.boolean()) {
    return std::nullopt;
  }
  return in.u32();
}

constexpr std::uint32_t kTimeHows = 3;  // DONT_CHANGE, SET_TO_SERVER_TIME, SET_TO_CLIENT_TIME

bool read_set_time(XdrReader& in, filer::SetTime& how, wafl::Timestamp& time) {
  how = static_cast<filer::SetTime>(in.enumeration(kTimeHows));
  return how != filer::SetTime::kClientTime || read_time(in, time);
}

}  // namespace

ConstBytes read_handle(XdrReader& in) { return in.opaque(filer::kHandleBytesMax); }

std::string_view read_name(XdrReader& in) { return in.string_prefix(kNameKept); }

filer::NameRequest read_name_in(XdrReader& in) {
  filer::NameRequest request;
  request.directory = read_handle(in);
  request.name = read_name(in);
  return request;
}

bool read_time(XdrReader& in, wafl::Timestamp& time) {
  const std::uint32_t seconds = in.u32();
  const std::uint32_t nanoseconds = in.u32();
  time = wafl::Timestamp{std::int64_t{seconds} * kNanosecondsPerSecond + nanoseconds};
  return nanoseconds < kNanosecondsPerSecond;
}

bool read_attributes(XdrReader& in, filer::SetAttributes& changes) {
  changes.mode = read_optional(in);
  changes.uid = read_optional(in);
  changes.gid = read_optional(in);
  if (in.boolean()) {
    changes.size_bytes = in.u64();
  }
  const bool atime = read_set_time(in, changes.set_atime, changes.atime);
  const bool mtime = read_set_time(in, changes.set_mtime, changes.mtime);
  return atime && mtime;
}

}  // namespace duet::server::nfs3
