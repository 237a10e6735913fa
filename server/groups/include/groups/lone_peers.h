// LonePeers: the other managers of a group, where there are none.
//
// Thread-safety: a value without a state.

#pragma once

#include "raid/peers.h"

namespace duet::groups {

class LonePeers final : public raid::Peers {
 public:
  void attach(raid::PeersUser* /*user*/) override {}
  [[nodiscard]] std::uint64_t session(raid::NodeId /*node*/) const override { return 0; }
  void send(raid::NodeId /*to*/, ConstBytes /*packet*/) override {}
  std::uint64_t store(raid::NodeId /*to*/, std::uint64_t /*offset*/,
                      std::span<const ConstBytes> /*parts*/) override {
    return 0;
  }
  [[nodiscard]] std::uint64_t stored(raid::NodeId /*node*/) const override { return 0; }
};

}  // namespace duet::groups
