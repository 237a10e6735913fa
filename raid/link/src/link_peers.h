// LinkPeers: one group's Peers over the link.  See peers_port.h.
//
// Invariants:
//   (1) With a session there is a window of the partner's epoch; all that goes out has `mine_`.
//   (2) What waits goes out in order; nothing goes out past it.
//   (3) The user is told in turns of the link, or in one of its own: never inside send() or
//   store().

#pragma once

#include <deque>
#include <vector>

#include "peers_message.h"
#include "raid/peers_port.h"

namespace duet::raid {

class LinkPeers final : public Peers, private interconnect::RemoteWindowUser {
 public:
  LinkPeers(PeersPort& port, const GroupId& group, interconnect::WindowId window,
            const PeersPort::Region& region, NodeId partner);
  ~LinkPeers() override;

  // Peers
  void attach(PeersUser* user) override { user_ = user; }
  [[nodiscard]] std::uint64_t session(NodeId node) const override;
  void send(NodeId to, ConstBytes packet) override;
  std::uint64_t store(NodeId to, std::uint64_t offset, std::span<const ConstBytes> parts) override;
  [[nodiscard]] std::uint64_t stored(NodeId node) const override;

  // Of the port
  void on_link();
  void on_message(const PeersHead& head, ConstBytes body);

 private:
  struct Item {
    std::uint64_t store = 0;  // its number; 0: a packet
    std::uint64_t offset = 0;
    std::uint64_t behind = 0;  // a store: packets given before it
    std::vector<std::byte> bytes;
    std::size_t written = 0;  // of a store
  };
  struct Store {  // that has gone out
    std::uint64_t number;
    std::uint64_t last_write;  // of the window
  };
  struct Later final : Continuation {
    explicit Later(LinkPeers& peers) : owner(peers) {}
    void run() override { owner.later(); }
    LinkPeers& owner;
  };

  void on_window() override;
  void offer();  // grants the region in a new epoch, and says so
  void say_hello();
  void begin(std::uint64_t theirs);
  void say_seen();
  void end();
  void later();
  void pump();
  void wake(Duration in);
  [[nodiscard]] bool put(Item& item);
  [[nodiscard]] bool put_now(std::uint64_t offset, std::span<const ConstBytes> parts);
  Status say(PeersVerb verb, ConstBytes body);
  [[nodiscard]] bool of_session(const PeersHead& head) const {
    return theirs_ != 0 && head.epoch == theirs_ && head.to == mine_;
  }

  PeersPort& port_;
  const GroupId group_;
  const interconnect::WindowId window_id_;
  const PeersPort::Region region_;
  const NodeId partner_;
  PeersUser* user_ = nullptr;
  std::uint64_t mine_ = 0;    // granted in this session of the link; 0: none
  std::uint64_t theirs_ = 0;  // of the session; 0: none
  std::uint64_t sessions_ = 0;
  std::unique_ptr<interconnect::RemoteWindow> window_;
  std::deque<Item> waiting_;
  std::deque<Store> under_way_;
  std::uint64_t stores_ = 0;   // given in this session
  std::uint64_t stored_ = 0;   // ... that are durable there
  std::uint64_t packets_ = 0;  // given
  std::uint64_t seen_ = 0;     // ... that the partner has handled
  std::uint64_t handled_ = 0;  // of the partner's
  Later later_;
};

}  // namespace duet::raid
