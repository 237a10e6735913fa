// ClientCounts: how many connections there are, in all and of each client address.
// Thread-safety: one thread.

#pragma once

#include <cstddef>
#include <map>

#include "base/check.h"
#include "filer/request.h"

namespace duet::server {

class ClientCounts {
 public:
  [[nodiscard]] std::size_t all() const { return all_; }
  [[nodiscard]] std::size_t of(const filer::Address& address) const {
    const auto client = clients_.find(address);
    return client == clients_.end() ? 0 : client->second;
  }
  void enter(const filer::Address& address) {
    ++clients_[address];
    ++all_;
  }
  // REQUIRES: entered.
  void leave(const filer::Address& address) {
    const auto client = clients_.find(address);
    DUET_CHECK(client != clients_.end());
    if (--client->second == 0) {
      clients_.erase(client);
    }
    --all_;
  }

 private:
  std::map<filer::Address, std::size_t> clients_;
  std::size_t all_ = 0;
};

}  // namespace duet::server
