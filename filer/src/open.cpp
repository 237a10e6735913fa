// Opening a filer: the image of the last CP, then the log, then a CP of the next epoch.
//
//   system files -> replay -> CP (epoch + 1, "log empty") -> start the log -> CP ("not empty")
//
// Two CPs, because the log's header and the root cannot change at once: in between, the root
// says that the log of either epoch is of no importance, and that is so until the second CP
// is durable and the first request is taken.

#include <vector>

#include "filer_state.h"
#include "ops/apply.h"

namespace duet::filer {

Task<Status> FilerState::recover() {
  const Status loaded = co_await system_files.load(*aggregate, replies, exports, times.next());
  if (!loaded.ok()) {
    co_return loaded;
  }
  times.used(system_files.last_time());
  const Status replayed = co_await replay();
  if (!replayed.ok()) {
    co_return replayed;
  }
  // A stream that was being received when the filer ended is lost.
  for (wafl::Volume* volume : aggregate->volumes()) {
    const Status given_up =
        volume->receiving() ? give_up_receive(*aggregate, *volume) : Status(Ok{});
    if (!given_up.ok()) {
      co_return given_up;
    }
  }
  cps.epoch = pair.has_value() ? pair->epoch : root.epoch + 1;
  const Status covered = co_await cps.one(cps.epoch, true);
  if (!covered.ok()) {
    co_return covered;
  }
  if (Status started = log->start(cps.epoch); !started.ok()) {
    co_return started;
  }
  const Status opened = co_await cps.one(cps.epoch, false);
  if (opened.ok()) {
    scope.spawn(cps.run());
  }
  co_return opened;
}

Task<Status> FilerState::replay() {
  const Instant begin = scheduler.now();
  // Replaying waits for disk, and the log gives its records in one turn.  They stay where they
  // are: nothing is written there before start().
  std::vector<ConstBytes> records;
  const auto collect = [&records](const nvlog::ReplayRecord& record) -> Status {
    records.push_back(record.body);
    return Ok{};
  };
  Result<std::unique_ptr<nvlog::RequestLog>> recovered = recover_log(collect);
  if (!recovered.ok()) {
    co_return recovered.error();
  }
  log = std::move(recovered.value());
  for (const ConstBytes body : records) {
    ConstBytes data;
    Result<Record> record = decode_record(body, data);
    if (!record.ok()) {
      co_return record.error();
    }
    const Status done = co_await replay_one(record.value());
    if (!done.ok()) {
      co_return done;
    }
    ++statistics.replayed_records;
  }
  statistics.replay = scheduler.now() - begin;
  co_return Ok();
}

Result<std::unique_ptr<nvlog::RequestLog>> FilerState::recover_log(
    const std::function<Status(const nvlog::ReplayRecord&)>& collect) {
  nvlog::LogIdentity identity;
  identity.pair = root.pair;
  identity.filer = root.filer;
  identity.log_id = root.log_id;
  nvlog::Covered covered;
  covered.epoch = root.epoch;
  covered.last = nvlog::Sequence{root.last_sequence};
  covered.log_empty = (root.flags & wafl::kRootLogEmpty) != 0;
  covered.mirror_generation = root.mirror_generation;
  if (!pair.has_value()) {
    return nvlog::RequestLog::recover(scheduler, memory, identity, covered, collect);
  }
  if (pair->epoch <= root.epoch) {
    return Error{Errc::kOutOfSync, "the owner record is older than the aggregate's root"};
  }
  const auto recover = [&](const nvlog::Covered& from, const PersistentMemory* copy) {
    return nvlog::MirroredLog::recover(scheduler, memory, identity, from, copy, pair->port,
                                       pair->duties, pair->mirror, collect);
  };
  auto mirrored = recover(covered, pair->copy);
  if (!mirrored.ok() && pair->forced) {
    covered.log_empty = true;
    mirrored = recover(covered, nullptr);
  }
  if (!mirrored.ok()) {
    return mirrored.error();
  }
  mirrored_log = mirrored.value().get();
  return std::unique_ptr<nvlog::RequestLog>(std::move(mirrored.value()));
}

Task<Status> FilerState::replay_one(Record& record) {
  wafl::Attempt attempt(*aggregate);
  attempt.replaying = true;
  MutationReply reply;
  for (;;) {
    reply = MutationReply();
    const Status applied = apply_record(attempt, record, reply);
    if (applied.ok()) {
      break;
    }
    if (applied.error().code != Errc::kMiss) {
      co_return Error{Errc::kCorrupt, "replay: a record that succeeded once does not (I8)"};
    }
    const Status loaded = co_await attempt.load();
    if (!loaded.ok()) {
      co_return loaded;
    }
  }
  times.used(record.now);
  if (record.reply_cached) {
    replies.put(record.client, reply, nvlog::Sequence(0));
  }
  co_return Ok();
}

}  // namespace duet::filer
