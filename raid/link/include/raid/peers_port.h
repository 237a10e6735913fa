// PeersPort: the partner of a pair as a group's peer: packets on Channel::kRaid, stores through a
// window into the partner's copy of the group's intents.
//
//   closed --open()--> waits --the partner's port opened the same group--> session
//                        ^                                                    |
//                        +---- link lost, fenced, the partner closed ---------+
//
//   kHello: the region of mine that I grant you, in which epoch, and the epoch of yours that I
//   know.
//           A session begins with the first hello of a new epoch, on either side.
//   kPacket: of the session of that epoch.   kSeen: so many packets were handled (shared memory).
//   kBye: the port closes.
//
// What Peers promises and PartnerLink does not:
//   - more than the link takes now waits here, in order;
//   - a store is cut into writes that the link takes;
//   - shared memory: a store would overtake the packets before it, so it waits until the partner
//   has
//     handled them.
//
// Ownership: borrows scheduler and link, whose memory the regions lie in; both outlive the port,
// and the port outlives the Peers that it gave.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <memory>

#include "interconnect/partner_link.h"
#include "raid/label_format.h"
#include "raid/peers.h"

namespace duet::raid {

class LinkPeers;

class PeersPort final : private interconnect::ChannelUser {
 public:
  // `incarnation`: of this process; no other of this node had it.
  PeersPort(Scheduler& scheduler, interconnect::PartnerLink& link, std::uint64_t incarnation);
  // REQUIRES: what open() gave is gone.
  ~PeersPort();
  PeersPort(const PeersPort&) = delete;
  PeersPort& operator=(const PeersPort&) = delete;

  // Of a group's intents in the memory whose windows the link grants; multiples of 64.
  struct Region {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  // The window is the group's at both nodes, and nobody else's.
  // REQUIRES: it is not open.
  [[nodiscard]] std::unique_ptr<Peers> open(const GroupId& group, interconnect::WindowId window,
                                            const Region& region, NodeId partner);

  // The failover layer has fenced the partner's process of this incarnation: nothing of it, or of
  // an older (smaller) one, arrives from now on, whatever the link says.  With a link that cannot
  // revoke() its stores are over only when the process is.
  void fenced(interconnect::Incarnation partner);

  // A session is possible: the link is up, and leads to a process that was not fenced.
  [[nodiscard]] bool reaches_partner() const;

 private:
  friend class LinkPeers;
  void on_message(ConstBytes message) override;
  void on_link(const interconnect::LinkStatus& status) override;
  Scheduler& scheduler_;
  interconnect::PartnerLink& link_;
  std::uint64_t epochs_;  // last that was granted
  interconnect::Incarnation fenced_{};
  std::array<LinkPeers*, interconnect::kWindows> peers_{};
};

}  // namespace duet::raid
