// HookList: connections in the order in which something began.
// Thread-safety: the reactor's thread.

#pragma once

#include "base/check.h"
#include "platform/scheduler.h"

namespace duet::server {

class Connection;

// A connection's place in at most one list; leaves it when destroyed.
class Hook {
 public:
  explicit Hook(Connection& connection) : connection_(&connection) {}
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;
  ~Hook() { unlink(); }

  [[nodiscard]] bool linked() const { return next_ != this; }
  void unlink() {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = this;
  }
  [[nodiscard]] Connection& connection() const { return *connection_; }
  [[nodiscard]] Instant since() const { return since_; }

 private:
  friend class HookList;
  Hook() = default;
  Connection* connection_ = nullptr;
  Instant since_{};
  Hook* next_ = this;
  Hook* prev_ = this;
};

class HookList {
 public:
  [[nodiscard]] bool empty() const { return !head_.linked(); }
  // REQUIRES: !hook.linked(); `now` does not go back.
  void push(Hook& hook, Instant now) {
    DUET_CHECK(!hook.linked());
    hook.since_ = now;
    hook.prev_ = head_.prev_;
    hook.next_ = &head_;
    head_.prev_->next_ = &hook;
    head_.prev_ = &hook;
  }
  // REQUIRES: !empty().
  [[nodiscard]] Hook& oldest() const {
    DUET_CHECK(!empty());
    return *head_.next_;
  }
  // To walk the list; null at its end.
  [[nodiscard]] Hook* first() { return after(head_); }
  [[nodiscard]] Hook* after(Hook& hook) { return hook.next_ == &head_ ? nullptr : hook.next_; }

 private:
  Hook head_;
};

}  // namespace duet::server
