// ShelfDisk: one disk of a shelf, as a node's process uses it.
//
//   connecting --hello--> connected --loss--> connecting ...
//       |                                        |
//       '--lost for fail_after: I/O fails (kIo) --'   and it goes on trying
//
// Invariants:
//   (1) What was not answered when the connection was lost is sent again in the next session, in
//       the order it was started.  That is safe for writes: the shelf lets the new session in only
//       when all of the old one has ended, so nothing older can land behind it; and a
//       compare-and-swap says that it is sent again.
//   (2) I/O carries the epoch of its start, also when it is sent again.
//   (3) A flush succeeds only when every write that completed before it is durable: when the
//   shelf's
//       machine lost its power with such writes in its cache, every flush until begin_anew() fails.
//   (4) An operation has completed only when nothing of its bytes is used any more.
//
// Ownership: owns the connector; borrows the scheduler.  Its destructor completes what waits
// with kClosed.  Thread-safety: the scheduler's thread only.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/task_scope.h"
#include "shelf/connector.h"
#include "shelf/shared_disk.h"
#include "shelf/wire_format.h"

namespace duet::shelf {

struct ShelfDiskOptions {
  std::string disk;  // its name at the shelf
  DiskKey key = kNoKey;
  std::string name;                                 // what name() gives; empty: as the shelf's
  Duration fail_after = std::chrono::seconds(30);   // lost for so long: I/O fails
  Duration open_within{};                           // open() tries so long; 0: `fail_after`
  Duration silence_max = std::chrono::seconds(5);   // no answer, not even to a ping: lost
  Duration retry = std::chrono::milliseconds(100);  // between attempts to connect
  std::uint32_t transfer_bytes_max = std::uint32_t{256} << 10U;  // of one request
};

class ShelfDisk final : public SharedDisk {
 public:
  // Connects.  Keeps trying for `open_within`, unless the shelf itself refuses:
  // kNotFound: no such disk; kNotSupported: another version; kFenced: a newer incarnation of this
  // node is connected; kRefused: it has another key than we.  kIo, kNotFound, kAccess: why the last
  // attempt failed.  kInvalid: the name.
  static Task<Result<std::unique_ptr<ShelfDisk>>> open(Scheduler& scheduler,
                                                       std::unique_ptr<Connector> connector,
                                                       ShelfDiskOptions options);
  ~ShelfDisk() override;
  ShelfDisk(const ShelfDisk&) = delete;
  ShelfDisk& operator=(const ShelfDisk&) = delete;

  [[nodiscard]] std::uint64_t block_count() const override { return blocks_; }
  [[nodiscard]] std::string_view name() const override { return options_.name; }
  void start(BlockOperation& operation) override;
  [[nodiscard]] DiskKey key() const override { return options_.key; }
  [[nodiscard]] DiskFeatures features() const override { return features_; }
  [[nodiscard]] DiskHealth health() const override;
  void use_epoch(std::uint64_t epoch) override { epoch_ = epoch; }
  void begin_anew() override;
  void start_command(DiskCommand& command) override;

  // The disk's own, drawn when it was created: the same through all names and paths.
  [[nodiscard]] std::array<std::uint64_t, 2> disk_id() const { return disk_id_; }

 private:
  struct Request;
  struct Whole;
  struct Session;
  struct Watch final : Continuation {
    explicit Watch(ShelfDisk& owner) : disk(owner) {}
    void run() override { disk.watch(); }
    ShelfDisk& disk;
  };
  struct Sender final : Continuation {
    explicit Sender(ShelfDisk& owner) : disk(owner) {}
    void run() override { disk.send(); }
    ShelfDisk& disk;
  };

  ShelfDisk(Scheduler& scheduler, std::unique_ptr<Connector> connector, ShelfDiskOptions options);

  // src/shelf_disk.cpp: operations, from their start to their end.
  Request& take_request();
  void enqueue(Request& request);
  void take_out(Request& request);
  void complete(Request& request, const Status& result);
  void fail_all(const Error& error);
  Status settled(const Request& request, const Status& result);

  // src/shelf_session.cpp: the connection.
  Task<void> stay_connected();
  Task<Status> connect_once();
  Task<Status> hello();
  Status take_hello(ConstBytes reply);
  Task<Status> receive();
  [[nodiscard]] bool still_leaving(const Request& request) const;
  Result<Request*> awaited(const ReplyHeader& header);
  Task<Status> receive_data(Request& request, const ReplyHeader& header);
  Task<Status> receive_state(Request& request, const ReplyHeader& header);
  void send_later();
  void send();
  void gather();
  void disconnected(const Error& why);
  void watch();
  void watch_later();

  Scheduler& scheduler_;
  const std::unique_ptr<Connector> connector_;
  ShelfDiskOptions options_;

  // What the shelf said.
  std::uint64_t blocks_ = 0;  // 0: it was never reached
  std::array<std::uint64_t, 2> disk_id_{};
  std::array<std::uint64_t, 2> power_{};
  DiskFeatures features_;
  std::uint32_t requests_max_ = 1;
  std::uint64_t bytes_max_ = 0;

  std::uint64_t epoch_ = 0;
  std::uint64_t serial_ = 0;
  std::vector<std::unique_ptr<Request>> all_;
  std::vector<Request*> free_;
  // Requests not yet answered, linked in the order they were started.
  Request* oldest_ = nullptr;
  Request* newest_ = nullptr;
  Request* next_to_send_ = nullptr;   // those before it were sent in this session
  std::uint64_t requests_ = 0;        // not yet answered
  std::uint32_t at_shelf_ = 0;        // ... of which were sent in this session
  std::uint64_t bytes_at_shelf_ = 0;  // their data

  std::uint64_t written_ = 0;  // writes that completed
  std::uint64_t flushed_ = 0;  // ... of which a flush has covered
  bool lost_writes_ = false;   // some of the others are gone: no flush succeeds before begin_anew()

  std::unique_ptr<Session> session_;  // null: there is no stream
  bool connected_ = false;            // the shelf let the session in
  bool session_refused_ = false;      // by the shelf itself, in the last attempt
  bool ping_due_ = false;
  std::uint64_t number_ = 0;  // of the last attempt to connect
  std::uint64_t sessions_ = 0;
  Instant since_{};    // when connected_ became what it is
  Instant heard_{};    // when anything came from the shelf, or was first expected
  Instant attempt_{};  // when the present attempt to connect began
  Error last_error_{Errc::kIo, ""};
  Watch watch_;
  Sender sender_;
  WaitList attempted_;  // woken when an attempt to connect has ended
  TaskScope scope_;
};

}  // namespace duet::shelf
