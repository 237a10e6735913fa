// SimWire: both ends of a partner link in one simulated world, and what can go wrong between.
//
//   SimWire wire(scheduler, {.one_sided = true});
//   auto a = wire.open({pair, Node::kA, Incarnation{1}}, memory_a);   // a process of node a
//   auto b = wire.open({pair, Node::kB, Incarnation{2}}, memory_b);
//   wire.cut(Node::kA);            // what a says does not arrive ...
//   wire.heal(Node::kA);           // ... or arrives now, late, if b did not give up meanwhile
//
// Everything takes a time drawn from the seed; each direction keeps its order, as the seam
// promises.  Nothing is periodic: a world in which nothing happens comes to rest.  A beat
// travels by itself.
//
// One-sided (shared memory): a write lands inside write(), in the memory of the partner's
// node, whether its process lives or not, and is not stopped by what the wire does: only by the end
// of the writer's session.  Otherwise (a stream) the partner's end checks and stores.
//
// Destroying an end is kill -9: the partner hears of it after a delay, if the wire lets it.
//
// Ownership: outlives its ends; borrows the scheduler.  A memory outlives the sessions in which it
// was granted.  Thread-safety: one thread.

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>

#include "interconnect/link_base.h"
#include "sim/sim_scheduler.h"

namespace duet::interconnect {

class SimLink;
class SimWindow;
struct SimMessage;
struct SimWrite;
struct SimDone;

struct SimWireOptions {
  bool one_sided = false;
  Duration delay_max = std::chrono::microseconds(200);  // of a packet
  Duration silence = std::chrono::milliseconds(1000);   // until a cut is noticed
  Duration reconnect_max = std::chrono::milliseconds(50);
  // Of a stream: more than this is not taken before some of it is acknowledged.
  std::size_t queued_bytes_max = 8U << 20U;
};

class SimWire {
 public:
  SimWire(sim::SimScheduler& scheduler, const SimWireOptions& options);
  ~SimWire();
  SimWire(const SimWire&) = delete;
  SimWire& operator=(const SimWire&) = delete;

  // A process of `identity.node` begins.  REQUIRES: the node has none.
  std::unique_ptr<SimLink> open(const LinkIdentity& identity, PersistentMemory& memory);

  // What `from` sends is held back until heal().  The other end gives up after `silence`.
  void cut(Node from);
  void heal(Node from);
  // Both ends lose the session, each after a delay of its own.
  void reset();
  // The machine of `node` dies with its process: destroying its end sends nothing.
  void die_silently(Node node) { silent_[index(node)] = true; }
  // Shared memory only: the writer looked at the grants before they change.  Its writes land,
  // whatever is revoked, until false.
  void stale_writer(Node node, bool is) { stale_[index(node)] = is; }

  [[nodiscard]] bool up() const;  // both ends, in the same session

 private:
  friend class SimLink;
  friend class SimWindow;
  struct Packet;
  struct Direction;

  static std::size_t index(Node node) { return static_cast<std::size_t>(node); }
  void closed(Node node);
  void try_connect();
  void post_connect();
  void send(Node from, Packet packet);
  void deliver(Direction& direction);
  void schedule(Direction& direction);
  void notice_silence(Direction& direction);
  [[nodiscard]] Duration delay(Duration max);

  struct Connect final : Continuation {
    explicit Connect(SimWire& wire) : owner(wire) {}
    void run() override { owner.try_connect(); }
    SimWire& owner;
  };

  sim::SimScheduler& scheduler_;
  const SimWireOptions options_;
  std::array<SimLink*, 2> ends_{};
  std::array<std::unique_ptr<Direction>, 2> directions_;  // by sender
  std::array<bool, 2> silent_{};
  std::array<bool, 2> stale_{};
  Connect connect_;
  std::uint64_t sessions_ = 0;
};

// What an end grants, where a partner with shared memory sees it; outlives the process.
struct SimGrants {
  Grants grants;
  PersistentMemory* memory = nullptr;
};


class SimLink final : public LinkBase {
 public:
  ~SimLink() override;

  Status send(Channel channel, ConstBytes message) override;
  void beat() override;
  void grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
             std::uint64_t epoch) override;
  void revoke(WindowId window) override;
  [[nodiscard]] bool revocable() const override { return !wire_.options_.one_sided; }
  [[nodiscard]] bool one_sided() const override { return wire_.options_.one_sided; }
  std::unique_ptr<RemoteWindow> open_window(WindowId window, std::uint64_t epoch,
                                            RemoteWindowUser& user) override;

  // Of a stream: sent and not answered.
  [[nodiscard]] std::size_t write_bytes_under_way() const { return under_way_; }

 private:
  friend class SimWire;
  friend class SimWindow;
  SimLink(SimWire& wire, const LinkIdentity& identity, PersistentMemory& memory);
  void start_session(std::uint64_t wire_session, Incarnation peer,
                     std::shared_ptr<SimGrants> theirs);
  void stop_session(std::string_view reason);
  void receive(SimWire::Packet& packet);
  void on_write(const SimWrite& write);
  void on_done(const SimDone& done);
  void flush();
  void want_flush();
  void write_at_once(SimWindow& window, std::uint64_t offset, std::span<const ConstBytes> parts);
  void write_later(SimWindow& window, std::uint64_t offset, std::span<const ConstBytes> parts);

  struct Flush final : Continuation {
    explicit Flush(SimLink& link) : owner(link) {}
    void run() override { owner.flush(); }
    SimLink& owner;
  };

  SimWire& wire_;
  std::uint64_t wire_session_ = 0;  // 0: none
  std::shared_ptr<SimGrants> mine_;
  std::shared_ptr<SimGrants> theirs_;  // of the session
  std::uint64_t beat_ = 0;
  std::unique_ptr<SimWire::Packet> filling_;
  Flush flush_;
  std::array<SimWindow*, kWindows> windows_{};
  std::array<std::uint64_t, kWindows> refused_{};
  std::uint64_t last_right_ = 0;
  std::size_t under_way_ = 0;
};

}  // namespace duet::interconnect
