#include "server/call.h"

#include "rpc/call_memory.h"

namespace duet::server {

Call::Call() : memory_(std::make_unique<Memory>()) {}
Call::~Call() = default;

void Call::reset() {
  arguments = XdrReader();
  reply.reset();
  data.clear();
  memory_->record.reset();
  memory_->scratch.reset();
  failed = sent_ = false;
  sent_waiter_ = nullptr;
  cost_bytes_ = 0;
}

void Call::Sent::await_suspend(std::coroutine_handle<> coroutine) {
  suspend(coroutine);
  DUET_CHECK(call_.sent_waiter_ == nullptr && !call_.sent_);
  call_.sent_waiter_ = this;
  call_.sent_ = true;
  call_.sink_->send(call_);
}

}  // namespace duet::server
