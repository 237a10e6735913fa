// What the pair does for the mirrored log of one filer: its solo mark.

#pragma once

#include "failover/pair_node.h"

namespace duet::failover {

class PairNode::Duties final : public nvlog::MirrorDuties {
 public:
  Duties(PairNode& owner, std::uint32_t filer) : pair_(owner), filer_(filer) {}

  // The log counts records as durable that the partner lacks once this completes, so the order is
  // the whole point: mark first.  A refused write waits at the gate until the pair knows who owns the filer.
  Task<Status> set_solo_mark(std::uint64_t epoch, nvlog::Sequence first_unmirrored) override {
    pair_.step("solo mark");
    const Status marked = co_await pair_.marks_[filer_]->set(
        epoch, static_cast<std::uint64_t>(first_unmirrored));
    if (marked.ok()) {
      pair_.tell(Severity::kWarning, "the filer acknowledges requests that the partner does not hold",
                 "repair the partner or the link; the log is mirrored again by itself", filer_);
    }
    co_return marked;
  }

  Task<Status> clear_solo_mark(std::uint64_t epoch) override {
    pair_.step("clear solo mark");
    co_return co_await pair_.marks_[filer_]->clear(epoch);
  }

  void want_consistency_point() override {
    if (pair_.on_want_cp) {
      pair_.on_want_cp(filer_);
    }
  }

 private:
  PairNode& pair_;
  const std::uint32_t filer_;
};

}  // namespace duet::failover
