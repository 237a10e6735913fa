// ClientBook: the connections of both filers, as both nodes know them, so that whoever takes a
// filer over can wake the clients that wait for the former host (server/address: tickle).
//
//   accepted here --at the end of the turn--> the partner's book --begin() there--> tickled
//
// A closed connection stays in the book until kConnectionsKept newer ones have come: to be told of
// what is gone harms no client.
//
// Ownership: borrows scheduler and link.  Thread-safety: the strand, which serves all connections
// of a pair.

#pragma once

#include <array>
#include <deque>
#include <vector>

#include "address/tickle.h"
#include "config/config.h"
#include "failover/pair_node.h"
#include "interconnect/partner_link.h"
#include "platform/scheduler.h"
#include "server_linux/listener.h"

namespace duet::daemon {

class ClientBook final : private interconnect::ChannelUser {
 public:
  static constexpr std::size_t kConnectionsKept = 32'768;  // of a filer; 40 bytes each

  ClientBook(Scheduler& scheduler, interconnect::PartnerLink& link);
  ~ClientBook();
  ClientBook(const ClientBook&) = delete;
  ClientBook& operator=(const ClientBook&) = delete;

  // For the listeners of a filer; none if no address of it ever moves to another machine.
  [[nodiscard]] server::AcceptObserver observer(const config::Filer& configured);

  // To be called with each beat: sends what the partner has not heard, some thousands at most. What
  // was just accepted it sends by itself.
  void tell_partner();

  // This node hosts the filer from now on.  The connections of before: those of the former host, and
  // those that this node had when it lost the filer, of which some clients may not have heard.
  [[nodiscard]] std::vector<address::Connection> begin(std::uint32_t filer);

 private:
  struct Tell final : Continuation {
    explicit Tell(ClientBook& owner) : book(owner) {}
    void run() override { book.tell_partner(); }
    ClientBook& book;
  };
  struct Page {
    std::deque<address::Connection> here;  // accepted by this node, the oldest first
    std::size_t told = 0;                  // of them
    bool anew = true;                      // the partner forgets what it knows
    std::deque<address::Connection> there;
  };

  void on_message(ConstBytes message) override;
  void on_link(const interconnect::LinkStatus& status) override;
  void accepted(std::uint32_t filer, const address::Connection& connection);
  [[nodiscard]] bool tell(std::uint32_t filer);

  Scheduler& scheduler_;
  interconnect::PartnerLink& link_;
  std::array<Page, failover::kFilers> pages_;
  Tell tell_;
};

}  // namespace duet::daemon
