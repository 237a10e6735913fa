#include "os_error.h"

#include <cerrno>
#include <cstring>

namespace duet::os {

namespace {

Errc code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
    case EADDRNOTAVAIL:
      return Errc::kNotFound;
    case EACCES:
    case EPERM:
      return Errc::kAccess;
    case EEXIST:
    case EADDRINUSE:
      return Errc::kExists;
    case EBUSY:
    case ETXTBSY:
      return Errc::kRefused;
    case EBADE:  // the block layer's name for a reservation conflict
      return Errc::kFenced;
    case ENOSPC:
    case EDQUOT:
      return Errc::kNoSpace;
    case EROFS:
      return Errc::kReadOnly;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
      return Errc::kTryAgain;
    default:
      return Errc::kIo;
  }
}

}  // namespace

Error os_error(int error_number) {
  const char* const text = strerrordesc_np(error_number);  // a constant, for ever valid
  return {code_of(error_number), text != nullptr ? text : "unknown system error"};
}

}  // namespace duet::os
