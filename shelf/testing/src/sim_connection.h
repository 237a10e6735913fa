// SimConnection: one connection between a SimInitiator and a SimTarget, with what is on its way.
//
//   send() -> there_ --delivery--> Session -> executing_ -> back_ --delivery--> the initiator
//
// Messages keep their order.  Either end may go first: what was sent still arrives at the target.

#pragma once

#include <deque>
#include <list>
#include <memory>

#include "shelf/target.h"
#include "shelf/testing/sim_target.h"
#include "sim_message.h"

namespace duet::shelf::testing {

class SimConnection {
 public:
  SimConnection(SimTarget& target, SimPath& path, SimInitiator& client, DiskKey key,
                std::uint64_t number);
  ~SimConnection();
  SimConnection(const SimConnection&) = delete;
  SimConnection& operator=(const SimConnection&) = delete;

  void send(std::unique_ptr<SimRequest> request);
  // The initiator is gone, or has given it up; what it sent is still on its way.
  void leave();
  // The shelf's process is gone.
  void die();

 private:
  struct Io;
  struct Command;
  struct Delivery final : Continuation {
    Delivery(SimConnection& owner, void (SimConnection::*what)())
        : connection(owner), deliver(what) {}
    void run() override { (connection.*deliver)(); }
    SimConnection& connection;
    void (SimConnection::*deliver)();
  };

  void schedule(Delivery& delivery);
  void deliver_there();
  void deliver_back();
  void execute(std::unique_ptr<SimRequest> request);
  void answer(SimReply reply);
  void finish(Io& io);
  void finish(Command& command);
  Task<void> enter();
  Task<void> end();

  SimTarget& target_;
  SimPath& path_;
  SimInitiator* client_;  // null: gone, or interested no more
  const Target::Initiator initiator_;
  bool dead_ = false;  // the process at the other end is
  bool entered_ = false;
  bool entering_ = false;
  bool ending_ = false;
  bool held_back_ = false;  // the path put an answer aside
  std::unique_ptr<Target::Session> session_;
  std::deque<std::unique_ptr<SimRequest>> there_;  // null: the end of what was sent
  std::deque<SimReply> back_;                      // tag 0: whether it was let in
  std::list<std::unique_ptr<Io>> io_;
  std::list<std::unique_ptr<Command>> commands_;
  Delivery delivery_there_;
  Delivery delivery_back_;
  TaskScope scope_;
};

}  // namespace duet::shelf::testing
