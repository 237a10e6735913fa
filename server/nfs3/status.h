// From the system's errors to NFSv3's: the one place.

#pragma once

#include "base/result.h"
#include "filer/request.h"
#include "nfs3/nfs3_format.h"

namespace duet::server::nfs3 {

[[nodiscard]] Nfsstat status_of(Errc error);

// No answer would be true: another node owns the filer now, or it is closing.
[[nodiscard]] inline bool must_not_answer(const filer::Failure& failure) {
  return failure == Errc::kFenced || failure == Errc::kClosed;
}

}  // namespace duet::server::nfs3
