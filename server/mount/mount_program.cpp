#include <array>

#include "filer/exports.h"
#include "server/mount.h"

namespace duet::server {

namespace {

enum class Procedure : std::uint32_t { kNull = 0, kMnt, kDump, kUmnt, kUmntall, kExport };

// mountstat3.
enum class Mountstat : std::uint32_t {
  kOk = 0,
  kPerm = 1,
  kNoent = 2,
  kIo = 5,
  kAcces = 13,
  kNotdir = 20,
  kInval = 22,
  kNametoolong = 63,
  kNotsupp = 10004,
  kServerfault = 10006,
};

constexpr std::size_t kPathMax = 1024;   // MNTPATHLEN
constexpr std::uint32_t kVersion3 = 3;

Mountstat status_of(Errc error) {
  static constexpr std::array<std::pair<Errc, Mountstat>, 9> kTable{{
      {Errc::kNotFound, Mountstat::kNoent},
      {Errc::kAccess, Mountstat::kAcces},
      {Errc::kNotOwner, Mountstat::kPerm},
      {Errc::kNotDirectory, Mountstat::kNotdir},
      {Errc::kInvalid, Mountstat::kInval},
      {Errc::kNameTooLong, Mountstat::kNametoolong},
      {Errc::kNotSupported, Mountstat::kNotsupp},
      {Errc::kIo, Mountstat::kIo},
      {Errc::kCorrupt, Mountstat::kIo},
  }};
  for (const auto& [from, to] : kTable) {
    if (from == error) {
      return to;
    }
  }
  return Mountstat::kServerfault;
}

void write_status(Call& call, Mountstat status) {
  call.failed = status != Mountstat::kOk;
  call.reply.u32(static_cast<std::uint32_t>(status));
}

Task<AcceptStatus> done(AcceptStatus status) { co_return status; }

}  // namespace

Task<AcceptStatus> MountProgram::serve(Call& call) {
  switch (static_cast<Procedure>(call.procedure)) {
    case Procedure::kNull:
      return done(AcceptStatus::kSuccess);
    case Procedure::kMnt:
      // Versions 1 and 2 give handles of NFSv2, which nobody here would take.
      return call.version == kVersion3 ? mount(call) : done(AcceptStatus::kProcedureUnavailable);
    case Procedure::kDump:
      return dump(call);
    case Procedure::kUmnt:
      return unmount(call);
    case Procedure::kUmntall:
      return unmount_all(call);
    case Procedure::kExport:
      return exports(call);
  }
  return done(AcceptStatus::kProcedureUnavailable);
}

Task<AcceptStatus> MountProgram::mount(Call& call) {
  const std::string_view path = call.arguments.string_prefix(kPathMax + 1);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  if (path.size() > kPathMax) {
    write_status(call, Mountstat::kNametoolong);
    co_return AcceptStatus::kSuccess;
  }
  co_await to_filer(crossing_);
  const filer::MountReply reply = co_await filer_.mount(call.caller, path);
  if (!reply.error) {
    list_.add({filer::address_text(call.caller.address), std::string(path)});
  }
  co_await from_filer(crossing_);
  if (reply.error == Errc::kFenced || reply.error == Errc::kClosed) {
    co_return AcceptStatus::kNoReply;
  }
  write_status(call, reply.error ? status_of(*reply.error) : Mountstat::kOk);
  if (!reply.error) {
    call.reply.opaque(reply.handle.bytes());
    call.reply.u32(1);  // one flavor
    call.reply.u32(static_cast<std::uint32_t>(AuthFlavor::kSys));
  }
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> MountProgram::dump(Call& call) {
  co_await to_filer(crossing_);
  const std::deque<MountList::Entry> entries = list_.entries();
  co_await from_filer(crossing_);
  for (const MountList::Entry& entry : entries) {
    call.reply.boolean(true);
    call.reply.string(entry.host);
    call.reply.string(entry.path);
  }
  call.reply.boolean(false);
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> MountProgram::unmount(Call& call) {
  const std::string_view path = call.arguments.string_prefix(kPathMax + 1);
  if (!call.arguments.ok()) {
    co_return AcceptStatus::kGarbageArguments;
  }
  co_await to_filer(crossing_);
  list_.remove({filer::address_text(call.caller.address), std::string(path)});
  co_await from_filer(crossing_);
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> MountProgram::unmount_all(Call& call) {
  co_await to_filer(crossing_);
  list_.remove_host(filer::address_text(call.caller.address));
  co_await from_filer(crossing_);
  co_return AcceptStatus::kSuccess;
}

Task<AcceptStatus> MountProgram::exports(Call& call) {
  co_await to_filer(crossing_);
  const std::vector<filer::ExportLine> lines = filer_.export_lines();
  co_await from_filer(crossing_);
  for (const filer::ExportLine& line : lines) {
    call.reply.boolean(true);
    call.reply.string(line.path);
    for (const std::string& client : line.clients) {
      call.reply.boolean(true);
      call.reply.string(client);
    }
    call.reply.boolean(false);
  }
  call.reply.boolean(false);
  co_return AcceptStatus::kSuccess;
}

}  // namespace duet::server
