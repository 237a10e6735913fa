// LonePeers: the other managers of a group, where there are none.
//
// Thread-safety: a value without a state.

#pragma once

#include "raid/peers.h"

namespace duet::raid {

class LonePeers final : public Peers {
 public:
  void attach(PeersUser* /*user*/) override {}
  [[nodiscard]] std::uint64_t session(NodeId /*node*/) const override { return 0; }
  void send(NodeId /*to*/, ConstBytes /*packet*/) override {}
  std::uint64_t store(NodeId /*to*/, std::uint64_t /*offset*/,
                      std::span<const ConstBytes> /*parts*/) override {
    return 0;
  }
  [[nodiscard]] std::uint64_t stored(NodeId /*node*/) const override { return 0; }
};

}  // namespace duet::raid
