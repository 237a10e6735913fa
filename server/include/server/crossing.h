// Crossing: takes a request from its connection's reactor to the filer's strand, and back.
//
// Without one (null) both are the same scheduler and nothing is crossed.
//
//   co_await to_filer(crossing);  ... filer's thread ...  co_await from_filer(crossing);
//
// Rules: between the two nothing of the connection is touched but the request's own Call; what
// holds the filer's buffers is destroyed on the filer's side; the coroutine is not destroyed on
// the way, so a reactor is drained before it ends.

#pragma once

#include "platform/wait.h"

namespace duet::server {

class Crossing {
 public:
  virtual ~Crossing() = default;
  // Runs `c` as a turn of the filer's scheduler.  Called on the reactor's thread.
  virtual void to_filer(Continuation& c) = 0;
  // Runs `c` as a turn of the reactor's scheduler.  Called on the filer's thread.
  virtual void from_filer(Continuation& c) = 0;
};

class [[nodiscard]] Cross final : public Resume {
 public:
  using Way = void (Crossing::*)(Continuation&);
  Cross(Crossing* crossing, Way way) : crossing_(crossing), way_(way) {}
  bool await_ready() const noexcept { return crossing_ == nullptr; }
  // The coroutine may go on elsewhere before this returns: it is not touched again.
  void await_suspend(std::coroutine_handle<> coroutine) {
    suspend(coroutine);
    (crossing_->*way_)(*this);
  }
  void await_resume() const noexcept {}

 private:
  Crossing* crossing_;
  Way way_;
};
inline Cross to_filer(Crossing* crossing) { return Cross(crossing, &Crossing::to_filer); }
inline Cross from_filer(Crossing* crossing) { return Cross(crossing, &Crossing::from_filer); }

}  // namespace duet::server
