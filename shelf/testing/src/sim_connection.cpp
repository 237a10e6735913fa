#include "sim_connection.h"

#include <algorithm>
#include <utility>

#include "sim_initiator.h"

namespace duet::shelf::testing {

struct SimConnection::Io final : BlockOperation {
  Io(SimConnection& owner, std::unique_ptr<SimRequest> what)
      : connection(owner), request(std::move(what)), part(request->bytes()) {
    kind = request->command ? BlockOperation::Kind::kWrite : request->io;
    block = request->block;
    if (kind != BlockOperation::Kind::kFlush) {
      parts = {&part, 1};
    }
  }
  void run() override { connection.finish(*this); }
  SimConnection& connection;
  std::unique_ptr<SimRequest> request;
  MutableBytes part;
};

struct SimConnection::Command final : DiskCommand {
  Command(SimConnection& owner, std::unique_ptr<SimRequest> what)
      : DiskCommand(request_of(*what)), connection(owner), message(std::move(what)) {}
  void run() override { connection.finish(*this); }
  static DiskRequest request_of(SimRequest& message) {
    DiskRequest request{.kind = *message.command,
                        .reservation = message.reservation,
                        .victim = message.victim,
                        .epoch = message.epoch,
                        .block = message.block};
    if (request.kind == DiskRequest::Kind::kCompareAndSwap) {
      request.expected = message.bytes().first(kBlockBytes);
      request.desired = message.bytes().subspan(kBlockBytes);
    }
    return request;
  }
  SimConnection& connection;
  std::unique_ptr<SimRequest> message;
};

SimConnection::SimConnection(SimTarget& target, SimPath& path, SimInitiator& client, DiskKey key,
                             std::uint64_t number)
    : target_(target),
      path_(path),
      client_(&client),
      initiator_{.key = key, .number = number},
      delivery_there_(*this, &SimConnection::deliver_there),
      delivery_back_(*this, &SimConnection::deliver_back),
      scope_(target.scheduler_) {
  schedule(delivery_there_);  // the request to be let in
}

SimConnection::~SimConnection() = default;

void SimConnection::schedule(Delivery& delivery) {
  if (delivery.linked()) {
    return;
  }
  // An answer waits for the process that takes it in.
  const bool to_process = &delivery == &delivery_back_ && client_ != nullptr;
  Scheduler& scheduler = to_process ? client_->process() : target_.scheduler_;
  scheduler.post_at(delivery, scheduler.now() + target_.travel_time());
}

void SimConnection::send(std::unique_ptr<SimRequest> request) {
  there_.push_back(std::move(request));
  if (!entering_ || entered_) {
    schedule(delivery_there_);
  }
}

void SimConnection::leave() {
  client_ = nullptr;
  send(nullptr);
}

void SimConnection::die() {
  dead_ = true;
  scope_.cancel();
  session_.reset();
  io_.clear();
  commands_.clear();
  back_.clear();
  schedule(delivery_there_);
}

void SimConnection::deliver_there() {
  if (!path_.pass_there(delivery_there_)) {
    return;
  }
  if (dead_ || !target_.running()) {  // the other end's system answers: there is no such connection
    dead_ = true;
    if (client_ != nullptr) {
      std::exchange(client_, nullptr)->lost(*this, "the shelf's process is gone");
    }
    target_.remove(*this);
    return;
  }
  if (!entered_) {
    if (!std::exchange(entering_, true)) {
      scope_.spawn(enter());
    }
    return;
  }
  if (there_.empty()) {
    return;
  }
  std::unique_ptr<SimRequest> request = std::move(there_.front());
  there_.pop_front();
  if (request == nullptr) {
    if (!std::exchange(ending_, true)) {
      scope_.spawn(end());
    }
    return;
  }
  if (!there_.empty()) {
    schedule(delivery_there_);
  }
  execute(std::move(request));
}

Task<void> SimConnection::enter() {
  auto entered = co_await target_.target_->enter(initiator_);
  entered_ = true;
  SimReply reply;
  if (entered.ok()) {
    session_ = std::move(entered.value());
  } else {
    reply.result = entered.error();
  }
  answer(std::move(reply));
  if (!there_.empty()) {
    schedule(delivery_there_);
  }
}

// The sender has ended the connection and all it sent has arrived.
Task<void> SimConnection::end() {
  if (session_ != nullptr) {
    session_->close();
    co_await session_->drained();
  }
  // Not from inside this task: the connection owns it.
  dead_ = true;
  session_.reset();
  schedule(delivery_there_);
}

void SimConnection::execute(std::unique_ptr<SimRequest> request) {
  if (session_ == nullptr) {
    return;  // it was not let in: the initiator hears of that
  }
  if (!request->command) {
    Io& io = *io_.emplace_back(std::make_unique<Io>(*this, std::move(request)));
    session_->start(io, io.request->epoch);
    return;
  }
  if (*request->command == DiskRequest::Kind::kWriteDurable) {
    Io& io = *io_.emplace_back(std::make_unique<Io>(*this, std::move(request)));
    session_->start_durable(io, io.request->epoch);
    return;
  }
  Command& command = *commands_.emplace_back(std::make_unique<Command>(*this, std::move(request)));
  session_->start_command(command, command.message->repeated);
}

void SimConnection::finish(Io& io) {
  SimReply reply{.tag = io.request->tag, .result = io.result};
  if (io.kind == BlockOperation::Kind::kRead && io.result.ok()) {
    reply.data = std::move(io.request->data);
  }
  std::erase_if(io_, [&io](const auto& each) { return each.get() == &io; });
  answer(std::move(reply));
}

void SimConnection::finish(Command& command) {
  SimReply reply{.tag = command.message->tag,
                 .result = command.result,
                 .data = {},
                 .state = std::move(command.state)};
  std::erase_if(commands_, [&command](const auto& each) { return each.get() == &command; });
  answer(std::move(reply));
}

void SimConnection::answer(SimReply reply) {
  back_.push_back(std::move(reply));
  schedule(delivery_back_);
}

void SimConnection::deliver_back() {
  if (back_.empty()) {
    return;
  }
  if (std::exchange(held_back_, false)) {  // the path's turn: it goes on in the process's
    schedule(delivery_back_);
    return;
  }
  if (!path_.pass_back(delivery_back_)) {
    held_back_ = true;
    return;
  }
  SimReply reply = std::move(back_.front());
  back_.pop_front();
  if (!back_.empty()) {
    schedule(delivery_back_);
  }
  if (client_ != nullptr) {
    reply.tag == 0 ? client_->entered(*this, reply.result) : client_->answered(*this, reply);
  }
}

}  // namespace duet::shelf::testing
