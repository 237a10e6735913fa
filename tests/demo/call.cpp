#include "call.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>

namespace demo {

namespace {

constexpr int kPollMs = 100;  // libnfs looks for what has timed out in between

}  // namespace

int Call::wait(int queued) {
  if (queued < 0) {
    return queued;
  }
  while (!ended_) {
    pollfd one{
        .fd = nfs_get_fd(nfs_), .events = static_cast<short>(nfs_which_events(nfs_)), .revents = 0};
    if (poll(&one, 1, kPollMs) < 0 && errno != EINTR) {
      return -errno;
    }
    // What it cannot mend it tells done().
    static_cast<void>(nfs_service(nfs_, one.revents));
  }
  return status_;
}

void Call::done(int status, nfs_context*, void* data, void* call) {
  Call& self = *static_cast<Call*>(call);
  self.status_ = status;
  self.ended_ = true;
  if (status > 0 && self.into_ != nullptr) {
    std::copy_n(static_cast<const char*>(data), status, self.into_);
  } else if (status == 0) {
    self.file_ = static_cast<nfsfh*>(data);
  }
}

}  // namespace demo
