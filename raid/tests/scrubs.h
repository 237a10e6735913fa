// What tests of scrubs have in common.

#pragma once

#include "model.h"
#include "steps.h"

namespace duet::raid::testing {

inline constexpr Geometry kSingle = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 2, .stripes = 24};
inline constexpr Geometry kDouble = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 2, .stripes = 24};
inline constexpr Geometry kThree = {
    .level = Level::kMirror, .disks = 3, .chunk_blocks = 2, .stripes = 24};
inline constexpr Geometry kTwo = {
    .level = Level::kMirror, .disks = 2, .chunk_blocks = 2, .stripes = 24};

// Turns a bit of one cell, on its disk.
inline void turn_a_bit(World& world, std::uint64_t stripe, std::uint32_t column,
                       std::uint32_t row) {
  const Geometry& g = world.options_.geometry;
  world.disks[g.disk_of(Stripe{stripe}, column)]->flip_bit(g.disk_block(Stripe{stripe}, row),
                                                           100 + row, 3);
}
// One cell, at all nodes, until it is written.
inline void make_unreadable(World& world, std::uint64_t stripe, std::uint32_t column,
                            std::uint32_t row) {
  const Geometry& g = world.options_.geometry;
  for (const auto& process : world.processes) {
    process->connections.faulty[g.disk_of(Stripe{stripe}, column)]->arm(
        {.fault = sim::Fault::kReadError,
         .block = g.disk_block(Stripe{stripe}, row),
         .until_written = true});
  }
}
inline bool scrub_is_over(World& world, std::size_t node) {
  const ScrubStatus scrub = world.group(node)->status().scrub;
  return !scrub.running && scrub.done == scrub.stripes;
}
inline ScrubStatus scrubbed(World& world, std::size_t node, ScrubKind kind = ScrubKind::kCompare) {
  EXPECT_TRUE(world.group(node)->start_scrub(kind).ok());
  EXPECT_TRUE(world.run_until([&] {
    for (std::size_t other = 0; other < world.options_.nodes; ++other) {
      if (world.alive(other) && !scrub_is_over(world, other)) {
        return false;
      }
    }
    return true;
  })) << "the scrub does not end";
  return world.group(node)->status().scrub;
}
inline void fill_and_flush(World& world, Model& model) {
  boot_all(world);
  model.fill(0);
  ASSERT_TRUE(world.run(world.group(0)->flush()).ok());
}

inline bool in_sync(World& world, std::size_t node, std::uint32_t disk) {
  return static_cast<DiskState>(world.group(node)->status().label.members[disk].state) ==
         DiskState::kInSync;
}

}  // namespace duet::raid::testing
