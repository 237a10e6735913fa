// What the pair does for the mirrored log of one filer: its solo mark.

#pragma once

#include "failover/pair_node.h"

namespace duet::failover {

class PairNode::Duties final : public nvlog::MirrorDuties {
 public:
  Duties(PairNode& owner, std::uint32_t filer) : pair_(owner), filer_(filer) {}

  Task<Status> set_solo_mark(std::uint64_t epoch, nvlog::Sequence first_unmirrored) override;
  Task<Status> clear_solo_mark(std::uint64_t epoch) override;
  void want_consistency_point() override;
  void log_failed() override;

 private:
  PairNode& pair_;
  const std::uint32_t filer_;
};

}  // namespace duet::failover
