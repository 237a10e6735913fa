// What an operator orders of a redundancy group.
//
// Thread-safety: the strand.

#pragma once

#include <string>

#include "admin/raid_info.h"
#include "groups/managed_group.h"
#include "machine.h"

namespace duet::daemon {

// `group`: the one that the order names; null: there is none of that name, or it is not managed
// here. `open`: gives a disk that the configuration does not list.
Task<admin::RaidOutcome> carry_out(Machine& machine, groups::ManagedGroup* group,
                                   admin::RaidOrder order, groups::ManagedGroup::Opener open);

}  // namespace duet::daemon
