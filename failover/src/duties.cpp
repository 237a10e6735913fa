#include "duties.h"

namespace duet::failover {

// The log counts records as durable that the partner lacks once this completes, so the order is the
// whole point: mark first.  A write that a disk refuses waits at the gate until the pair knows who
// owns the filer.
Task<Status> PairNode::Duties::set_solo_mark(std::uint64_t epoch,
                                             nvlog::Sequence first_unmirrored) {
  while (!pair_.may_go_solo()) {
    co_await sleep(pair_.scheduler_, pair_.options_.look);
  }
  pair_.step("solo mark");
  const auto first = static_cast<std::uint64_t>(first_unmirrored);
  const Status marked = co_await pair_.marks_[filer_]->set(epoch, first);
  if (marked.ok()) {
    pair_.tell(Severity::kWarning, "the filer acknowledges requests that the partner does not hold",
               "repair the partner or the link; the log is mirrored again by itself", filer_);
  }
  co_return marked;
}

Task<Status> PairNode::Duties::clear_solo_mark(std::uint64_t epoch) {
  pair_.step("clear solo mark");
  co_return co_await pair_.marks_[filer_]->clear(epoch);
}

void PairNode::Duties::log_failed() { pair_.filer_failed(filer_); }

void PairNode::Duties::want_consistency_point() {
  if (pair_.on_want_cp) {
    pair_.on_want_cp(filer_);
  }
}

}  // namespace duet::failover
