#include "filer/filer.h"

#include "base/check.h"
#include "filer_state.h"

namespace duet::filer {

Filer::Filer(std::unique_ptr<FilerState> state) : state_(std::move(state)) {}

Filer::~Filer() { DUET_CHECK(!state_->running()); }

Task<Result<std::unique_ptr<Filer>>> Filer::open(Scheduler& scheduler, WallClock& clock,
                                                 Entropy& entropy, std::vector<BlockDevice*> disks,
                                                 PersistentMemory& memory, FilerOptions options) {
  wafl::AggregateOptions aggregate_options;
  aggregate_options.cache_bytes = options.cache_bytes;
  Result<std::unique_ptr<wafl::Aggregate>> aggregate =
      co_await wafl::Aggregate::open(scheduler, clock, std::move(disks), aggregate_options);
  if (!aggregate.ok()) {
    co_return aggregate.error();
  }
  auto state = std::make_unique<FilerState>(scheduler, clock, entropy, memory, options,
                                            std::move(aggregate.value()));
  const Status recovered = co_await state->recover();
  if (!recovered.ok()) {
    co_return recovered.error();
  }
  co_return std::unique_ptr<Filer>(new Filer(std::move(state)));
}

namespace {

Task<Status> stop_filer(FilerState& filer) {
  filer.stopping = true;
  while (filer.running()) {
    co_await filer.idle.wait();
  }
  co_return co_await filer.cps.end();
}

}  // namespace

Task<Status> Filer::stop() { return stop_filer(*state_); }

const ExportTable& Filer::exports() const { return state_->exports; }
wafl::Aggregate& Filer::aggregate() { return *state_->aggregate; }
bool Filer::failed() const { return state_->failed(); }
const nvlog::RequestLog& Filer::log() const { return *state_->log; }
const FilerStatistics& Filer::statistics() const { return state_->statistics; }

}  // namespace duet::filer
