// What the mailbox's tests share: up to three disks of a shelf, one or two nodes at them.

#pragma once

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "mailbox/members.h"
#include "platform/clock.h"
#include "platform/task_scope.h"
#include "shelf/fence.h"
#include "shelf/label_format.h"
#include "shelf/testing/sim_target.h"

namespace duet::mailbox::testing {

using namespace std::chrono_literals;

inline constexpr std::array<std::uint64_t, 2> kPair{0x0706'0504'0302'0100, 0x0F0E'0D0C'0B0A'0908};

class SimBootClock final : public BootClock {
 public:
  explicit SimBootClock(const Scheduler& scheduler) : scheduler_(scheduler) {}
  [[nodiscard]] Instant now() const override { return scheduler_.now() + offset; }
  Duration offset{};

 private:
  const Scheduler& scheduler_;
};

template <typename T>
Task<void> store_result(Task<T> task, std::optional<T>& into) {
  into = co_await std::move(task);
}

class World : public ::testing::Test {
 protected:
  struct Disk {
    Disk(sim::SimScheduler& scheduler, int number, const shelf::testing::SimTargetOptions& options)
        : data("d" + std::to_string(number), 256),
          label("l" + std::to_string(number), shelf::kLabelBlocks),
          path_a(scheduler),
          path_b(scheduler),
          target(scheduler, data, label, options) {}
    sim::SimDisk data;
    sim::SimDisk label;
    shelf::testing::SimPath path_a;
    shelf::testing::SimPath path_b;
    shelf::testing::SimTarget target;
  };

  explicit World(std::uint64_t seed = 1) : scheduler(seed), clock(scheduler) {
    for (int i = 0; i < 3; ++i) {
      disks.emplace_back(scheduler, i,
                         shelf::testing::SimTargetOptions{.late_one_in = 0, .slow_one_in = 0});
    }
  }

  Disk& disk(std::size_t i) { return *std::next(disks.begin(), static_cast<std::ptrdiff_t>(i)); }

  // The connections of a process; registered.
  MemberDisks connect(Node node, std::uint64_t incarnation, std::size_t count) {
    MemberDisks result;
    for (std::size_t i = 0; i < count; ++i) {
      Disk& d = disk(i);
      connections.push_back(d.target.connect(node == Node::kA ? d.path_a : d.path_b,
                                             shelf::make_key(index_of(node), incarnation)));
      result.push_back(connections.back().get());
      const Status joined =
          run(shelf::join_disk(*result.back(), shelf::Reservation::kWriteExclusive));
      EXPECT_TRUE(joined.ok()) << joined.error().context;
    }
    return result;
  }
  static Writer writer(Node node, std::uint64_t incarnation) {
    return {kPair, node, Incarnation{incarnation}};
  }

  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    TaskScope scope(scheduler);
    scope.spawn(store_result(std::move(task), result));
    DUET_CHECK(scheduler.run_until([&] { return result.has_value(); }, 10'000'000));
    DUET_CHECK(result.has_value());
    return std::move(*result);
  }
  void pass(Duration time) { ASSERT_TRUE(scheduler.run_for(time, 10'000'000)); }

  sim::SimScheduler scheduler;
  SimBootClock clock;
  std::list<Disk> disks;
  std::list<std::unique_ptr<shelf::SharedDisk>> connections;
};

}  // namespace duet::mailbox::testing
