// Power loss at every store and persist, with every subset of the unpersisted lines, against
// a model; then again while what was recovered starts anew.
//
// Checked are the header's invariants: (1) what durable() reached is found, (2) in order and
// without gaps, (3) as long as no root covers it.

#include <gtest/gtest.h>

#include "log_fixture.h"
#include "sim/random.h"

namespace duet::nvlog::testing {
namespace {

// A filer reduced to what the log sees of it.
class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed), scheduler_(seed), memory_(small_region()) {
    root_ = {.epoch = 1, .last = Sequence{0}, .log_empty = true};
    open();
    memory_.on_step = [this] { crash_here(); };
  }

  void run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      one_operation();
      crash_here();  // with the roots that no store follows
    }
  }

  [[nodiscard]] std::uint64_t images() const { return images_; }

 private:
  void one_operation() {
    switch (random_.below(8)) {
      case 0:
        if (log_->can_switch()) {
          freeze_ = log_->switch_half();
          frozen_ = true;
        }
        break;
      case 1:
        if (frozen_) {  // the CP's root is durable
          root_.last = freeze_;
          covered_ = true;
        }
        break;
      case 2:
        if (frozen_ && covered_) {
          ASSERT_TRUE(log_->release(freeze_).ok());
          frozen_ = covered_ = false;
        }
        break;
      case 3:
        if (random_.one_in(3)) {
          open();
        }
        break;
      default: {
        const std::array<std::size_t, 6> sizes{1, 16, 17, 80, 150, 200};
        append_one(sizes[random_.below(sizes.size())]);
      }
    }
  }

  void append_one(std::size_t size) {
    if (!log_->fits(size)) {
      return;
    }
    under_way_ = body_of(bodies_.size() + 1 + 1000 * root_.epoch, size);
    ASSERT_TRUE(append(*log_, under_way_).ok());
    bodies_.push_back(std::move(under_way_));
    under_way_.clear();
  }

  // Recover, a CP that covers all, start: as the filer opens.
  void open() {
    Recovered opened = recover(scheduler_, memory_, root_);
    ASSERT_TRUE(opened.status.ok()) << opened.status.error().context;
    ASSERT_EQ(opened.log->last(), Sequence{bodies_.size()});
    log_ = std::move(opened.log);
    root_ = {.epoch = root_.epoch + 1, .last = log_->last(), .log_empty = true};
    ASSERT_TRUE(log_->start(root_.epoch).ok());
    root_.log_empty = false;
    frozen_ = covered_ = false;
  }

  void crash_here() {
    memory_.for_each_image([this](const std::vector<std::byte>& image) {
      if (!::testing::Test::HasFailure()) {
        ++images_;
        check_image(image);
      }
    });
  }

  // Everything acknowledged behind the root is there; at most the one under way besides.
  void check_image(const std::vector<std::byte>& image) {
    CrashMemory memory(image);
    Recovered found = recover(scheduler_, memory, root_);
    ASSERT_TRUE(found.status.ok()) << found.status.error().context;
    const auto covered = static_cast<std::uint64_t>(root_.last);
    const std::uint64_t last = covered + found.records.size();
    ASSERT_GE(last, bodies_.size());
    ASSERT_LE(last, bodies_.size() + (under_way_.empty() ? 0 : 1));
    for (std::size_t i = 0; i < found.records.size(); ++i) {
      const std::uint64_t sequence = covered + 1 + i;
      ASSERT_EQ(found.records[i].first, sequence);
      ASSERT_EQ(found.records[i].second,
                sequence <= bodies_.size() ? bodies_[sequence - 1] : under_way_);
    }
    if (images_ % 5 == 0) {
      crash_while_starting(image, found, last);
    }
  }

  // The recovered filer's CP covers all; power is lost at any step of start() and of the
  // first append of the new epoch.
  void crash_while_starting(const std::vector<std::byte>& image, Recovered& first,
                            std::uint64_t last) {
    for (const bool with_root : {false, true}) {
      CrashMemory memory(image);
      Recovered found = recover(scheduler_, memory, root_);
      Covered root = root_;
      if (!with_root) {  // the CP did not get that far: the same again
        ASSERT_EQ(found.records, first.records);
        continue;
      }
      root = {.epoch = root_.epoch + 1, .last = Sequence{last}, .log_empty = true};
      const Body next = body_of(last + 1 + 77, 100);
      const auto expect_nothing_old = [&] {
        memory.for_each_image([&](const std::vector<std::byte>& torn) {
          CrashMemory again(torn);
          const Recovered seen = recover(scheduler_, again, root);
          ASSERT_TRUE(seen.status.ok()) << seen.status.error().context;
          ASSERT_LE(seen.records.size(), 1U);
          if (!seen.records.empty()) {
            ASSERT_EQ(seen.records[0], std::pair(last + 1, next));
          }
        });
      };
      memory.on_step = expect_nothing_old;
      ASSERT_TRUE(found.log->start(root.epoch).ok());
      root.log_empty = false;
      ASSERT_TRUE(append(*found.log, next).ok());
      ASSERT_EQ(recover(scheduler_, memory, root).records.size(), 1U);
    }
  }

  sim::Random random_;
  sim::SimScheduler scheduler_;
  CrashMemory memory_;
  std::unique_ptr<RequestLog> log_;
  Covered root_;
  std::vector<Body> bodies_;  // acknowledged; sequence 1 first
  Body under_way_;            // being appended
  Sequence freeze_{};
  bool frozen_ = false;
  bool covered_ = false;
  std::uint64_t images_ = 0;
};

TEST(LogCrash, PowerLossAnywhereLosesNothingAcknowledgedAndReplaysNothingElse) {
  std::uint64_t images = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    world.run(60);
    images += world.images();
    if (::testing::Test::HasFailure()) {
      return;
    }
  }
  EXPECT_GT(images, 10'000U);
}

}  // namespace
}  // namespace duet::nvlog::testing
