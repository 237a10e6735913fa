// The procedures, each in the file of its family.
//
// Every one: read the arguments (GARBAGE_ARGS if they are none), to the filer's strand, ask, back,
// write the results of RFC 1813 section 3.3, the failed case's too.
//
// Thread-safety: the reactor's thread.

#pragma once

#include "nfs3/encode.h"
#include "nfs3/status.h"
#include "server/call.h"
#include "server/nfs3.h"

namespace duet::server::nfs3 {

using Serve = Task<AcceptStatus> (*)(Nfs3Program& nfs, Call& call);

Task<AcceptStatus> null(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> getattr(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> setattr(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> lookup(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> access(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> readlink(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> read(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> write(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> create(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> mkdir(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> symlink(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> mknod(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> remove(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> rmdir(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> rename(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> link(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> readdir(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> readdirplus(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> fsstat(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> fsinfo(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> pathconf(Nfs3Program& nfs, Call& call);
Task<AcceptStatus> commit(Nfs3Program& nfs, Call& call);

// Writes the status of a reply.  True: success follows.
inline bool write_outcome(Call& call, const filer::Failure& failure) {
  call.failed = failure.has_value();
  write_status(call.reply, failure ? status_of(*failure) : Nfsstat::kOk);
  return !failure;
}
// A status that the filer was not asked for.
inline void write_refusal(Call& call, Nfsstat status) {
  call.failed = true;
  write_status(call.reply, status);
}

}  // namespace duet::server::nfs3
