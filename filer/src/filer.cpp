#include "filer/filer.h"

#include "base/check.h"
#include "filer_state.h"

namespace duet::filer {

Filer::Filer(std::unique_ptr<FilerState> state) : state_(std::move(state)) {}

Filer::~Filer() { DUET_CHECK(!state_->running()); }

namespace {

Task<Result<std::unique_ptr<FilerState>>> open_state(Scheduler& scheduler, WallClock& clock,
                                                     Entropy& entropy,
                                                     std::vector<BlockDevice*> disks,
                                                     PersistentMemory& memory, FilerOptions options,
                                                     std::optional<PairOpening> pair) {
  wafl::AggregateOptions aggregate_options;
  aggregate_options.cache_bytes = options.cache_bytes;
  Result<std::unique_ptr<wafl::Aggregate>> aggregate =
      co_await wafl::Aggregate::open(scheduler, clock, std::move(disks), aggregate_options);
  if (!aggregate.ok()) {
    co_return aggregate.error();
  }
  if (pair.has_value() && pair->forced) {
    aggregate.value()->renew_identity(entropy);  // rule 13; durable with the first CP below
  }
  auto state = std::make_unique<FilerState>(scheduler, clock, entropy, memory, options,
                                            std::move(aggregate.value()), pair);
  const Status recovered = co_await state->recover();
  if (!recovered.ok()) {
    co_return recovered.error();
  }
  state->aggregate->tell_needs();
  co_return std::move(state);
}

}  // namespace

Task<Result<std::unique_ptr<Filer>>> Filer::open(Scheduler& scheduler, WallClock& clock,
                                                 Entropy& entropy, std::vector<BlockDevice*> disks,
                                                 PersistentMemory& memory, FilerOptions options) {
  auto opened = co_await open_state(scheduler, clock, entropy, std::move(disks), memory,
                                    std::move(options), std::nullopt);
  if (!opened.ok()) {
    co_return opened.error();
  }
  co_return std::unique_ptr<Filer>(new Filer(std::move(opened.value())));
}

Task<Result<std::unique_ptr<Filer>>> Filer::open_in_pair(Scheduler& scheduler, WallClock& clock,
                                                         Entropy& entropy,
                                                         std::vector<BlockDevice*> disks,
                                                         PersistentMemory& memory,
                                                         FilerOptions options, PairOpening pair) {
  auto opened = co_await open_state(scheduler, clock, entropy, std::move(disks), memory,
                                    std::move(options), pair);
  if (!opened.ok()) {
    co_return opened.error();
  }
  co_return std::unique_ptr<Filer>(new Filer(std::move(opened.value())));
}

namespace {

Task<Status> stop_filer(FilerState& filer) {
  filer.stopping = true;
  while (filer.running()) {
    co_await filer.idle.wait();
  }
  const Status ended = co_await filer.cps.end();
  co_await filer.aggregate->tell_no_needs();
  co_return ended;
}

constexpr std::chrono::microseconds kSettlePoll{500};

Task<Status> settle_filer(FilerState& filer, Instant deadline) {
  DUET_CHECK(filer.paused());
  // CPs go on meanwhile: the log may want one before anything is durable.
  while (filer.running() || filer.log->durable() < filer.log->last()) {
    if (filer.failed()) {
      co_return Error{Errc::kIo, "the filer has failed"};
    }
    if (filer.scheduler.now() >= deadline) {
      co_return Error{Errc::kTryAgain, "the filer did not come to rest in time"};
    }
    co_await sleep(filer.scheduler, kSettlePoll);
  }
  const Status ended = co_await filer.cps.end();
  if (ended.ok()) {
    co_await filer.scope.join();
    // The partner may write as soon as it owns the filer, which it may know before this node does.
    co_await filer.aggregate->tell_no_needs();
  }
  co_return ended;
}

Task<Status> resume_filer(FilerState& filer) {
  Status begun = Ok{};
  if (filer.cps.ended()) {
    co_await filer.scope.join();
    co_await filer.aggregate->tell_no_needs();
    begun = co_await filer.cps.begin_again();
    if (begun.ok()) {
      filer.aggregate->tell_needs();
      filer.scope.spawn(filer.cps.run());
    }
  }
  filer.unpause();
  co_return begun;
}

Task<void> abandon_filer(FilerState& filer) {
  filer.abandoned = true;
  filer.fail();
  co_await filer.aggregate->tell_no_needs();
  while (filer.running() || filer.visited()) {
    co_await filer.idle.wait();
  }
  co_await filer.scope.join();
}

}  // namespace

Task<Status> Filer::stop() { return stop_filer(*state_); }
void Filer::pause() { state_->pause(); }
void Filer::unpause() { state_->unpause(); }
Task<Status> Filer::settle(Instant deadline) { return settle_filer(*state_, deadline); }
Task<Status> Filer::resume() { return resume_filer(*state_); }
Task<void> Filer::abandon() { return abandon_filer(*state_); }
void Filer::want_consistency_point() { state_->cps.request(CpCause::kLog); }

const ExportTable& Filer::exports() const { return state_->exports; }
wafl::Aggregate& Filer::aggregate() { return *state_->aggregate; }
bool Filer::failed() const { return state_->failed(); }
const nvlog::RequestLog& Filer::log() const { return *state_->log; }
const nvlog::MirroredLog* Filer::mirrored_log() const { return state_->mirrored_log; }
const FilerStatistics& Filer::statistics() const { return state_->statistics; }

}  // namespace duet::filer
