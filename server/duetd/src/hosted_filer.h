// HostedFiler: a filer of a pair on this node, as PairNode opens, serves and ends it.
//
//   PairNode --FilerHost--> this --> filer::Filer (root, log, replay, CPs)
//                                --> ServedFiler  (addresses, clients, operators)
//
// Invariants:
//   (1) Clients reach the filer only between take_addresses() and abandon(), and get answers only
//       while PairNode::may_answer(); what they ask earlier waits, and nobody is refused.
//   (2) abandon() completes when nothing of the filer is left: no connection, request or I/O.
//
// Ownership: borrows machine, configuration, pair, port and book.  Thread-safety: the strand.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "address/address_keeper.h"
#include "client_book.h"
#include "failover/pair_node.h"
#include "filer/filer.h"
#include "nvlog/mirror_port.h"
#include "platform/task_scope.h"
#include "served_filer.h"

namespace duet::daemon {

class HostedFiler final : public failover::FilerHost, private filer::AnswerGate {
 public:
  // `log`: what of the node's memory is the logs'.
  HostedFiler(Machine& machine, const config::Filer& configured, failover::PairNode& pair,
              nvlog::MirrorPort& port, PersistentMemory& log, ClientBook& clients, DiskAccess disks,
              SocketKeeper sockets);
  ~HostedFiler();

  // failover::FilerHost
  void line_up() override;
  Task<Result<failover::FilerFacts>> facts() override;
  void admit_partner(std::uint64_t epoch) override;
  void cut_partner() override;
  Task<Result<failover::Opened>> open(const failover::Opening& opening) override;
  Task<Status> take_addresses() override;
  void serve() override;
  Task<void> make_ready() override;
  [[nodiscard]] bool mirrored() const override;
  Task<Status> record_membership(std::uint64_t generation) override;
  void stop_answering() override;
  Task<Status> settle(Instant deadline) override;
  Task<Status> resume() override;
  Task<void> abandon() override;

  // The lease was renewed: the addresses live on.
  void renew_addresses();

  // What `status` is to warn of besides.
  void add_warnings(std::function<std::vector<std::string>()> more) {
    warnings_of_groups_ = std::move(more);
  }

  // The log asks for a CP; any time.
  void want_consistency_point();

  [[nodiscard]] ServedFiler& served() { return served_; }
  [[nodiscard]] const config::Filer& configured() const { return configured_; }
  // Null while it is not open here.
  [[nodiscard]] const filer::Filer* filer() const { return filer_.get(); }

  // The addresses of a filer, as server/address wants them.
  static std::vector<address::FilerAddress> filer_addresses(const config::Filer& configured);

 private:
  // Something of the filer runs that abandon() must wait for.
  class Busy {
   public:
    explicit Busy(HostedFiler& host) : host_(host) { ++host_.busy_; }
    ~Busy() { --host_.busy_; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    HostedFiler& host_;
  };
  [[nodiscard]] bool may_answer() const override { return pair_.may_answer(index_); }
  WaitList& resumed() override { return pair_.answers_resumed(); }
  [[nodiscard]] std::vector<BlockDevice*> disks() const;
  [[nodiscard]] std::vector<std::string> warnings() const;
  Task<void> announce();
  Task<void> tickle(std::vector<address::Connection> connections);
  Task<void> stand_behind();

  Machine& machine_;
  const config::Filer& configured_;
  const std::uint32_t index_;
  failover::PairNode& pair_;
  nvlog::MirrorPort& port_;
  PersistentMemory& log_;
  ClientBook& clients_;
  ServedFiler served_;
  address::AddressKeeper addresses_;
  std::unique_ptr<PersistentMemory> copy_;  // of the partner's log, once it is cut off
  std::unique_ptr<filer::Filer> filer_;
  std::function<std::vector<std::string>()> warnings_of_groups_;  // may be none
  bool cp_wanted_ = false;                                        // while the filer is being opened
  bool ending_ = false;
  bool lining_up_ = false;
  std::size_t busy_ = 0;
  TaskScope scope_;  // announcements, tickles
};

}  // namespace duet::daemon
