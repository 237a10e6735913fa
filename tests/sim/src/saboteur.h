// Block devices that break their promise.

#pragma once

#include <memory>

#include "world/node.h"

namespace duet::world {

// Null: this sabotage is none of a block device.
std::unique_ptr<BlockDevice> make_saboteur(Sabotage sabotage, sim::SimScheduler& scheduler,
                                           BlockDevice& disk);

}  // namespace duet::world
