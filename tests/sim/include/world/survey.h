// Survey: looks at every object of a file system and holds it to a tree.

#pragma once

#include <functional>
#include <string>

#include "platform/task.h"
#include "world/service.h"
#include "world/tree.h"

namespace duet::world {

// Returns the first complaint.  An answer that `excused` says is none ends it without one.
// `tree` learns, and outlives the task, as does `service`.
Task<Complaint> survey(Service& service, Tree& tree, std::function<bool(const Answer&)> excused);

// The handle of a snapshot's root, through the virtual directory.  Empty: refused.
Task<std::string> snapshot_root(Service& service, std::string root, std::string name);

}  // namespace duet::world
