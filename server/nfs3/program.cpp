#include <algorithm>
#include <array>

#include "nfs3/procedures.h"
#include "server/nfs3.h"

namespace duet::server {

namespace {

struct Row {
  const char* name;
  nfs3::Serve serve;
  // A retry must get the first reply: the filer's reply cache compares the arguments.
  bool remembered = false;
};

constexpr std::array<Row, Nfs3Program::kProcedures> kTable{{
    {"NULL", nfs3::null},
    {"GETATTR", nfs3::getattr},
    {"SETATTR", nfs3::setattr, true},
    {"LOOKUP", nfs3::lookup},
    {"ACCESS", nfs3::access},
    {"READLINK", nfs3::readlink},
    {"READ", nfs3::read},
    {"WRITE", nfs3::write},
    {"CREATE", nfs3::create, true},
    {"MKDIR", nfs3::mkdir, true},
    {"SYMLINK", nfs3::symlink, true},
    {"MKNOD", nfs3::mknod, true},
    {"REMOVE", nfs3::remove, true},
    {"RMDIR", nfs3::rmdir, true},
    {"RENAME", nfs3::rename, true},
    {"LINK", nfs3::link, true},
    {"READDIR", nfs3::readdir},
    {"READDIRPLUS", nfs3::readdirplus},
    {"FSSTAT", nfs3::fsstat},
    {"FSINFO", nfs3::fsinfo},
    {"PATHCONF", nfs3::pathconf},
    {"COMMIT", nfs3::commit},
}};

}  // namespace

namespace nfs3 {

Task<AcceptStatus> null(Nfs3Program& /*nfs*/, Call& /*call*/) { co_return AcceptStatus::kSuccess; }

}  // namespace nfs3

Task<AcceptStatus> Nfs3Program::serve(Call& call) {
  const Row& row = kTable[call.procedure];
  if (row.remembered) {
    call.caller.checksum = call.arguments.checksum();
  }
  return row.serve(*this, call);
}

// READ's count, READDIR's count and READDIRPLUS's maxcount are the last argument.
std::size_t Nfs3Program::reply_bytes(const Call& call) const {
  const auto procedure = static_cast<nfs3::Procedure>(call.procedure);
  if (procedure == nfs3::Procedure::kRead || procedure == nfs3::Procedure::kReaddir ||
      procedure == nfs3::Procedure::kReaddirplus) {
    return std::min(call.arguments.last_u32(), nfs3::kTransferBytesMax);
  }
  return 0;
}

const char* Nfs3Program::procedure_name(std::uint32_t procedure) {
  DUET_CHECK(procedure < kProcedures);
  return kTable[procedure].name;
}

}  // namespace duet::server
