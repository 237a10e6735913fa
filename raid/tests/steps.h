// What tests of a group do with a world, step by step.

#pragma once

#include <gtest/gtest.h>

#include "world.h"

namespace duet::raid::testing {

inline Status write(World& world, std::size_t node, std::uint64_t block, std::size_t blocks,
                    std::uint64_t value, WriteKind kind = WriteKind::kInPlace) {
  const Buffer buffer = filled(blocks, value);
  const std::array<MutableBytes, 1> parts = {buffer.bytes()};
  return world.run(world.group(node)->write(block, parts, kind));
}
inline ::testing::AssertionResult reads(World& world, std::size_t node, std::uint64_t block,
                                        std::size_t blocks, std::uint64_t value) {
  const Buffer buffer(blocks);
  const std::array<MutableBytes, 1> parts = {buffer.bytes()};
  const Status read = world.run(world.group(node)->read(block, parts));
  if (!read.ok()) {
    return ::testing::AssertionFailure() << read.error().context;
  }
  const Buffer expected = filled(blocks, value);
  if (!same_bytes(buffer.bytes(), expected.bytes())) {
    return ::testing::AssertionFailure() << "other bytes";
  }
  return ::testing::AssertionSuccess();
}
inline void boot_all(World& world) {
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    world.boot(node);
  }
  ASSERT_TRUE(world.run_until([&] {
    for (std::size_t node = 0; node < world.options_.nodes; ++node) {
      if (!world.active(node) || std::popcount(world.group(node)->status().members) !=
                                     static_cast<int>(world.options_.nodes)) {
        return false;
      }
    }
    return true;
  }));
}

inline NodeSet members(World& world, std::size_t node) {
  return world.group(node)->status().members;
}
inline void run_turns(World& world, std::uint64_t turns) {
  ASSERT_TRUE(world.scheduler.run_until([&turns] { return turns-- == 0; }));
}
// A write that need not end while the test looks on.
inline void begin_write(World& world, std::size_t node, std::uint64_t block, std::size_t blocks,
                        std::uint64_t value, std::shared_ptr<bool> answered) {
  const auto task = [](Group& group, std::uint64_t first, Buffer buffer,
                       std::shared_ptr<bool> done) -> Task<void> {
    const std::array<MutableBytes, 1> parts = {buffer.bytes()};
    const Status written = co_await group.write(first, parts, WriteKind::kInPlace);
    *done = written.ok();
  };
  world.processes[node]->scope.spawn(
      task(*world.group(node), block, filled(blocks, value), std::move(answered)));
}

// How far an expansion is, as each node sees it.
inline std::string what(World& world) {
  std::string text;
  for (std::size_t node = 0; node < world.options_.nodes; ++node) {
    text += "\n  node " + std::to_string(node);
    if (world.group(node) == nullptr) {
      continue;
    }
    const GroupStatus s = world.group(node)->status();
    text += " active " + std::to_string(s.active) + " view " +
            std::to_string(static_cast<std::uint64_t>(s.view)) + " members " +
            std::to_string(s.members) + " intents " + std::to_string(s.intents) + " label " +
            std::to_string(s.label.sequence) + " expanded " + std::to_string(s.label.expanded) +
            " of " + std::to_string(s.label.disks_before) + " to " + std::to_string(s.label.disks) +
            " waits " + std::to_string(s.expansion.waits);
    for (std::uint32_t i = 0; i < s.label.disks; ++i) {
      text += "ifr"[s.label.members[i].state - 1];
    }
    if (s.expansion.trouble.has_value()) {
      text += " trouble " + std::string(s.expansion.trouble->context);
    }
  }
  return text;
}

}  // namespace duet::raid::testing
