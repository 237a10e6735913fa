#include "rpc/message.h"

namespace duet::server {

namespace {

void write_prefix(Call& call, ReplyStatus status) {
  call.reply.reset();
  call.reply.u32(0);  // the record mark: end_reply()
  call.reply.u32(call.xid);
  call.reply.u32(static_cast<std::uint32_t>(MessageType::kReply));
  call.reply.u32(static_cast<std::uint32_t>(status));
}

void write_accepted(Call& call, AcceptStatus status) {
  write_prefix(call, ReplyStatus::kAccepted);
  call.reply.u32(static_cast<std::uint32_t>(AuthFlavor::kNone));
  call.reply.u32(0);
  call.reply.u32(static_cast<std::uint32_t>(status));
}

HeaderVerdict deny_version(Call& call) {
  write_prefix(call, ReplyStatus::kDenied);
  call.reply.u32(static_cast<std::uint32_t>(RejectStatus::kRpcMismatch));
  call.reply.u32(kRpcVersion);
  call.reply.u32(kRpcVersion);
  return HeaderVerdict::kDenied;
}

HeaderVerdict deny(Call& call, AuthStatus why) {
  write_prefix(call, ReplyStatus::kDenied);
  call.reply.u32(static_cast<std::uint32_t>(RejectStatus::kAuthError));
  call.reply.u32(static_cast<std::uint32_t>(why));
  return HeaderVerdict::kDenied;
}

// authsys_parms, RFC 5531 appendix A.
AuthStatus read_sys(XdrReader body, filer::Credentials& credentials) {
  body.u32();  // stamp: arbitrary
  body.opaque(kMachineNameMax);
  credentials.uid = body.u32();
  credentials.gid = body.u32();
  const std::uint32_t groups = body.u32();
  if (groups > filer::Credentials::kGroupsMax) {
    return AuthStatus::kBadCredential;
  }
  credentials.group_count = groups;
  for (std::uint32_t i = 0; i < groups; ++i) {
    credentials.groups[i] = body.u32();
  }
  return body.ok() && body.remaining() == 0 ? AuthStatus::kOk : AuthStatus::kBadCredential;
}

AuthStatus read_credentials(std::uint32_t flavor, ConstBytes body,
                            filer::Credentials& credentials) {
  credentials.anonymous = false;
  switch (static_cast<AuthFlavor>(flavor)) {
    case AuthFlavor::kNone:
      credentials.anonymous = true;
      credentials.uid = credentials.gid = credentials.group_count = 0;
      return AuthStatus::kOk;
    case AuthFlavor::kSys:
      return read_sys(XdrReader(body), credentials);
    case AuthFlavor::kShort:  // we never gave one out: the client shall send all of it
      return AuthStatus::kRejectedCredential;
    default:  // the client should try another flavor
      return AuthStatus::kTooWeak;
  }
}

}  // namespace

HeaderVerdict read_header(Call& call) {
  XdrReader& in = call.arguments;
  call.xid = in.u32();
  const std::uint32_t type = in.u32();
  const std::uint32_t rpc_version = in.u32();
  if (!in.ok() || type != static_cast<std::uint32_t>(MessageType::kCall)) {
    return HeaderVerdict::kNotACall;
  }
  if (rpc_version != kRpcVersion) {
    return deny_version(call);
  }
  call.program = in.u32();
  call.version = in.u32();
  call.procedure = in.u32();
  const std::uint32_t flavor = in.u32();
  if (!in.ok()) {
    return HeaderVerdict::kNotACall;
  }
  const ConstBytes body = in.opaque(kAuthBytesMax);
  if (!in.ok()) {
    return deny(call, AuthStatus::kBadCredential);
  }
  in.u32();  // the verifier's flavor: these credentials have none
  in.opaque(kAuthBytesMax);
  if (!in.ok()) {
    return deny(call, AuthStatus::kBadVerifier);
  }
  call.caller.xid = call.xid;
  call.caller.procedure = call.procedure;
  call.caller.checksum = 0;
  const AuthStatus status = read_credentials(flavor, body, call.caller.credentials);
  return status == AuthStatus::kOk ? HeaderVerdict::kCall : deny(call, status);
}

void begin_reply(Call& call) { write_accepted(call, AcceptStatus::kSuccess); }

void write_error(Call& call, AcceptStatus status) { write_accepted(call, status); }

void write_version_mismatch(Call& call, std::uint32_t low, std::uint32_t high) {
  write_accepted(call, AcceptStatus::kProgramMismatch);
  call.reply.u32(low);
  call.reply.u32(high);
}

void end_reply(Call& call) {
  const auto bytes = static_cast<std::uint32_t>(call.reply.size() - 4);
  store_big32(call.reply.front(), kLastFragment | bytes);
}

}  // namespace duet::server
