// What errno means here.

#pragma once

#include "base/result.h"

namespace duet::os {

// The code for a call that failed with `error_number`; its context is the system's
// own text for it.  kNotFound: no such file or address; kAccess: not permitted;
// kExists: the file or address is taken; kRefused: in use; kFenced: a
// reservation conflict; kNoSpace; kReadOnly; kTryAgain: no descriptors or memory
// left; kIo: anything else.
[[nodiscard]] Error os_error(int error_number);

}  // namespace duet::os
