// ServerConnection: one client of a shelf, from its hello to the end of what it has under way.
//
//   receive() -> Request -> Session -> finish() -> ready_ -> Sender -> the stream
//
// What ends in one turn is answered with one call; requests and buffers are used again.

#pragma once

#include <memory>
#include <vector>

#include "buffer_pool.h"
#include "frame_reader.h"
#include "platform/task_scope.h"
#include "shelf/server.h"
#include "shelf/wire_format.h"

namespace duet::shelf {

class ServerConnection {
 public:
  ServerConnection(ShelfServer& server, ByteStream& stream);
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;

  Task<void> run();

 private:
  struct Command;
  // One request, from its header to its answer.
  struct Request final : BlockOperation {
    explicit Request(ServerConnection& owner) : connection(owner) {}
    void run() override { connection.finish(*this, result); }
    ServerConnection& connection;
    RequestHeader header;
    ReplyHeader reply;
    BufferPool::Buffer buffer;
    std::size_t buffer_bytes = 0;
    MutableBytes part;
    std::vector<std::byte> body;  // of an answer that is not data
    std::unique_ptr<Command> command;
  };
  struct Command final : DiskCommand {
    Command(Request& whose, const DiskRequest& what) : DiskCommand(what), owner(whose) {}
    void run() override { owner.connection.finish(*this); }
    Request& owner;
  };
  struct Sender final : Continuation {
    explicit Sender(ServerConnection& owner) : connection(owner) {}
    void run() override { connection.send(); }
    ServerConnection& connection;
  };
  struct Write final : WriteOperation {
    explicit Write(ServerConnection& owner) : connection(owner) {}
    void run() override {
      connection.sent();
      connection.send();
    }
    ServerConnection& connection;
  };

  Task<bool> hello();
  Task<void> end_late_hello();
  Task<void> close_when_replaced();
  Task<void> receive();
  Task<bool> skip(std::size_t bytes);
  [[nodiscard]] bool has_room() const;
  Request& take_request(const RequestHeader& header);
  void execute(Request& request);
  void execute_io(Request& request);
  void execute_command(Request& request, DiskRequest::Kind kind);
  void finish(Request& request, const Status& result);
  void finish(Command& command);
  void answer(Request& request, const Status& result, ConstBytes payload);
  void send();
  void sent();
  void release(Request& request);
  bool corrupt();

  ShelfServer& server_;
  Scheduler& scheduler_;
  ByteStream& stream_;
  FrameReader reader_;
  Target* target_ = nullptr;
  std::unique_ptr<Target::Session> session_;
  bool broken_ = false;  // nothing can be sent any more
  std::vector<std::unique_ptr<Request>> all_;
  std::vector<Request*> free_;
  std::size_t under_way_ = 0;          // requests read and not yet answered
  std::uint64_t bytes_under_way_ = 0;  // of their buffers
  std::vector<Request*> ready_;        // answered, not yet handed to the stream
  std::vector<Request*> sending_;      // handed to the stream
  std::vector<ConstBytes> parts_;
  bool writing_ = false;
  Sender sender_;
  Write write_;
  WaitList room_;  // woken when a request has been answered, or the last write has ended
  TaskScope scope_;
};

}  // namespace duet::shelf
