// The two drivers: every procedure is an ordinary function that is tried until it finds all
// it needs in memory, and one of these waits for what it misses and for durability.
//
//   run_look:   try -> (load, try)... -> wait until what was seen is durable -> may answer? ->
//   reply run_change: retry of an old request? -> room in the log? -> try -> (load | CP, try)... ->
//               append in the turn of the change -> wait until durable -> may answer? -> reply
//
// `try` is called with a Context and a place for its result that is fresh each time.

#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "context.h"
#include "filer_state.h"
#include "mutation_reply.h"
#include "platform/task.h"
#include "record.h"

namespace duet::filer {

// kTryAgain for want of space: CPs bring some.  What was freed before the first of them is
// usable after the second at the latest, and what a CP frees beside (of large files) shows
// in the free space; when two in a row bring none, there is none.
class WaitForSpace {
 public:
  static constexpr int kCpsMax = 64;

  // Whether another CP is worth waiting for.
  [[nodiscard]] bool worth_a_cp(const FilerState& filer) {
    const std::uint64_t free_bytes = filer.aggregate->usage().free_bytes;
    const bool gained = cps_ == 0 || free_bytes > free_bytes_;
    without_gain_ = gained ? 0 : without_gain_ + 1;
    free_bytes_ = std::max(free_bytes_, free_bytes);
    return without_gain_ < 2 && ++cps_ <= kCpsMax;
  }

 private:
  std::uint64_t free_bytes_ = 0;
  int without_gain_ = 0;
  int cps_ = 0;
};

// `look`: Status(Context&, Reply&).  Fills in what the reply has, success or not.
template <typename Reply, typename Look>
Task<Reply> run_look(FilerState& filer, const Caller& caller, Look look) {
  Reply reply{};
  const FilerState::Visit visit(filer);
  while (filer.paused() && !filer.failed()) {
    co_await filer.unpaused().wait();
  }
  std::optional<FilerState::Running> running(std::in_place, filer);
  if (!filer.accepts(reply.error)) {
    co_return reply;
  }
  Context context(filer, caller);
  for (;;) {
    const Status seen = look(context, reply);
    if (seen.ok()) {
      break;
    }
    const Errc code = seen.error().code;
    if (code == Errc::kMiss) {
      ++filer.statistics.loads;
      const Status loaded = co_await context.attempt.load();
      reply = Reply{};
      if (!loaded.ok()) {
        reply.error = loaded.error().code;
        break;
      }
    } else if (code == Errc::kTryAgain && context.volume_held && !filer.failed()) {
      co_await filer.cps.finished_changed().wait();
      context.volume_held = false;
      reply = Reply{};
    } else {
      reply.error = code;
      break;
    }
  }
  const nvlog::Sequence seen = filer.log->last();
  const CpLoop::Number seen_cp = context.saw_administration ? filer.cps.last_administrative() : 0;
  while (!filer.failed() && !filer.is_durable(seen)) {
    co_await filer.log->durable_changed().wait();
  }
  while (!filer.failed() && filer.cps.finished() < seen_cp) {
    co_await filer.cps.finished_changed().wait();
  }
  running.reset();
  while (!filer.may_answer()) {
    co_await filer.pair->gate.resumed().wait();
  }
  if (filer.failed()) {
    reply = Reply{};
    reply.error = filer.failure();
  }
  co_return reply;
}

// What one try of a change leaves for the driver.
struct Change {
  Record record;
  ConstBytes piece;   // what record.data may view
  bool made = false;  // the aggregate changed: `record` is logged
  MutationReply reply;
};

// Failures that another client's change may turn into success: a late retry gets the first one.
[[nodiscard]] constexpr bool worth_keeping(const Failure& error) {
  return !error.has_value() || error == Errc::kNotFound || error == Errc::kExists ||
         error == Errc::kNotEmpty || error == Errc::kOutOfSync || error == Errc::kNotDirectory ||
         error == Errc::kIsDirectory;
}

// `attempt_change`: Status(Context&, Change&): checks rights, makes the choices, applies.
// `cached`: a retry must not be executed again.  `data_bytes`: what WRITE adds to its record.
template <typename Reply, typename AttemptChange>
Task<Reply> run_change(FilerState& filer, const Caller& caller, bool cached,
                       std::size_t written_bytes, AttemptChange attempt_change) {
  Reply reply{};
  const FilerState::Visit visit(filer);
  while (filer.paused() && !filer.failed()) {
    co_await filer.unpaused().wait();
  }
  std::optional<FilerState::Running> running(std::in_place, filer);
  if (!filer.accepts(reply.error)) {
    co_return reply;
  }
  const ReplyKey key = key_of(caller);
  std::optional<ReplyCache::Known> known;
  std::optional<ReplyCache::Running> under_way;
  if (cached) {
    while (!filer.failed() && filer.replies.running(key)) {
      co_await filer.replies.run_ended().wait();
    }
    known = filer.replies.find(key);
    if (!known.has_value()) {
      under_way.emplace(filer.replies, key);
    }
  }
  Context context(filer, caller);
  Change change;
  WaitForSpace space;
  nvlog::Sequence sequence{};
  for (;;) {
    if (known.has_value()) {
      ++filer.statistics.reply_cache_hits;
      change.reply = known->reply;
      sequence = known->sequence;
      break;
    }
    if (filer.failed()) {
      break;
    }
    if (!filer.has_room(kSmallRecordBytesMax + written_bytes)) {
      co_await filer.cps.finished_changed().wait();
      continue;
    }
    change = Change{};
    change.record.client = key;
    change.record.reply_cached = cached;
    change.record.now = filer.times.next();
    const Status tried = attempt_change(context, change);
    if (tried.ok()) {
      sequence = filer.log->last();
      if (change.made) {
        const Result<nvlog::Sequence> appended = filer.append(change.record);
        if (!appended.ok()) {
          break;
        }
        sequence = appended.value();
      }
      if (cached) {
        filer.replies.put(key, change.reply, sequence);
      }
      break;
    }
    const Errc code = tried.error().code;
    if (code == Errc::kMiss) {
      ++filer.statistics.loads;
      const Status loaded = co_await context.attempt.load();
      if (loaded.ok()) {
        continue;
      }
      change.reply = MutationReply{};
      change.reply.error = loaded.error().code;
      break;
    }
    if (code == Errc::kTryAgain && context.volume_held) {
      co_await filer.cps.finished_changed().wait();
      context.volume_held = false;
      continue;
    }
    if (code == Errc::kTryAgain && context.volume_receiving) {
      change.reply.error = code;
      sequence = filer.log->last();
      break;
    }
    if (code == Errc::kTryAgain && space.worth_a_cp(filer)) {
      co_await filer.cps.one_more(CpCause::kMemory);
      continue;
    }
    change.reply.error = code == Errc::kTryAgain ? Errc::kNoSpace : code;
    sequence = filer.log->last();
    if (cached && worth_keeping(change.reply.error)) {
      filer.replies.put(key, change.reply, sequence);
    }
    break;
  }
  while (!filer.failed() && !filer.is_durable(sequence)) {
    co_await filer.log->durable_changed().wait();
  }
  under_way.reset();
  running.reset();
  while (!filer.may_answer()) {
    co_await filer.pair->gate.resumed().wait();
  }
  if (filer.failed()) {
    reply.error = filer.failure();
  } else {
    give(filer.handles, change.reply, reply);
  }
  co_return reply;
}

}  // namespace duet::filer
