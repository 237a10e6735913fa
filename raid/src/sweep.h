// Sweep: work on all stripes of a group, in steps of the label's size, split between the nodes.
//
// Step k is for the (k mod nodes)th node of the view, whoever that is by then.  What is done
// stays done; a step that two nodes do is done twice.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <bit>
#include <optional>
#include <set>

#include "raid/node.h"

namespace duet::raid {

class Sweep {
 public:
  explicit Sweep(std::uint64_t first = 0) : reached_(first) {}

  // All steps below are done.
  [[nodiscard]] std::uint64_t reached() const { return reached_; }
  // And some above.
  [[nodiscard]] const std::set<std::uint64_t>& done() const { return done_; }
  // Stripes that each node has done, as far as was told.
  [[nodiscard]] const std::array<std::uint64_t, kNodesMax>& shares() const { return shares_; }

  // All below is done, whoever did it.
  void skip_to(std::uint64_t step) {
    reached_ = reached_ < step ? step : reached_;
    done_.erase(done_.begin(), done_.lower_bound(reached_));
    advance();
  }
  // A node has done this one.  Whether that is new.
  bool note(NodeId node, std::uint64_t step, std::uint64_t stripes) {
    if (step < reached_ || !done_.insert(step).second) {
      return false;
    }
    shares_[number(node)] += stripes;
    advance();
    return true;
  }
  // What `self` does next, below `end`.
  [[nodiscard]] std::optional<std::uint64_t> next(NodeSet members, NodeId self,
                                                  std::uint64_t end) const {
    const auto nodes = static_cast<std::uint64_t>(std::popcount(members));
    const auto rank = static_cast<std::uint64_t>(std::popcount(members & (only(self) - 1)));
    for (std::uint64_t step = reached_; step < end; ++step) {
      if (step % nodes == rank && !done_.contains(step)) {
        return step;
      }
    }
    return std::nullopt;
  }

 private:
  void advance() {
    while (done_.erase(reached_) > 0) {
      ++reached_;
    }
  }

  std::uint64_t reached_;
  std::set<std::uint64_t> done_;
  std::array<std::uint64_t, kNodesMax> shares_{};
};

}  // namespace duet::raid
