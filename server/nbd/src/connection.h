// Connection: one client: its handshake, then its requests, many at once.
//
//   reading:  [header -> room in memory -> data -> a task of its own]*, until the peer ends or lies
//   a task:   disk -> its turn to send -> the lease -> reply
//   end:      reading has ended and no request is under way
//
// Invariants:
//   (1) A request under way keeps the connection alive; when the peer has gone its reply is
//       dropped.
//   (2) Whoever holds a buffer waits for disk, lease or peer, never for another buffer.
//   (3) What the group did not do because this node was shut out is not answered, not even with an
//       error: the connection ends, and the client asks where the group is managed.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <list>
#include <memory>
#include <optional>

#include "haggling.h"
#include "hub.h"
#include "receiver.h"

namespace duet::nbd {

class Connection {
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
  // The peer has let us wait for too long.
  [[nodiscard]] bool overdue(Instant now) const;
  [[nodiscard]] ConnectionInfo info() const;

 private:
  class UnderWay;

  Task<void> serve();
  Task<bool> take(Request request);
  Task<bool> take_data(Request request, BlockDevice& disk);
  Task<bool> wait_for_room(std::size_t bytes);
  [[nodiscard]] ReplyError check(const Request& request, const BlockDevice& disk) const;
  [[nodiscard]] bool full() const;

  // Each is a task of its own, and answers.
  Task<void> read(Request request, BlockDevice& disk, Buffers::Buffer buffer);
  Task<Status> make_last(const Request& request, BlockDevice& disk, Status written);
  Task<void> write(Request request, BlockDevice& disk, Buffers::Buffer buffer);
  Task<void> write_zeroes(Request request, BlockDevice& disk);
  Task<void> flush(Request request, BlockDevice& disk);
  Task<void> refuse(Request request, ReplyError why);
  // ... this one in the reading task, as its data come piece by piece.
  Task<bool> write_long(Request request, BlockDevice& disk, Buffers::Buffer buffer);

  Task<void> reply(Request request, ReplyError error);
  Task<void> send_data(Request request, BlockDevice& disk, MutableBytes piece);
  Task<bool> send(ConstBytes first, ConstBytes second);
  // Whether the client may hear of it.  False: the group ended here, and so does the connection.
  bool may_tell(const Status& done);
  [[nodiscard]] ExportCounters& counters() { return hub_.counters[choice_->index]; }

  Hub& hub_;
  const std::unique_ptr<ByteStream> stream_;
  const filer::Address address_;
  const std::uint16_t port_;
  Receiver receiver_;
  std::list<Connection*>::iterator member_;  // of hub_.all
  std::optional<Choice> choice_;
  bool closed_ = false;
  bool draining_ = false;
  std::uint32_t requests_ = 0;  // under way
  std::size_t bytes_ = 0;       // that they hold
  WaitList changed_;            // a request is done, or the connection closes
  AsyncMutex sending_;
  std::optional<Instant> receive_by_;  // the peer is to have sent what it began
  std::optional<Instant> taken_by_;    // ... to have taken what is being sent
  TaskScope scope_;                    // last: the requests' tasks use all of the above
};

}  // namespace duet::nbd
