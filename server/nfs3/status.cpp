#include "nfs3/status.h"

namespace duet::server::nfs3 {

Nfsstat status_of(Errc error) {
  switch (error) {
    case Errc::kNotFound:
      return Nfsstat::kNoent;
    case Errc::kExists:
      return Nfsstat::kExist;
    case Errc::kNotDirectory:
      return Nfsstat::kNotdir;
    case Errc::kIsDirectory:
      return Nfsstat::kIsdir;
    case Errc::kNotEmpty:
      return Nfsstat::kNotempty;
    case Errc::kAccess:
      return Nfsstat::kAcces;
    case Errc::kNotOwner:
      return Nfsstat::kPerm;
    case Errc::kReadOnly:
      return Nfsstat::kRofs;
    case Errc::kNameTooLong:
      return Nfsstat::kNametoolong;
    case Errc::kInvalid:
    case Errc::kBadType:  // RFC 1813: READ and WRITE of, READLINK on, another type are INVAL
      return Nfsstat::kInval;
    case Errc::kFileTooBig:
      return Nfsstat::kFbig;
    case Errc::kTooManyLinks:
      return Nfsstat::kMlink;
    case Errc::kNoSpace:
    case Errc::kOverLimit:  // FSSTAT shows the limit as the size: it is full, nobody's quota is
      return Nfsstat::kNospc;
    case Errc::kStaleHandle:
      return Nfsstat::kStale;
    case Errc::kBadHandle:
      return Nfsstat::kBadhandle;
    case Errc::kBadCookie:
      return Nfsstat::kBadCookie;
    case Errc::kTooSmall:
      return Nfsstat::kToosmall;
    case Errc::kCrossVolume:
      return Nfsstat::kXdev;
    case Errc::kNotSupported:
      return Nfsstat::kNotsupp;
    case Errc::kOutOfSync:
      return Nfsstat::kNotSync;
    case Errc::kTryAgain:
      return Nfsstat::kJukebox;
    case Errc::kIo:
    case Errc::kCorrupt:
      return Nfsstat::kIo;
    case Errc::kMiss:  // none of these reaches a client
    case Errc::kFenced:
    case Errc::kRefused:
    case Errc::kForeign:
    case Errc::kClosed:
      break;
  }
  return Nfsstat::kServerfault;
}

}  // namespace duet::server::nfs3
