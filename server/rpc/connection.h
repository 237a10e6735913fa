// Connection: the calls of one client connection, many at once.
//
//   reading:  [take_records -> start -> run_call]*, until the peer ends, is too much or lies
//   writing:  replies that are ready in one turn leave in one write (post_last)
//   end:      reading has ended and no request is under way
//
// Invariants:
//   (1) A request under way keeps the connection alive; when the peer has gone its reply is
//   dropped. (2) At most requests_per_connection requests and about bytes_per_connection of memory:
//   then
//       reading stops.
//
// Thread-safety: the reactor's thread.

#pragma once

#include <memory>
#include <vector>

#include "platform/stream.h"
#include "platform/task_scope.h"
#include "rpc/hub.h"
#include "rpc/record_assembler.h"
#include "server/call.h"

namespace duet::server {

class Connection final : private ReplySink {
 public:
  Connection(Hub& hub, std::unique_ptr<ByteStream> stream, const filer::Address& address,
             std::uint16_t port);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Serves until the end.
  Task<void> run();
  // Reads no more; what is under way goes on, its replies go nowhere.
  void close();
  // Starts no new request, and closes when the last one is answered.
  void drain();
  [[nodiscard]] std::size_t chunk_bytes() const { return assembler_.chunk_bytes(); }

 private:
  enum class Took : std::uint8_t { kAll, kFull, kEnd };
  // A queue of calls, linked through Call::next_.
  struct CallQueue {
    Call* head = nullptr;
    Call* tail = nullptr;
    void push(Call& call);
    Call* pop();
  };
  struct Flush final : Continuation {
    explicit Flush(Connection& owner) : connection(owner) {}
    void run() override { connection.flush(); }
    Connection& connection;
  };
  struct Sender final : WriteOperation {
    explicit Sender(Connection& owner) : connection(owner) {}
    void run() override {
      connection.wrote();
      connection.flush();
    }
    Connection& connection;
  };

  Took take_records();
  bool start(Call& call, Instant now);
  void dispatch(Call& call);
  Task<void> run_call(Call& call, Program& program);
  void answer(Call& call, Program& program, AcceptStatus status);
  void refuse(Call& call);
  void finished(Call& call);

  void send(Call& call) override;
  void give_up() override { close(); }
  void flush();
  void gather();
  void wrote();
  void replied(Call& call);

  [[nodiscard]] bool full() const;
  // Puts the connection into the list that it belongs to.
  void file();

  Hub& hub_;
  const std::unique_ptr<ByteStream> stream_;
  const filer::Address address_;
  const std::uint16_t port_;
  RecordAssembler assembler_;
  WaitList changed_;  // a request is done, or the connection closes
  std::uint32_t requests_ = 0;
  std::size_t reply_bytes_ = 0;  // that those requests may hold
  bool closed_ = false;
  bool draining_ = false;
  bool record_began_ = false;  // a record has begun and the hook's time says when

  CallQueue ready_;       // replies to be written
  CallQueue being_sent_;  // by sender_
  bool writing_ = false;
  std::vector<ConstBytes> parts_;
  Flush flush_;
  Sender sender_;

  Hook member_;            // in hub.all
  Hook reading_;           // in hub.idle or hub.receiving
  Hook writing_since_;     // in hub.sending
  Call* calls_ = nullptr;  // all under way
  TaskScope scope_;        // last: the calls' tasks use all of the above
};

}  // namespace duet::server
