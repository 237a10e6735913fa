// Machine: what a node has, whatever it serves: its configuration, threads, clocks and log memory.
//
// Thread-safety: the main thread, which runs the strand.

#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "platform/linux/clock.h"
#include "platform/linux/entropy.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"

namespace duet::daemon {

// Exit codes of the program.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitRefused = 2;  // the configuration or the machine; nothing was changed
inline constexpr int kExitAgain = 3;    // of a pair, for its supervisor: start a new incarnation

inline constexpr std::chrono::seconds kLockWait{5};  // I/O of a killed duetd ends within it

class Machine {
 public:
  Machine(config::Config config_given, const std::string& node_name);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Maps persistent memory of this node.  An empty text, or why not.  A missing file is made,
  // blank, in a pair: a node that lost its memory comes back without it, and its partner has the
  // log.
  std::string map(const config::Memory& from, std::unique_ptr<os::MappedMemory>& to) const;
  // "FILE:LINE".
  [[nodiscard]] std::string place(int line) const;

  // Reactors 1 and up run on threads of their own.
  void start_threads();
  void stop_threads();
  [[nodiscard]] std::uint32_t reactors() const { return node.reactors; }
  // Of reactor 0: the strand.
  [[nodiscard]] os::EpollScheduler& scheduler(std::uint32_t reactor);

  const config::Config config;
  const config::Node& node;
  os::EpollScheduler strand;
  os::SystemClock clock;
  os::SystemEntropy entropy;
  std::unique_ptr<os::MappedMemory> memory;  // of the node's own logs

 private:
  std::vector<std::unique_ptr<os::EpollScheduler>> others_;
  std::vector<std::thread> threads_;
};

// For people: its context, or its number.
[[nodiscard]] std::string text_of(const Error& error);

}  // namespace duet::daemon
