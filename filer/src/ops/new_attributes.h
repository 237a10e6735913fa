// From what a client asks to be set (sattr3) to what is set.

#pragma once

#include "filer/request.h"
#include "rights.h"
#include "wafl/operations.h"

namespace duet::filer {

// With the server's time where it was asked for.
[[nodiscard]] wafl::AttributeChanges resolve_changes(const SetAttributes& wanted,
                                                     wafl::Timestamp now);

// Of a new object in `directory`: mode, uid and gid are set.  Ids that the caller may not
// give are ignored, as clients send them with every create.
[[nodiscard]] wafl::AttributeChanges changes_of_new(const SetAttributes& wanted,
                                                    const Identity& who,
                                                    const wafl::Attributes& directory,
                                                    wafl::FileType type, wafl::Timestamp now);

}  // namespace duet::filer
