#include "nfs_wire.h"

#include <array>
#include <cstring>
#include <utility>

namespace duet::world {

namespace {

using wafl::FileType;

class Writer {
 public:
  std::string out;
  void u32(std::uint64_t value) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      out.push_back(static_cast<char>(value >> shift & 0xFFU));
    }
  }
  void u64(std::uint64_t value) {
    u32(value >> 32U);
    u32(value & 0xFFFF'FFFFU);
  }
  void opaque(std::string_view bytes) {
    u32(bytes.size());
    out += bytes;
    out.append((4 - bytes.size() % 4) % 4, '\0');
  }
  void optional(const std::optional<std::uint32_t>& value) {
    u32(value.has_value() ? 1 : 0);
    if (value.has_value()) {
      u32(*value);
    }
  }
  void time(wafl::Timestamp time) {
    const auto ns = static_cast<std::uint64_t>(time);
    u32(ns / 1'000'000'000);
    u32(ns % 1'000'000'000);
  }
  void set_time(filer::SetTime how, wafl::Timestamp to) {
    u32(static_cast<std::uint64_t>(how));
    if (how == filer::SetTime::kClientTime) {
      time(to);
    }
  }
  void attributes(const filer::SetAttributes& changes) {
    optional(changes.mode);
    optional(changes.uid);
    optional(changes.gid);
    u32(changes.size_bytes.has_value() ? 1 : 0);
    if (changes.size_bytes.has_value()) {
      u64(*changes.size_bytes);
    }
    set_time(changes.set_atime, changes.atime);
    set_time(changes.set_mtime, changes.mtime);
  }
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && left_.empty(); }
  void fail() { ok_ = false; }
  std::uint32_t u32() {
    if (left_.size() < 4) {
      ok_ = false;
      return 0;
    }
    const std::uint32_t value = load_big(left_);
    left_.remove_prefix(4);
    return value;
  }
  std::uint64_t u64() {
    const std::uint64_t high = u32();
    return (high << 32U) | u32();
  }
  bool boolean() {
    const std::uint32_t value = u32();
    ok_ = ok_ && value <= 1;
    return value == 1;
  }
  std::string opaque() {
    const std::uint32_t bytes = u32();
    const std::size_t padded = (std::size_t{bytes} + 3) / 4 * 4;
    if (left_.size() < padded) {
      ok_ = false;
      return {};
    }
    const std::string value(left_.substr(0, bytes));
    ok_ = ok_ && left_.substr(bytes, padded - bytes).find_first_not_of('\0') ==
                     std::string_view::npos;
    left_.remove_prefix(padded);
    return value;
  }
  wafl::Timestamp time() {
    const std::int64_t seconds = u32();
    const std::int64_t nanoseconds = u32();
    ok_ = ok_ && nanoseconds < 1'000'000'000;
    return wafl::Timestamp{seconds * 1'000'000'000 + nanoseconds};
  }
  filer::FileAttributes attributes() {
    static constexpr std::array<FileType, 8> kTypes{
        FileType::kFree,    FileType::kRegular, FileType::kDirectory, FileType::kBlockDevice,
        FileType::kCharacterDevice, FileType::kSymlink, FileType::kSocket,    FileType::kFifo};
    filer::FileAttributes file;
    wafl::Attributes& a = file.attributes;
    const std::uint32_t type = u32();
    ok_ = ok_ && type >= 1 && type < kTypes.size();
    a.type = ok_ ? kTypes.at(type) : FileType::kFree;
    a.mode = u32();
    a.links = u32();
    a.uid = u32();
    a.gid = u32();
    a.size_bytes = u64();
    a.used_bytes = u64();
    a.device.major = u32();
    a.device.minor = u32();
    file.fsid = u64();
    file.fileid = u64();
    a.atime = time();
    a.mtime = time();
    a.ctime = time();
    return file;
  }
  filer::PostAttributes post() {
    return boolean() ? filer::PostAttributes(attributes()) : std::nullopt;
  }
  filer::WccData wcc() {
    filer::WccData data;
    if (boolean()) {
      filer::PreAttributes& before = data.before.emplace();
      before.size_bytes = u64();
      before.mtime = time();
      before.ctime = time();
    }
    data.after = post();
    return data;
  }
  std::optional<std::string> post_handle() {
    return boolean() ? std::optional(opaque()) : std::nullopt;
  }

 private:
  std::string_view left_;
  bool ok_ = true;
};

std::uint32_t procedure_of(const Operation& operation) {
  switch (operation.kind) {
    case Kind::kGetattr:
      return 1;
    case Kind::kSetattr:
      return 2;
    case Kind::kLookup:
      return 3;
    case Kind::kAccess:
      return 4;
    case Kind::kReadlink:
      return 5;
    case Kind::kRead:
      return 6;
    case Kind::kWrite:
      return 7;
    case Kind::kCreate:
      return 8;
    case Kind::kMake:
      if (operation.type == FileType::kDirectory) {
        return 9;
      }
      return operation.type == FileType::kSymlink ? 10 : 11;
    case Kind::kRemove:
      return 12;
    case Kind::kRmdir:
      return 13;
    case Kind::kRename:
      return 14;
    case Kind::kLink:
      return 15;
    case Kind::kReaddir:
      return operation.plus ? 17 : 16;
    case Kind::kFsstat:
      return 18;
    case Kind::kCommit:
      break;
  }
  return 21;
}

void write_make(Writer& out, const Operation& operation) {
  out.opaque(operation.name);
  if (operation.type == FileType::kDirectory) {
    out.attributes(operation.changes);
    return;
  }
  if (operation.type == FileType::kSymlink) {
    out.attributes(operation.changes);
    out.opaque(operation.name2);
    return;
  }
  static constexpr std::array<std::uint32_t, 8> kNumbers{0, 1, 2, 5, 3, 4, 7, 6};
  out.u32(kNumbers.at(static_cast<std::size_t>(operation.type)));
  out.attributes(operation.changes);
  if (operation.type == FileType::kBlockDevice || operation.type == FileType::kCharacterDevice) {
    out.u32(operation.device.major);
    out.u32(operation.device.minor);
  }
}

void write_create(Writer& out, const Operation& operation) {
  out.opaque(operation.name);
  out.u32(static_cast<std::uint64_t>(operation.mode));
  if (operation.mode == filer::CreateMode::kExclusive) {
    out.u64(operation.verifier);
  } else {
    out.attributes(operation.changes);
  }
}

// All arguments begin with a handle.
void write_arguments(Writer& out, const Operation& operation) {
  out.opaque(operation.handle);
  switch (operation.kind) {
    case Kind::kSetattr:
      out.attributes(operation.changes);
      out.u32(operation.guard.has_value() ? 1 : 0);
      if (operation.guard.has_value()) {
        out.time(*operation.guard);
      }
      break;
    case Kind::kLookup:
    case Kind::kRemove:
    case Kind::kRmdir:
      out.opaque(operation.name);
      break;
    case Kind::kAccess:
      out.u32(operation.wanted);
      break;
    case Kind::kRead:
      out.u64(operation.offset);
      out.u32(operation.count);
      break;
    case Kind::kWrite:
      out.u64(operation.offset);
      out.u32(operation.data.size());
      out.u32(2);  // FILE_SYNC
      out.opaque(operation.data);
      break;
    case Kind::kCreate:
      write_create(out, operation);
      break;
    case Kind::kMake:
      write_make(out, operation);
      break;
    case Kind::kRename:
      out.opaque(operation.name);
      out.opaque(operation.handle2);
      out.opaque(operation.name2);
      break;
    case Kind::kLink:
      out.opaque(operation.handle2);
      out.opaque(operation.name);
      break;
    case Kind::kReaddir:
      out.u64(operation.cookie);
      out.u64(operation.verifier);
      out.u32(operation.bytes_max);
      if (operation.plus) {
        out.u32(operation.reply_bytes_max);
      }
      break;
    case Kind::kCommit:
      out.u64(0);
      out.u32(0);
      break;
    case Kind::kGetattr:
    case Kind::kReadlink:
    case Kind::kFsstat:
      break;
  }
}

// nfsstat3.  False: a number that the RFC does not have.
bool read_status(std::uint32_t status, filer::Failure& failure) {
  static constexpr std::array<std::pair<std::uint32_t, Errc>, 25> kErrors{
      {{1, Errc::kNotOwner},       {2, Errc::kNotFound},       {5, Errc::kIo},
       {13, Errc::kAccess},        {17, Errc::kExists},        {18, Errc::kCrossVolume},
       {20, Errc::kNotDirectory},  {21, Errc::kIsDirectory},   {22, Errc::kInvalid},
       {27, Errc::kFileTooBig},    {28, Errc::kNoSpace},       {30, Errc::kReadOnly},
       {31, Errc::kTooManyLinks},  {63, Errc::kNameTooLong},   {66, Errc::kNotEmpty},
       {69, Errc::kOverLimit},     {70, Errc::kStaleHandle},   {10001, Errc::kBadHandle},
       {10002, Errc::kOutOfSync},  {10003, Errc::kBadCookie},  {10004, Errc::kNotSupported},
       {10005, Errc::kTooSmall},   {10006, Errc::kClosed},     {10007, Errc::kBadType},
       {10008, Errc::kTryAgain}}};
  for (const auto& [number, error] : kErrors) {
    if (number == status) {
      failure = error;
      return true;
    }
  }
  return status == 0;
}

void read_entries(Reader& in, bool plus, Answer& answer) {
  answer.verifier = in.u64();
  while (in.ok() && in.boolean()) {
    filer::ReaddirEntry& entry = answer.entries.emplace_back();
    entry.fileid = in.u64();
    entry.name = in.opaque();
    entry.cookie = in.u64();
    if (plus) {
      entry.attributes = in.post();
      if (const std::optional<std::string> bytes = in.post_handle(); bytes.has_value()) {
        filer::Handle& handle = entry.handle.emplace();
        if (bytes->size() > handle.data.size()) {
          in.fail();
          return;
        }
        handle.size = static_cast<std::uint32_t>(bytes->size());
        std::memcpy(handle.data.data(), bytes->data(), bytes->size());
      }
    }
  }
  answer.end = in.boolean();
}

void read_results(Reader& in, const Operation& operation, bool success, Answer& answer) {
  switch (operation.kind) {
    case Kind::kGetattr:
      if (success) {
        answer.attributes = in.attributes();
      }
      break;
    case Kind::kLookup:
      if (success) {
        answer.handle = in.opaque();
        answer.attributes = in.post();
      }
      answer.directory = in.post();
      break;
    case Kind::kAccess:
      answer.attributes = in.post();
      answer.access = success ? in.u32() : 0;
      break;
    case Kind::kReadlink:
      answer.attributes = in.post();
      answer.data = success ? in.opaque() : std::string();
      break;
    case Kind::kRead:
      answer.attributes = in.post();
      if (success) {
        const std::uint32_t count = in.u32();
        answer.end = in.boolean();
        answer.data = in.opaque();
        if (count != answer.data.size()) {
          in.fail();
        }
      }
      break;
    case Kind::kWrite:
      answer.first = in.wcc();
      if (success) {
        answer.count = in.u32();
        if (in.u32() != 2) {
          in.fail();
        }
        in.u64();
      }
      break;
    case Kind::kCreate:
    case Kind::kMake:
      if (success) {
        answer.handle = in.post_handle();
        answer.attributes = in.post();
      }
      answer.first = in.wcc();
      break;
    case Kind::kSetattr:
    case Kind::kRemove:
    case Kind::kRmdir:
      answer.first = in.wcc();
      break;
    case Kind::kRename:
      answer.first = in.wcc();
      answer.second = in.wcc();
      break;
    case Kind::kLink:
      answer.attributes = in.post();
      answer.first = in.wcc();
      break;
    case Kind::kReaddir:
      answer.directory = in.post();
      if (success) {
        read_entries(in, operation.plus, answer);
      }
      break;
    case Kind::kFsstat:
      answer.attributes = in.post();
      for (int i = 0; success && i < 6; ++i) {
        in.u64();
      }
      if (success) {
        in.u32();
      }
      break;
    case Kind::kCommit:
      answer.first = in.wcc();
      if (success) {
        in.u64();
      }
      break;
  }
}

}  // namespace

std::uint32_t load_big(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = (value << 8U) | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

std::string encode_call(const Operation& operation, std::uint32_t xid) {
  Writer body;
  for (const std::uint32_t word : {xid, 0U, 2U, 100'003U, 3U, procedure_of(operation)}) {
    body.u32(word);
  }
  // AUTH_SYS: stamp, machine name, uid, gid, no more groups.
  for (const std::uint32_t word : {1U, 20U, 0U, 0U, 0U, 0U, 0U}) {
    body.u32(word);
  }
  body.u64(0);  // no verifier
  write_arguments(body, operation);
  // Some records come in two fragments.
  const std::size_t first = xid % 3 == 0 ? body.out.size() / 2 : 0;
  Writer record;
  if (first != 0) {
    record.u32(first);
    record.out.append(body.out, 0, first);
  }
  record.u32(0x8000'0000U | (body.out.size() - first));
  record.out.append(body.out, first);
  return record.out;
}

bool take_reply_header(std::string_view& record, std::uint32_t& xid) {
  constexpr std::size_t kWords = 6;  // xid, REPLY, accepted, verifier (none), success
  if (record.size() < kWords * 4) {
    return false;
  }
  xid = load_big(record);
  static constexpr std::array<std::uint32_t, 5> kWanted{1, 0, 0, 0, 0};
  for (std::size_t i = 0; i < kWanted.size(); ++i) {
    if (load_big(record.substr(4 + 4 * i)) != kWanted.at(i)) {
      return false;
    }
  }
  record.remove_prefix(kWords * 4);
  return true;
}

bool decode_reply(const Operation& operation, std::string_view results, Answer& answer) {
  Reader in(results);
  if (!read_status(in.u32(), answer.error) || !in.ok()) {
    return false;
  }
  read_results(in, operation, !answer.error.has_value(), answer);
  return in.done();
}

}  // namespace duet::world
