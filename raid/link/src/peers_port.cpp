#include "raid/peers_port.h"

#include <algorithm>

#include "base/check.h"
#include "link_peers.h"

namespace duet::raid {

namespace {
constexpr auto kChannel = interconnect::Channel::kRaid;
}  // namespace

PeersPort::PeersPort(Scheduler& scheduler, interconnect::PartnerLink& link,
                     std::uint64_t incarnation)
    : scheduler_(scheduler), link_(link), epochs_(incarnation) {
  link_.attach(kChannel, this);
}

PeersPort::~PeersPort() {
  link_.attach(kChannel, nullptr);
  for (const LinkPeers* const peers : peers_) {
    DUET_CHECK(peers == nullptr);
  }
}

std::unique_ptr<Peers> PeersPort::open(const GroupId& group, interconnect::WindowId window,
                                       const Region& region, NodeId partner) {
  DUET_CHECK(static_cast<std::size_t>(window) < peers_.size());
  DUET_CHECK(peers_[static_cast<std::size_t>(window)] == nullptr);
  return std::make_unique<LinkPeers>(*this, group, window, region, partner);
}

bool PeersPort::reaches_partner() const {
  const interconnect::LinkStatus status = link_.status();
  return connected(status.state) && status.peer > fenced_;
}

void PeersPort::fenced(interconnect::Incarnation partner) {
  fenced_ = std::max(fenced_, partner);
  if (link_.status().peer <= fenced_) {
    on_link(link_.status());
  }
}

void PeersPort::on_message(ConstBytes message) {
  if (!reaches_partner() || message.size() < sizeof(PeersHead)) {
    return;
  }
  const auto head = load<PeersHead>(message, 0);
  if (head.magic == kPeersMagic && head.window < peers_.size() && peers_[head.window] != nullptr) {
    peers_[head.window]->on_message(head, message.subspan(sizeof(PeersHead)));
  }
}

void PeersPort::on_link(const interconnect::LinkStatus& /*status*/) {
  for (LinkPeers* const peers : peers_) {
    if (peers != nullptr) {
      peers->on_link();
    }
  }
}

}  // namespace duet::raid
