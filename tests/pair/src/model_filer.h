// ModelFiler: a FilerHost that is small: 16 registers, a root in two copies, the real mirrored log.
//
// On a redundancy group each CP has data as well, written as fresh blocks before the root that
// refers to them: an opening finds those of its root.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "failover/pair_node.h"
#include "nvlog/mirrored_log.h"
#include "oracle.h"
#include "platform/task_scope.h"
#include "shared_group.h"
#include "sim/random.h"

namespace duet::pair {

inline constexpr std::uint64_t kRootBlock = 300;
inline constexpr std::size_t kRootDisks = 2;  // the first ones of each filer
inline constexpr std::uint64_t kModelMagic = 0x4C45'444F'4D54'4544;

struct ModelRoot {
  std::uint64_t magic = kModelMagic;
  std::uint64_t filer = 0;
  std::uint64_t epoch = 0;
  std::uint64_t cp = 0;
  std::uint64_t writer = 0;  // node and incarnation
  std::uint64_t last = 0;
  std::uint64_t log_empty = 0;
  std::uint64_t mirror_generation = 0;
  std::uint64_t membership_generation = 0;
  Registers registers{};
  std::uint32_t reserved = 0;
  std::uint32_t checksum = 0;
};
[[nodiscard]] bool valid(const ModelRoot& root);
[[nodiscard]] ModelRoot sealed(ModelRoot root);

class ModelFiler final : public failover::FilerHost {
 public:
  ModelFiler(Scheduler& scheduler, sim::Random& random, failover::PairNode& pair,
             const mailbox::Writer& self, std::uint32_t filer, PersistentMemory& memory,
             nvlog::MirrorPort& port, Oracle& oracle, bool on_group);

  Task<Result<failover::FilerFacts>> facts() override;
  void admit_partner(std::uint64_t epoch) override;
  void cut_partner() override;
  Task<Result<failover::Opened>> open(const failover::Opening& opening) override;
  Task<Status> take_addresses() override { co_return Ok{}; }
  void serve() override;
  [[nodiscard]] bool mirrored() const override;
  Task<Status> record_membership(std::uint64_t generation) override;
  void stop_answering() override;
  Task<Status> settle(Instant deadline) override;
  Task<Status> resume() override;
  Task<void> abandon() override;

  // A client's request arrives, and waits for the node's turn; replies go to the oracle.
  void request(bool write, std::uint32_t key, std::uint64_t value, const Register& least);
  void want_cp() { cp_wanted_ = true; }
  [[nodiscard]] bool takes_requests() const { return log_ != nullptr && taking_; }
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] const nvlog::MirroredLog* log() const { return log_.get(); }

 private:
  struct Request {
    bool write;
    std::uint32_t key;
    std::uint64_t value;
    Register least;
  };
  struct Arrival final : Continuation {
    explicit Arrival(ModelFiler& owner) : filer(owner) {}
    void run() override { filer.take_requests(); }
    ModelFiler& filer;
  };
  void take_requests();
  Task<void> execute(bool write, std::uint32_t key, std::uint64_t value, Register least);
  Task<void> checkpoints();
  Task<Status> checkpoint(bool log_empty);
  Task<Status> write_root(ModelRoot root);
  Task<Result<ModelRoot>> read_root();
  Task<Status> write_data(std::uint64_t cp);
  Task<Status> check_data(std::uint64_t cp, std::uint64_t epoch);
  [[nodiscard]] nvlog::LogIdentity identity() const;

  Scheduler& scheduler_;
  sim::Random& random_;
  failover::PairNode& pair_;
  const mailbox::Writer self_;
  const std::uint32_t filer_;
  PersistentMemory& memory_;
  nvlog::MirrorPort& port_;
  Oracle& oracle_;
  struct RootPlace {
    shelf::SharedDisk* disk;
    std::uint64_t block;
  };
  const bool on_group_;
  std::vector<RootPlace> roots_;
  std::unique_ptr<PersistentMemory> copy_;
  std::unique_ptr<nvlog::MirroredLog> log_;
  std::uint64_t life_ = 0;  // of this opening; requests of another one end
  std::uint64_t epoch_ = 0;
  std::uint64_t cp_ = 0;
  std::uint64_t membership_ = 0;
  Registers registers_{};
  bool taking_ = false;
  bool cp_wanted_ = false;
  bool failed_ = false;  // a CP failed: its log half is not free again
  bool checkpointing_ = false;
  std::size_t busy_ = 0;  // tasks with I/O or log under way
  std::vector<Request> requests_;
  Arrival arrival_;
  TaskScope scope_;
};

}  // namespace duet::pair
