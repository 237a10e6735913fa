// Pair: what the stories of the simulated pair begin with, and ask.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "world.h"

namespace duet::pair {

using namespace std::chrono_literals;

class Pair : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  explicit Pair(const WorldOptions& options = drawn()) : world(options) {}
  // What differs from seed to seed.
  static WorldOptions drawn() {
    return {.seed = GetParam(),
            .one_sided = GetParam() % 2 == 0,
            .drift_ppm = static_cast<std::int64_t>(GetParam() % 5) * 5000 - 10000,
            .arbitration = GetParam() % 2 == 0 ? 5U : GetParam() % kDisks};
  }
  ~Pair() override {
    EXPECT_EQ(world.oracle.complaint(), "");
    if (HasFailure()) {
      std::printf("seed %llu\n", static_cast<unsigned long long>(GetParam()));
      for (const auto& [what, count] : world.steps) {
        std::printf("  %s: %llu\n", what.c_str(), static_cast<unsigned long long>(count));
      }
      for (const auto& [what, count] : world.events) {
        std::printf("  ! %s: %llu\n", what.c_str(), static_cast<unsigned long long>(count));
      }
    }
  }
  // Both up, each serves its own, both logs mirrored.
  void begin() {
    world.boot(0);
    world.boot(1);
    ASSERT_TRUE(world.run_until([this] { return served(0, 0) && served(1, 1); }, 10s));
    ASSERT_TRUE(world.run_until([this] { return world.synced(0) && world.synced(1); }, 10s));
    world.run_for(500ms);
  }
  [[nodiscard]] bool served(std::uint32_t filer, int node) {
    return world.answering(filer) == node;
  }
  [[nodiscard]] bool soon(std::uint32_t filer, int node, Duration limit = 10s) {
    return world.run_until([&] { return served(filer, node); }, limit);
  }
  // A disk that holds neither beats nor the record, if need be by moving the record.
  [[nodiscard]] std::size_t free_disk() { return world.record_disk() == 2 ? 5 : 2; }
  [[nodiscard]] bool start_replacement(std::uint32_t node, std::size_t from, std::size_t to) {
    return world.run_until([&] { return world.pair(node).start_replacement(from, to).ok(); }, 5s);
  }
  void replace(std::uint32_t node, std::size_t from, std::size_t to) {
    const std::uint64_t before = world.pair(node).status().replacements;
    ASSERT_TRUE(start_replacement(node, from, to));
    ASSERT_TRUE(
        world.run_until([&] { return world.pair(node).status().replacements != before; }, 10s));
    ASSERT_EQ(world.pair(node).status().replacement_error, "");
  }
  [[nodiscard]] bool moved_to(std::size_t disk) {
    return world.run_until(
        [&] {
          return world.record_disk() == disk && world.pair(0).status().arbitration == disk &&
                 world.pair(1).status().arbitration == disk;
        },
        10s);
  }
  [[nodiscard]] bool takeover_veto(std::uint32_t node, std::string_view words) {
    const auto vetoes = world.pair(node).takeover_vetoes();
    return std::ranges::any_of(vetoes, [words](const failover::Veto& veto) {
      return veto.reason.find(words) != std::string_view::npos;
    });
  }
  // A disk fails for both nodes; a record that stood on it has moved.
  void lose_disk(std::size_t disk) {
    if (world.record_disk() == disk) {
      const std::size_t to = disk == 2 ? 5 : 2;
      ASSERT_TRUE(world.run_until([&] { return world.pair(0).start_move(to).ok(); }, 5s));
      ASSERT_TRUE(moved_to(to));
    }
    world.cut(disk);
  }
  [[nodiscard]] bool entered(std::uint32_t node) {
    return world.process(node) != nullptr && world.pair(node).status().entered;
  }
  [[nodiscard]] bool enters(std::uint32_t node, Duration limit = 10s) {
    return world.run_until([&] { return entered(node); }, limit);
  }
  [[nodiscard]] bool hands_over(std::uint32_t filer, std::uint32_t from) {
    const auto possible = [&] {
      const auto vetoes = world.pair(from).handover_vetoes(filer);
      return std::ranges::none_of(vetoes, &failover::Veto::hard);
    };
    return world.run_until(possible, 10s) && world.pair(from).start_handover(filer).ok() &&
           soon(filer, static_cast<int>(1 - from), 5s);
  }
  [[nodiscard]] bool all_well() {
    return world.run_until(
        [&] {
          return world.process(0) != nullptr && world.process(1) != nullptr && entered(0) &&
                 entered(1) && world.answering(0) >= 0 && world.answering(1) >= 0 &&
                 world.synced(0) && world.synced(1) &&
                 world.pair(0).status().arbitration == world.record_disk() &&
                 world.pair(1).status().arbitration == world.record_disk() &&
                 !world.pair(0).status().moving && !world.pair(1).status().moving;
        },
        60s);
  }
  World world;
};

}  // namespace duet::pair
