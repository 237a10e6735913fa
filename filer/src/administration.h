// What administrative changes have in common.
//
// Thread-safety: the filer's strand.

#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "platform/task.h"
#include "wafl/volume.h"

namespace duet::filer {

class FilerState;

// Runs `change` in the turn of a freeze; completes when that CP is durable.
// Error: the change's own; kIo, kClosed.
Task<Status> administrate(FilerState& filer, std::function<Status()> change);

// Error: kNotFound; the system volume is not for operators.
Result<wafl::Volume*> find_volume(FilerState& filer, const std::string& name);

wafl::Timestamp take_time(FilerState& filer);

}  // namespace duet::filer
