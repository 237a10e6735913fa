#include <array>
#include <string>
#include <vector>

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

constexpr std::size_t kPathMax = 1024;  // MNTPATHLEN
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

// The header before a list and its end.
constexpr std::size_t kListFrameBytes = 128;

// What of a list still fits.
class Room {
 public:
  bool take(std::string_view text) {
    const std::size_t bytes = 4 + 4 + text.size() + 3;  // "another follows", length, padding
    left_ = bytes <= left_ ? left_ - bytes : 0;
    return left_ > 0;
  }

 private:
  std::size_t left_ = MountProgram::kListBytesMax - kListFrameBytes;
};

// "//vol0/a/" and "/vol0/a" are one.
std::string normalised(std::string_view path) {
  std::string result;
  for (const char c : path) {
    if (c != '/' || result.empty() || result.back() != '/') {
      result += c;
    }
  }
  if (result.size() > 1 && result.back() == '/') {
    result.pop_back();
  }
  return result.starts_with('/') ? result : "/" + result;
}

// Leaves out what does not fit: the last lines, and the last clients of the last line.
void cut_to_fit(std::vector<filer::ExportLine>& lines) {
  Room room;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!room.take(lines[i].path)) {
      lines.resize(i);
      break;
    }
    std::vector<std::string>& clients = lines[i].clients;
    for (std::size_t k = 0; k < clients.size(); ++k) {
      if (!room.take(clients[k])) {
        clients.resize(k);
        lines.resize(i + 1);
        break;
      }
    }
    room.take("");  // the end of the clients
  }
  lines.shrink_to_fit();
}

}  // namespace

std::size_t MountProgram::reply_bytes(const Call& call) const {
  const auto procedure = static_cast<Procedure>(call.procedure);
  const bool lists = procedure == Procedure::kDump || procedure == Procedure::kExport;
  return lists ? kListBytesMax : 0;
}

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
    list_.add({filer::address_text(call.caller.address), normalised(path)});
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
  std::vector<MountList::Entry> entries;
  Room room;
  for (const MountList::Entry& entry : list_.entries()) {
    if (!room.take(entry.host) || !room.take(entry.path)) {
      break;
    }
    entries.push_back(entry);
  }
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
  list_.remove({filer::address_text(call.caller.address), normalised(path)});
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
  std::vector<filer::ExportLine> lines = filer_.export_lines();
  cut_to_fit(lines);
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
