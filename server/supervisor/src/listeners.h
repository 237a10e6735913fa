// Listeners: the listening sockets that the parent keeps.
//
// Thread-safety: one thread.

#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "supervisor/supervisor.h"

namespace duet::supervisor {

class Listeners {
 public:
  // REQUIRES: at most kListenersMax.
  explicit Listeners(const std::vector<ListenerSpec>& specs);
  ~Listeners() { close_all(); }
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  // Ok: it is open now.  A port that the kernel chose stays.  Errors of TcpListener::listen;
  // kInvalid: there is none of that index.
  [[nodiscard]] Status open(std::size_t index);
  // Nobody listens afterwards, whoever has copies.
  void close(std::size_t index);
  void close_all();

  [[nodiscard]] std::size_t size() const { return count_; }
  // -1: it is closed.
  [[nodiscard]] int descriptor(std::size_t index) const { return descriptors_[index]; }
  [[nodiscard]] const os::TcpAddress& address(std::size_t index) const {
    return specs_[index].address;
  }

 private:
  const std::size_t count_;
  std::array<ListenerSpec, kListenersMax> specs_;
  std::array<int, kListenersMax> descriptors_{};
};

}  // namespace duet::supervisor
