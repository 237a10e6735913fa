// Call: one request on its way through the server, from its record to its reply.
// Program: what serves the calls of one RPC program.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "filer/request.h"
#include "platform/task.h"
#include "platform/wait.h"
#include "server/rpc.h"
#include "server/statistics.h"
#include "server/xdr.h"

namespace duet::server {

class Call;

// Where a call's reply goes.
class ReplySink {
 public:
  // Sends the reply.
  virtual void send(Call& call) = 0;
  // The caller gets no answer, and the connection ends.
  virtual void give_up() = 0;

 protected:
  ~ReplySink() = default;
};

// Ownership: the connection's; pooled, because making one anew costs more than many requests.
// Thread-safety: the connection's thread, except between Crossing's two hops.
class Call {
 public:
  Call();
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // What was asked.  `arguments` and what is read from it are valid until the call is done.
  std::uint32_t xid = 0;
  std::uint32_t program = 0;
  std::uint32_t version = 0;
  std::uint32_t procedure = 0;
  filer::Caller caller;
  XdrReader arguments;

  // WRITE's data where they lie; here so that the room for them is kept between calls.
  std::vector<ConstBytes> data;

  // The results; begin_reply() has put the RPC header before them.
  XdrWriter reply;
  // An error inside a successful RPC reply: for the statistics.
  bool failed = false;

  // co_await call.sent(): sends the reply, and resumes when its bytes have left, or never will.
  // For replies that gather() what the coroutine keeps alive.
  class [[nodiscard]] Sent final : public Resume {
   public:
    explicit Sent(Call& call) : call_(call) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> coroutine);
    void await_resume() const noexcept {}

   private:
    Call& call_;
  };
  Sent sent() { return Sent(*this); }

 private:
  friend class Connection;
  friend struct Hub;
  struct Memory;  // rpc/call_memory.h: the record and its scratch

  void reset();

  std::unique_ptr<Memory> memory_;
  ReplySink* sink_ = nullptr;
  Continuation* sent_waiter_ = nullptr;
  Instant started_{};
  std::size_t cost_bytes_ = 0;  // charged to the connection until the call is done
  bool sent_ = false;
  Call* next_ = nullptr;      // in a queue of replies
  Call* all_next_ = nullptr;  // in the connection's list of calls under way
  Call* all_prev_ = nullptr;
};

// One version range of one RPC program.  Outlives the calls it serves.
// Thread-safety: the reactor's thread; one object per reactor.
class Program {
 public:
  virtual ~Program() = default;

  [[nodiscard]] virtual std::uint32_t number() const = 0;
  [[nodiscard]] virtual std::uint32_t version_low() const = 0;
  [[nodiscard]] virtual std::uint32_t version_high() const = 0;
  // Of a version in that range: 0 .. count - 1.
  [[nodiscard]] virtual std::uint32_t procedure_count(std::uint32_t version) const = 0;

  // Reads call.arguments, writes call.reply.  Anything but kSuccess: what was written is dropped.
  // REQUIRES: call.version and call.procedure are within the above.
  virtual Task<AcceptStatus> serve(Call& call) = 0;

  // How many bytes the reply may hold in memory: for the connection's bound.
  [[nodiscard]] virtual std::size_t reply_bytes(const Call& call) const {
    static_cast<void>(call);
    return 0;
  }
  // Null: not counted.
  [[nodiscard]] virtual ProcedureStatistics* statistics(std::uint32_t procedure) {
    static_cast<void>(procedure);
    return nullptr;
  }
};

}  // namespace duet::server
