// How replies leave: those that are ready in one turn go together.

#include "rpc/call_memory.h"
#include "rpc/connection.h"
#include "rpc/message.h"

namespace duet::server {

namespace {

// A connection that once sent many parts does not keep room for them for ever.
constexpr std::size_t kPartsKept = 64;

}  // namespace

void Connection::CallQueue::push(Call& call) {
  call.next_ = nullptr;
  (tail != nullptr ? tail->next_ : head) = &call;
  tail = &call;
}

Call* Connection::CallQueue::pop() {
  Call* call = head;
  if (call != nullptr) {
    head = call->next_;
    tail = head == nullptr ? nullptr : tail;
  }
  return call;
}

void Connection::send(Call& call) {
  end_reply(call);
  ready_.push(call);
  if (!writing_ && !flush_.linked()) {
    hub_.scheduler.post_last(flush_);
  }
}

// REQUIRES: !writing_.
void Connection::flush() {
  while (ready_.head != nullptr && !closed_) {
    gather();
    writing_ = true;
    sender_.parts = parts_;
    if (!stream_->start_write(sender_)) {
      hub_.sending.push(writing_since_, hub_.scheduler.now());
      hub_.watch_deadlines();
      return;  // sender_.run() goes on
    }
    wrote();
  }
  while (Call* call = ready_.pop()) {  // closed: nobody takes them
    replied(*call);
  }
}

void Connection::gather() {
  parts_.clear();
  while (Call* call = ready_.pop()) {
    const std::span<ConstBytes> parts = call->reply.parts();
    parts_.insert(parts_.end(), parts.begin(), parts.end());
    being_sent_.push(*call);
  }
}

void Connection::wrote() {
  writing_ = false;
  writing_since_.unlink();
  const bool broken = !sender_.result.ok();
  sender_.result = Ok{};
  while (Call* call = being_sent_.pop()) {
    replied(*call);
  }
  if (parts_.capacity() > kPartsKept && ready_.head == nullptr) {
    parts_ = {};
  }
  if (broken) {
    close();
  }
}

// The reply's bytes have left, or never will.
void Connection::replied(Call& call) {
  if (call.sent_waiter_ != nullptr) {
    hub_.scheduler.post(*std::exchange(call.sent_waiter_, nullptr));
  } else {
    finished(call);
  }
}

}  // namespace duet::server
