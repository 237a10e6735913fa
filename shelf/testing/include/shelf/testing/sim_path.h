// SimPath: a node's way to one or more disks: what a test cuts.
//
// What is on its way while it is cut waits, as a network that sends again does, and arrives
// late, in order, when the path is whole again; or never, if the target was killed meanwhile.
//
// Thread-safety: one thread.

#pragma once

#include "sim/sim_scheduler.h"

namespace duet::shelf::testing {

class SimPath {
 public:
  explicit SimPath(sim::SimScheduler& scheduler) : scheduler_(scheduler) {}

  void cut() { cut_there_ = cut_back_ = true; }
  // One direction only: requests arrive and answers do not, or the other way round.
  void cut_there() { cut_there_ = true; }
  void cut_back() { cut_back_ = true; }
  void heal() {
    cut_there_ = cut_back_ = false;
    scheduler_.post_all(waiting_);
  }
  [[nodiscard]] bool up() const { return !cut_there_ && !cut_back_; }

  // For SimTarget: whether a message may pass; false: it was put aside until the path is whole.
  [[nodiscard]] bool pass_there(Continuation& delivery) { return pass(cut_there_, delivery); }
  [[nodiscard]] bool pass_back(Continuation& delivery) { return pass(cut_back_, delivery); }

 private:
  bool pass(bool cut, Continuation& delivery) {
    if (cut) {
      waiting_.push_back(delivery);
    }
    return !cut;
  }

  sim::SimScheduler& scheduler_;
  bool cut_there_ = false;
  bool cut_back_ = false;
  ContinuationList waiting_;
};

}  // namespace duet::shelf::testing
