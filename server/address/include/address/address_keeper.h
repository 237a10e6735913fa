// AddressKeeper: the addresses of one filer on this machine, for as long as the filer is here.
//
//   away --take()--> here, announce() --renew() with each beat--> here --drop()--> away
//                     |
//                     +-- no renew(): the kernel removes them when their lifetime is over (rule 14)
//
// Invariants:
//   (1) An address that it adds always carries a lifetime: a machine that renews no lease loses it.
//   (2) It never changes an address that the machine has for good.
//
// An address of a network in which its interface has one for good is added alone (/32, /128): its
// coming and going touches no route and no other address.
//
// Each call but announce() asks the kernel and waits for it: microseconds, unless others change
// many addresses or routes at that moment.
//
// Needs CAP_NET_ADMIN, and CAP_NET_RAW to announce, for addresses with an interface; for the others
// nothing.  Thread-safety: the scheduler's thread.

#pragma once

#include <span>
#include <vector>

#include "address/filer_address.h"
#include "platform/scheduler.h"
#include "platform/task.h"

namespace duet::address {

// The kernel counts in seconds and looks up to one late.  Rounded up, and one more: less than that
// a beat that is a little late would lose the address of a living node.
[[nodiscard]] constexpr std::chrono::seconds lifetime_of(Duration lease) {
  return std::chrono::ceil<std::chrono::seconds>(lease + lease / 10) + std::chrono::seconds(1);
}

// Says what take() would, and changes nothing: for the start of a node, and for "takeover
// possible".
[[nodiscard]] Problems check_addresses(std::span<const FilerAddress> addresses);

// Removes whatever of them is on its interface with a lifetime; finding none is well.  Also of an
// earlier process: for a node that finds its filer elsewhere, and for a supervisor.
[[nodiscard]] Problems drop_addresses(std::span<const FilerAddress> addresses);

class AddressKeeper {
 public:
  // `lease`: the node's (rule 5).  Its end leaves the addresses to their lifetime.
  AddressKeeper(Scheduler& scheduler, std::vector<FilerAddress> addresses, Duration lease);
  AddressKeeper(const AddressKeeper&) = delete;
  AddressKeeper& operator=(const AddressKeeper&) = delete;

  [[nodiscard]] const std::vector<FilerAddress>& addresses() const { return addresses_; }
  [[nodiscard]] bool here() const { return here_; }

  // Adds them.  Over IPv6 the kernel takes their packets some milliseconds later; announce() waits
  // for that.  Those without a problem are here even if others have one,
  // and renew() goes on trying for the rest.
  // kNotFound: no such interface, or (without one) no interface has the address; kAccess: the
  // capability; kRefused: the interface is down, or does no IPv6; kInvalid: the prefix; kIo.
  [[nodiscard]] Problems take();

  // To be called whenever the node's lease was renewed, and never else: it brings back what the
  // kernel has removed.  Asks the kernel as seldom as the lifetime permits.
  [[nodiscard]] Problems renew();

  // Removes them.  Before the filer's connections are closed: their clients are then answered by
  // the next owner, with a reset, and nobody here refuses them when they connect again.
  [[nodiscard]] Problems drop();

  // Tells the networks where the addresses are now, as soon as they are usable and three times more
  // within a second: gratuitous ARP, as request and as answer (RFC 5227 section 2.3, RFC 5944
  // section 4.6); unsolicited neighbour advertisements that override (RFC 4861 section 7.2.6). Ends
  // early when they are dropped.  A failure leaves clients with what they know until they ask
  // again. REQUIRES: this outlives the task.
  Task<Problems> announce();

 private:
  Problems add_all();
  [[nodiscard]] bool all_local() const;

  Scheduler& scheduler_;
  const std::vector<FilerAddress> addresses_;
  const std::chrono::seconds lifetime_;
  bool here_ = false;
  Instant renewed_{};
};

}  // namespace duet::address
