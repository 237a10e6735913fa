#include "rpc/connection.h"

#include "rpc/call_memory.h"
#include "rpc/message.h"

namespace duet::server {

Connection::Connection(Hub& hub, std::unique_ptr<ByteStream> stream, const filer::Address& address,
                       std::uint16_t port)
    : hub_(hub),
      stream_(std::move(stream)),
      address_(address),
      port_(port),
      assembler_(hub.pool),
      changed_(hub.scheduler),
      flush_(*this),
      sender_(*this),
      member_(*this),
      reading_(*this),
      writing_since_(*this),
      scope_(hub.scheduler) {
  hub_.all.push(member_, hub_.scheduler.now());
}

Connection::~Connection() {
  scope_.cancel();
  while (calls_ != nullptr) {
    finished(*calls_);
  }
  hub_.leave(address_);
}

Task<void> Connection::run() {
  for (;;) {
    const Took took = take_records();
    if (took == Took::kEnd) {
      break;
    }
    if (took == Took::kFull) {
      // It is we who do not read: the time of an open record begins again afterwards.
      reading_.unlink();
      record_began_ = false;
      co_await changed_.wait();
      continue;
    }
    file();
    if (assembler_.wants_large() && hub_.pool.over_limit()) {
      hub_.make_memory();
      co_await hub_.pool.room();
      continue;
    }
    const MutableBytes space = assembler_.space();
    const Result<std::size_t> got = co_await stream_->read_some(space);
    if (!got.ok()) {
      close();
      break;
    }
    if (got.value() == 0) {
      break;
    }
    assembler_.received(got.value());
  }
  reading_.unlink();
  while (requests_ > 0) {
    co_await changed_.wait();
  }
  close();
}

void Connection::close() {
  if (closed_) {
    return;
  }
  closed_ = true;
  reading_.unlink();
  writing_since_.unlink();
  stream_->close();
  changed_.wake_all();
  hub_.pool.wake_all();  // it may wait there
  if (!writing_) {
    flush();
  }
}

void Connection::drain() {
  draining_ = true;
  if (requests_ == 0) {
    close();
  }
}

bool Connection::full() const {
  return requests_ > 0 &&
         (requests_ >= hub_.options.requests_per_connection ||
          hub_.requests >= hub_.options.requests_max ||
          reply_bytes_ + assembler_.chunk_bytes() >= hub_.options.bytes_per_connection);
}

void Connection::file() {
  if (closed_) {
    return;
  }
  if (assembler_.open()) {
    if (!record_began_) {
      record_began_ = true;
      reading_.unlink();
      hub_.receiving.push(reading_, hub_.scheduler.now());
      hub_.watch_deadlines();
    }
  } else if (requests_ == 0 && !reading_.linked()) {
    hub_.idle.push(reading_, hub_.scheduler.now());
  }
}

Connection::Took Connection::take_records() {
  const Instant now = hub_.scheduler.now();
  for (;;) {
    if (closed_ || draining_) {
      return Took::kEnd;
    }
    if (full()) {
      return Took::kFull;
    }
    Call& call = *hub_.take_call();
    const RecordAssembler::Next next = assembler_.next(call.memory_->record);
    if (next == RecordAssembler::Next::kMore) {
      hub_.recycle(&call);
      return Took::kAll;
    }
    record_began_ = false;
    reading_.unlink();
    if (next == RecordAssembler::Next::kViolation || !start(call, now)) {
      ++hub_.statistics.records_refused;
      if (next == RecordAssembler::Next::kViolation) {
        hub_.recycle(&call);
      }
      close();
      return Took::kEnd;
    }
  }
}

// False: it is no call, and was let go.
bool Connection::start(Call& call, Instant now) {
  call.started_ = now;
  call.sink_ = this;
  call.all_next_ = calls_;
  call.all_prev_ = nullptr;
  if (calls_ != nullptr) {
    calls_->all_prev_ = &call;
  }
  calls_ = &call;
  ++requests_;
  ++hub_.requests;
  call.caller.address = address_;
  call.caller.port = port_;
  call.arguments = XdrReader(call.memory_->record.pieces, call.memory_->scratch);
  const HeaderVerdict verdict = read_header(call);
  if (verdict == HeaderVerdict::kNotACall) {
    finished(call);
    return false;
  }
  if (verdict == HeaderVerdict::kDenied) {
    refuse(call);
  } else {
    dispatch(call);
  }
  return true;
}

void Connection::refuse(Call& call) {
  ++hub_.statistics.calls_denied;
  send(call);
}

void Connection::dispatch(Call& call) {
  Program* program = hub_.find(call.program);
  if (program == nullptr) {
    write_error(call, AcceptStatus::kProgramUnavailable);
    refuse(call);
  } else if (call.version < program->version_low() || call.version > program->version_high()) {
    write_version_mismatch(call, program->version_low(), program->version_high());
    refuse(call);
  } else if (call.procedure >= program->procedure_count(call.version)) {
    write_error(call, AcceptStatus::kProcedureUnavailable);
    refuse(call);
  } else {
    call.cost_bytes_ = program->reply_bytes(call);
    reply_bytes_ += call.cost_bytes_;
    scope_.spawn(run_call(call, *program));
  }
}

Task<void> Connection::run_call(Call& call, Program& program) {
  begin_reply(call);
  const AcceptStatus status = co_await program.serve(call);
  answer(call, program, status);
}

void Connection::answer(Call& call, Program& program, AcceptStatus status) {
  if (ProcedureStatistics* statistics = program.statistics(call.procedure)) {
    statistics->record(hub_.scheduler.now() - call.started_,
                       call.failed || status != AcceptStatus::kSuccess);
  }
  if (call.sent_) {
    finished(call);
    return;
  }
  if (status == AcceptStatus::kNoReply) {
    finished(call);
    close();
    return;
  }
  if (status != AcceptStatus::kSuccess) {
    write_error(call, status);
  }
  send(call);
}

void Connection::finished(Call& call) {
  (call.all_prev_ != nullptr ? call.all_prev_->all_next_ : calls_) = call.all_next_;
  if (call.all_next_ != nullptr) {
    call.all_next_->all_prev_ = call.all_prev_;
  }
  --requests_;
  --hub_.requests;
  reply_bytes_ -= call.cost_bytes_;
  hub_.recycle(&call);
  changed_.wake_all();
  if (requests_ == 0) {
    if (draining_) {
      close();
    } else {
      file();
    }
  }
}

}  // namespace duet::server
