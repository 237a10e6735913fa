// Peers: the other managers of a group, and writes into their persistent memory.
//
// Two nodes: raid/link, on interconnect's PartnerLink.  The simulator has its own.  What must hold:
//   (1) A session with a node is one unbroken time of being connected to one incarnation of it.
//       Within it, packets and stores arrive in the order in which they were given, once, without
//       gaps: a packet behind a store arrives when the store is durable there.
//   (2) When a session ends nothing of it completes, and nothing of it arrives once the next
//       one began, or once the other node is told by its failover layer that this one is fenced.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "raid/node.h"

namespace duet::raid {

// Told in turns of its own, never inside a call of its own.
class PeersUser {
 public:
  virtual void on_packet(NodeId from, ConstBytes packet) = 0;
  // A session with this node began or ended.
  virtual void on_session(NodeId node) = 0;
  // stored() of this node has grown.
  virtual void on_stored(NodeId node) = 0;

 protected:
  ~PeersUser() = default;
};

class Peers {
 public:
  virtual ~Peers() = default;

  // Null: nobody.
  virtual void attach(PeersUser* user) = 0;

  // Of the session with `node`; 0: none.  Sessions have numbers of their own, which grow.
  [[nodiscard]] virtual std::uint64_t session(NodeId node) const = 0;

  // REQUIRES: at most kPacketBytesMax.  Without a session it is dropped.
  virtual void send(NodeId to, ConstBytes packet) = 0;

  // Stores the concatenation of `parts` at `offset` of the group's region in the memory of `to`.
  // They are not needed after the call.  Returns the number of the store: 1, 2, 3, ... in a
  // session; without a session 0.
  virtual std::uint64_t store(NodeId to, std::uint64_t offset,
                              std::span<const ConstBytes> parts) = 0;
  // Stores up to this number are durable at `node`; starts at 0 in each session.
  [[nodiscard]] virtual std::uint64_t stored(NodeId node) const = 0;

  static constexpr std::size_t kPacketBytesMax = (16U << 10U) - 64;
};

}  // namespace duet::raid
