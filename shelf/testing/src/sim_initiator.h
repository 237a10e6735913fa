// SimInitiator: a process's SharedDisk in the simulator; its connection to a SimTarget.

#pragma once

#include <map>
#include <memory>

#include "shelf/testing/sim_target.h"
#include "sim_message.h"

namespace duet::shelf::testing {

class SimInitiator final : public SharedDisk {
 public:
  SimInitiator(SimTarget& target, SimPath& path, DiskKey key, Scheduler& process);
  ~SimInitiator() override;
  SimInitiator(const SimInitiator&) = delete;
  SimInitiator& operator=(const SimInitiator&) = delete;

  [[nodiscard]] std::uint64_t block_count() const override;
  [[nodiscard]] std::string_view name() const override;
  [[nodiscard]] DiskKey key() const override { return key_; }
  [[nodiscard]] DiskFeatures features() const override;
  [[nodiscard]] DiskHealth health() const override;
  void use_epoch(std::uint64_t epoch) override;
  void start(BlockOperation& operation) override;
  void start_command(DiskCommand& command) override;

  [[nodiscard]] Scheduler& process() const { return process_; }

  // From the connection.
  void entered(SimConnection& connection, const Status& result);
  void answered(SimConnection& connection, SimReply& reply);
  void lost(SimConnection& connection, std::string_view why);

 private:
  // One of both, until it is answered.
  struct Waiting {
    BlockOperation* operation = nullptr;
    DiskCommand* command = nullptr;
    std::uint64_t epoch = 0;
    bool sent = false;
  };
  struct Watch final : Continuation {
    explicit Watch(SimInitiator& owner) : initiator(owner) {}
    void run() override { initiator.watch(); }
    SimInitiator& initiator;
  };

  void add(const Waiting& waiting);
  void send(std::uint64_t tag, Waiting& waiting);
  void watch();
  void watch_later();
  void disconnected(std::string_view why);
  void complete(Waiting& waiting, const Status& result);
  void fail_all(const Error& error);

  SimTarget& target_;
  SimPath& path_;
  const DiskKey key_;
  Scheduler& process_;
  std::uint64_t epoch_ = 0;
  SimConnection* connection_ = nullptr;
  bool entered_ = false;  // the connection was let in
  bool was_connected_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t tag_ = 0;
  std::uint64_t reconnects_ = 0;
  Instant heard_{};  // from the target, of this connection
  Instant lost_{};   // since when there is no connection that was let in
  Instant since_{};
  std::string_view last_error_;
  std::map<std::uint64_t, Waiting> waiting_;  // in the order they were started
  Watch watch_;
};

}  // namespace duet::shelf::testing
