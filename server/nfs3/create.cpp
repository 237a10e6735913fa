// CREATE (3.3.8), MKDIR (3.3.9), SYMLINK (3.3.10), MKNOD (3.3.11).

#include "nfs3/decode.h"
#include "nfs3/procedures.h"

namespace duet::server::nfs3 {

namespace {

constexpr std::uint32_t kCreateModes = 3;  // UNCHECKED, GUARDED, EXCLUSIVE

// What reading the arguments came to, besides the request itself.
enum class Verdict : std::uint8_t { kGarbage, kInvalid, kBadType, kGood };

Verdict verdict_of(const XdrReader& in, bool possible) {
  if (!in.ok()) {
    return Verdict::kGarbage;
  }
  return possible ? Verdict::kGood : Verdict::kInvalid;
}

// REQUIRES: verdict is neither kGood nor kGarbage.
void refuse(Call& call, Verdict verdict) {
  write_refusal(call, verdict == Verdict::kBadType ? Nfsstat::kBadtype : Nfsstat::kInval);
  write_wcc(call.reply, {});
}

Verdict read_create(XdrReader& in, filer::CreateRequest& request) {
  request.directory = read_handle(in);
  request.name = read_name(in);
  request.mode = static_cast<filer::CreateMode>(in.enumeration(kCreateModes));
  if (request.mode == filer::CreateMode::kExclusive) {
    request.verifier = in.u64();
    return verdict_of(in, true);
  }
  return verdict_of(in, read_attributes(in, request.attributes));
}

Verdict read_mkdir(XdrReader& in, filer::MakeRequest& request) {
  request.type = wafl::FileType::kDirectory;
  request.directory = read_handle(in);
  request.name = read_name(in);
  return verdict_of(in, read_attributes(in, request.attributes));
}

Verdict read_symlink(XdrReader& in, filer::MakeRequest& request) {
  request.type = wafl::FileType::kSymlink;
  request.directory = read_handle(in);
  request.name = read_name(in);
  const bool possible = read_attributes(in, request.attributes);
  request.target = in.string_prefix(kTargetKept);
  return verdict_of(in, possible);
}

// kFree: no type that MKNOD makes.
wafl::FileType node_type(std::uint32_t type) {
  switch (static_cast<Ftype>(type)) {
    case Ftype::kBlk:
      return wafl::FileType::kBlockDevice;
    case Ftype::kChr:
      return wafl::FileType::kCharacterDevice;
    case Ftype::kSock:
      return wafl::FileType::kSocket;
    case Ftype::kFifo:
      return wafl::FileType::kFifo;
    case Ftype::kReg:
    case Ftype::kDir:
    case Ftype::kLnk:
    default:
      return wafl::FileType::kFree;
  }
}

Verdict read_mknod(XdrReader& in, filer::MakeRequest& request) {
  request.directory = read_handle(in);
  request.name = read_name(in);
  request.type = node_type(in.u32());
  if (request.type == wafl::FileType::kFree) {
    return in.ok() ? Verdict::kBadType : Verdict::kGarbage;
  }
  const bool possible = read_attributes(in, request.attributes);
  if (request.type == wafl::FileType::kBlockDevice ||
      request.type == wafl::FileType::kCharacterDevice) {
    request.device.major = in.u32();
    request.device.minor = in.u32();
  }
  return verdict_of(in, possible);
}

AcceptStatus write_created(Call& call, const filer::CreateReply& reply) {
  if (must_not_answer(reply.error)) {
    return AcceptStatus::kNoReply;
  }
  if (write_outcome(call, reply.error)) {
    write_post_handle(call.reply, reply.handle);
    write_post(call.reply, reply.attributes);
  }
  write_wcc(call.reply, reply.directory);
  return AcceptStatus::kSuccess;
}

// MKDIR, SYMLINK and MKNOD once their arguments are read.
Task<AcceptStatus> make(Nfs3Program& nfs, Call& call, filer::MakeRequest request, Verdict verdict) {
  if (verdict == Verdict::kGarbage) {
    co_return AcceptStatus::kGarbageArguments;
  }
  if (verdict != Verdict::kGood) {
    refuse(call, verdict);
    co_return AcceptStatus::kSuccess;
  }
  co_await to_filer(nfs.crossing());
  const filer::CreateReply reply = co_await nfs.filer().make(call.caller, request);
  co_await from_filer(nfs.crossing());
  co_return write_created(call, reply);
}

}  // namespace

Task<AcceptStatus> create(Nfs3Program& nfs, Call& call) {
  filer::CreateRequest request;
  const Verdict verdict = read_create(call.arguments, request);
  if (verdict == Verdict::kGarbage) {
    co_return AcceptStatus::kGarbageArguments;
  }
  if (verdict != Verdict::kGood) {
    refuse(call, verdict);
    co_return AcceptStatus::kSuccess;
  }
  co_await to_filer(nfs.crossing());
  const filer::CreateReply reply = co_await nfs.filer().create(call.caller, request);
  co_await from_filer(nfs.crossing());
  co_return write_created(call, reply);
}

Task<AcceptStatus> mkdir(Nfs3Program& nfs, Call& call) {
  filer::MakeRequest request;
  const Verdict verdict = read_mkdir(call.arguments, request);
  return make(nfs, call, request, verdict);
}

Task<AcceptStatus> symlink(Nfs3Program& nfs, Call& call) {
  filer::MakeRequest request;
  const Verdict verdict = read_symlink(call.arguments, request);
  return make(nfs, call, request, verdict);
}

Task<AcceptStatus> mknod(Nfs3Program& nfs, Call& call) {
  filer::MakeRequest request;
  const Verdict verdict = read_mknod(call.arguments, request);
  return make(nfs, call, request, verdict);
}

}  // namespace duet::server::nfs3
