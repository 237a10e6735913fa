// When a write is answered, and what is true by then.

#include <gtest/gtest.h>

#include "intent_memory.h"
#include "model.h"

namespace duet::raid::testing {
namespace {

// What there is of a write at the moment of its answer.
struct Moment {
  bool on_the_disks = false;
  bool here = false;   // its intent
  bool there = false;  // at the other node
};

class Answers {
 public:
  explicit Answers(Answer answer, std::uint64_t seed = 1) : world(seed, {}), model(world) {
    world.boot(0);
    world.boot(1);
    EXPECT_TRUE(world.run_until([&] { return world.active(0) && world.active(1); }));
    model.fill(0);
    flush(0);
    model.answer = answer;
  }

  void flush(std::size_t node) {
    const Status flushed = world.run(world.group(node)->flush());
    EXPECT_TRUE(flushed.ok());
  }
  [[nodiscard]] bool has_intent(std::size_t node) const {
    const auto memory = IntentMemory::open(*world.memories[node], kGroup, World::node_id(node));
    return !memory.value().scan(NodeId{0}, world.present_labels().front()).empty();
  }
  Moment write(std::uint64_t block, std::size_t count) {
    const std::uint64_t before = world.group(0)->counters().blocks_written;
    Moment moment;
    bool over = false;
    model.begin_write(0, block, count, WriteKind::kInPlace, [&](const Status& status) {
      EXPECT_TRUE(status.ok());
      moment.on_the_disks = world.group(0)->counters().blocks_written > before &&
                            world.processes[0]->connections.under_way() == 0;
      moment.here = has_intent(0);
      moment.there = has_intent(1);
      over = true;
    });
    EXPECT_TRUE(world.run_until([&] { return over; })) << "a write does not end";
    return moment;
  }

  World world;
  Model model;
};

TEST(Answer, AsAskedBehindTheDisksOrBehindTheIntent) {
  const Moment written = Answers(Answer::kWritten).write(1, 2);
  EXPECT_TRUE(written.on_the_disks && written.here && written.there);
  const Moment synchronous = Answers(Answer::kSynchronous).write(1, 2);
  EXPECT_TRUE(!synchronous.on_the_disks && synchronous.here && synchronous.there);
  for (const Answer answer : {Answer::kPseudoSynchronous, Answer::kAsynchronous}) {
    const Moment early = Answers(answer).write(1, 2);
    EXPECT_TRUE(!early.on_the_disks && early.here && !early.there);
  }
}

TEST(Answer, APseudoSynchronousOneIsOnItsWayAnAsynchronousOneNeedNotBe) {
  const auto on_its_way = [](Answer answer, std::uint64_t seed) {
    Answers answers(answer, seed);
    answers.write(1, 1);
    answers.model.kill(0);  // what it has sent arrives, or not
    bool arrived = answers.has_intent(1);
    const auto later = [&] { return arrived = arrived || answers.has_intent(1); };
    const bool ever = answers.world.run_until(later);
    return ever;
  };
  int pseudo = 0;
  int asynchronous = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    pseudo += on_its_way(Answer::kPseudoSynchronous, seed) ? 1 : 0;
    asynchronous += on_its_way(Answer::kAsynchronous, seed) ? 1 : 0;
  }
  EXPECT_GT(pseudo, asynchronous);
}

TEST(Answer, WhoeverReadsAfterItFindsWhatWasWritten) {
  for (const Answer answer :
       {Answer::kSynchronous, Answer::kPseudoSynchronous, Answer::kAsynchronous}) {
    Answers answers(answer);
    for (std::uint64_t block = 0; block + 9 < answers.model.block_count(); block += 7) {
      answers.write(block, 9);
      answers.model.verify(block % 2);
    }
  }
}

TEST(Answer, AFlushWaitsForAllThatWasAnswered) {
  for (const Answer answer :
       {Answer::kSynchronous, Answer::kPseudoSynchronous, Answer::kAsynchronous}) {
    Answers answers(answer);
    answers.write(3, 8);
    answers.flush(0);
    EXPECT_EQ(answers.world.group(0)->status().intents, 0U);
    answers.model.verify_disks();
    answers.model.kill(0);
    answers.world.fence(0, answers.world.dead_incarnation);
    ASSERT_TRUE(
        answers.world.run_until([&] { return answers.world.group(1)->status().members == 2; }));
    answers.model.verify(1);
  }
}

TEST(Answer, TheCallersMemoryIsFreeThen) {
  Answers answers(Answer::kSynchronous);
  Buffer mine = filled(2, 77);
  const Buffer wanted = filled(2, 77);
  const std::array<MutableBytes, 1> parts = {mine.bytes()};
  Group& group = *answers.world.group(0);
  ASSERT_TRUE(
      answers.world.run(group.write(2, parts, WriteKind::kInPlace, Answer::kSynchronous)).ok());
  std::ranges::fill(mine.bytes(), std::byte{0});
  const Buffer found(2);
  const std::array<MutableBytes, 1> to = {found.bytes()};
  ASSERT_TRUE(answers.world.run(answers.world.group(1)->read(2, to)).ok());
  EXPECT_TRUE(same_bytes(found.bytes(), wanted.bytes()));
}

TEST(Answer, AFreshWriteIsAnsweredBehindTheDisks) {
  Answers answers(Answer::kSynchronous);
  const Buffer mine = filled(2, 77);
  const std::array<MutableBytes, 1> parts = {mine.bytes()};
  Group& group = *answers.world.group(0);
  const std::uint64_t before = group.counters().blocks_written;
  ASSERT_TRUE(
      answers.world.run(group.write(2, parts, WriteKind::kFresh, Answer::kSynchronous)).ok());
  EXPECT_GT(group.counters().blocks_written, before);
}

TEST(Answer, CloseWaitsForWhatWasAnswered) {
  Answers answers(Answer::kAsynchronous);
  answers.write(3, 8);
  const Status closed = answers.world.run(answers.world.group(0)->close());
  EXPECT_TRUE(closed.ok());
  answers.model.verify(1);
}

}  // namespace
}  // namespace duet::raid::testing
