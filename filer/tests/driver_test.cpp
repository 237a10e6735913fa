// I5: nothing is shown before it is durable.  The log of one node is durable at once, so a
// log that takes its time stands before it here, as that of a pair will.

#include "driver.h"

#include "ops/apply.h"
#include "world.h"

namespace duet::filer::testing {
namespace {

class SlowLog final : public nvlog::RequestLog {
 public:
  explicit SlowLog(std::unique_ptr<RequestLog> log) : log_(std::move(log)) {
    durable_ = log_->durable();
  }
  void persist() {
    durable_ = log_->durable();
    log_->durable_changed().wake_all();
  }

  [[nodiscard]] nvlog::Sequence last() const override { return log_->last(); }
  [[nodiscard]] nvlog::Sequence durable() const override { return durable_; }
  Status start(std::uint64_t epoch) override { return log_->start(epoch); }
  [[nodiscard]] bool fits(std::size_t bytes) const override { return log_->fits(bytes); }
  [[nodiscard]] WaitList& durable_changed() override { return log_->durable_changed(); }
  nvlog::Sequence switch_half() override { return log_->switch_half(); }
  [[nodiscard]] bool can_switch() const override { return log_->can_switch(); }
  Status release(nvlog::Sequence covered) override { return log_->release(covered); }
  [[nodiscard]] std::uint64_t half_bytes() const override { return log_->half_bytes(); }
  [[nodiscard]] std::uint64_t filling_bytes() const override { return log_->filling_bytes(); }
  [[nodiscard]] std::uint64_t filling_records() const override { return log_->filling_records(); }

 private:
  Result<nvlog::Sequence> append_parts(std::span<const ConstBytes> parts,
                                       const nvlog::KnownTail& tail) override {
    return log_->append(parts, tail);
  }

  std::unique_ptr<RequestLog> log_;
  nvlog::Sequence durable_{};
};

class Durability : public ::testing::Test {
 protected:
  Durability() {
    const wafl::Volume* volume = world.filer->aggregate().find_volume("vol0");
    root = {volume->id(), wafl::kLive, wafl::kRootInode, wafl::Generation{1}};
    EXPECT_TRUE(world.run(world.filer->stop()).ok());
    world.filer.reset();
    auto opened =
        world.run(wafl::Aggregate::open(world.scheduler, world.clock, world.pointers(), {}));
    EXPECT_TRUE(opened.ok());
    state.emplace(world.scheduler, world.clock, world.entropy, world.memory, world.options,
                  std::move(opened.value()));
    EXPECT_TRUE(world.run(state->recover()).ok());
    auto held = std::make_unique<SlowLog>(std::move(state->log));
    log = held.get();
    state->log = std::move(held);
    handle = state->handles.encode(HandleKind::kObject, root);
    from = world.caller();
  }
  ~Durability() override { world.devices.clear(); }

  Task<WccReply> change_mode(std::uint32_t mode) {
    const auto attempt = [this, mode](Context& context, Change& change) -> Status {
      Target target;
      if (Status resolved = resolve_writable(context, handle.bytes(), target); !resolved.ok()) {
        return resolved;
      }
      change.record.operation = Operation::kSetAttributes;
      change.record.volume = root.volume;
      change.record.object = object_of(root);
      change.record.changes.mode = mode;
      change.made = true;
      return apply_set_attributes(context.attempt, *target.inode, change.record, change.reply);
    };
    return run_change<WccReply>(*state, from, true, 0, attempt);
  }
  Task<GetattrReply> look() {
    const auto look = [this](Context& context, GetattrReply& reply) -> Status {
      Target target;
      if (Status resolved = resolve(context, handle.bytes(), target); !resolved.ok()) {
        return resolved;
      }
      reply.attributes = file_attributes(context, target);
      return Ok{};
    };
    return run_look<GetattrReply>(*state, from, look);
  }
  void rest() { EXPECT_TRUE(world.scheduler.run_for(std::chrono::milliseconds(50))); }

  World world;
  wafl::FileId root;
  Handle handle;
  Caller from;
  std::optional<FilerState> state;
  SlowLog* log = nullptr;
};

TEST_F(Durability, RepliesWaitForTheirRecordAndForAllThatTheySaw) {
  std::optional<WccReply> changed;
  std::optional<WccReply> retried;
  std::optional<GetattrReply> looked;
  TaskScope scope(world.scheduler);
  scope.spawn(keep_result(change_mode(0711), changed));
  scope.spawn(keep_result(change_mode(0711), retried));
  scope.spawn(keep_result(look(), looked));
  rest();
  EXPECT_FALSE(changed.has_value());
  EXPECT_FALSE(looked.has_value()) << "a read has seen what is not durable";
  EXPECT_FALSE(retried.has_value()) << "a retry got a reply that is not durable";
  log->persist();
  rest();
  ASSERT_TRUE(changed && looked && retried);
  EXPECT_EQ(looked->attributes.attributes.mode, 0711U);
  EXPECT_FALSE(retried->error.has_value());
  EXPECT_EQ(state->statistics.logged_records, 1U);
}

TEST_F(Durability, ACpMakesRecordsDurableToo) {
  std::optional<WccReply> changed;
  std::optional<Status> cp;
  TaskScope scope(world.scheduler);
  scope.spawn(keep_result(change_mode(0711), changed));
  scope.spawn(keep_result(state->cps.administrate([]() -> Status { return Ok{}; }), cp));
  EXPECT_FALSE(changed.has_value());
  (void)world.scheduler.run_until([&] { return changed.has_value(); });
  EXPECT_TRUE(changed.has_value());
}

TEST_F(Durability, WhatWaitsIsAnsweredWhenTheFilerFails) {
  std::optional<WccReply> changed;
  std::optional<GetattrReply> looked;
  TaskScope scope(world.scheduler);
  scope.spawn(keep_result(change_mode(0711), changed));
  scope.spawn(keep_result(look(), looked));
  rest();
  state->fail();
  rest();
  ASSERT_TRUE(changed && looked);
  EXPECT_EQ(changed->error, Errc::kIo);
  EXPECT_EQ(looked->error, Errc::kIo);
}

TEST_F(Durability, NobodySeesAnAdministrativeChangeBeforeItsCpIsDurable) {
  std::optional<Status> made;
  std::optional<GetattrReply> looked;
  const Handle snapshots = state->handles.encode(HandleKind::kSnapshotDirectory, root);
  const auto list = [&snapshots](Context& context, GetattrReply& reply) -> Status {
    Target target;
    if (Status resolved = resolve(context, snapshots.bytes(), target); !resolved.ok()) {
      return resolved;
    }
    reply.attributes = file_attributes(context, target);
    return Ok{};
  };
  TaskScope scope(world.scheduler);
  const auto make = [this]() -> Status {
    return state->aggregate->find_volume(root.volume)->create_snapshot("s", state->times.next());
  };
  scope.spawn(keep_result(state->cps.administrate(make), made));
  ASSERT_TRUE(world.scheduler.run_until([&] { return state->cps.running(); }));
  scope.spawn(keep_result(run_look<GetattrReply>(*state, from, list), looked));
  EXPECT_FALSE(looked.has_value());
  ASSERT_TRUE(world.scheduler.run_until([&] { return looked.has_value(); }));
  EXPECT_TRUE(made.has_value() || state->cps.finished() == state->cps.begun());
}

}  // namespace
}  // namespace duet::filer::testing
