// Call: one operation of a mount, waited for.
//
// As libnfs waits itself in its functions without _async, but for one thing: those give up when a
// server dies just while a connection to it is made again, though the library makes another one
// then (4.0, rpc_service(): an error of the socket that poll() had not told yet).
//
//   Call call(nfs);
//   if (call.wait(nfs_rename_async(nfs, from, to, Call::done, &call)) != 0) ...

#pragma once

#include <nfsc/libnfs.h>

namespace demo {

class Call {
 public:
  // What a read gives is stored at `into`.
  explicit Call(nfs_context* nfs, char* into = nullptr) : nfs_(nfs), into_(into) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Until the end of what was queued; the status, as libnfs's own functions give it.
  int wait(int queued);
  // What an open or a create gave.
  [[nodiscard]] nfsfh* file() const { return file_; }

  static void done(int status, nfs_context* nfs, void* data, void* call);

 private:
  nfs_context* nfs_;
  char* into_;
  nfsfh* file_ = nullptr;
  int status_ = 0;
  bool ended_ = false;
};

}  // namespace demo
