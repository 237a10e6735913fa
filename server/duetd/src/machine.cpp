#include "machine.h"

#include <fmt/format.h>

namespace duet::daemon {

std::string text_of(const Error& error) {
  return error.context.empty() ? fmt::format("error {}", static_cast<int>(error.code))
                               : std::string(error.context);
}

Machine::Machine(config::Config config_given, const std::string& node_name)
    : config(std::move(config_given)), node(*config.node(node_name)), strand(node.poll) {
  for (std::uint32_t i = 1; i < node.reactors; ++i) {
    others_.push_back(std::make_unique<os::EpollScheduler>(node.poll));
  }
}

Machine::~Machine() { stop_threads(); }

std::string Machine::place(int line) const { return fmt::format("{}:{}", config.file, line); }

std::string Machine::map(const config::Memory& from, std::unique_ptr<os::MappedMemory>& to) const {
  os::PersistentMemoryOptions options;
  options.accept_volatile = from.accept_volatile;
  options.lock_wait = kLockWait;
  options.create = config.is_pair();
  options.populate = config.is_pair();  // a node that stands still is taken over
  auto opened = os::map_persistent_memory(from.path.text, from.size_bytes, options);
  if (opened.ok()) {
    to = std::move(opened.value());
    return {};
  }
  const std::string_view remedy =
      opened.error().code == Errc::kRefused ? "stop what uses it"
      : opened.error().code == Errc::kNotSupported
          ? "name persistent memory; or set accept_volatile: true, and know that a loss of power "
            "then loses acknowledged requests"
      : opened.error().code == Errc::kNotFound
          ? "put it back, or correct its path; for a new filer run `duet init` first"
          : "correct its path, size and rights";
  return fmt::format("{}: memory {}: {}; {}", place(from.path.line), from.path.text,
                     text_of(opened.error()), remedy);
}

void Machine::start_threads() {
  for (const std::unique_ptr<os::EpollScheduler>& scheduler : others_) {
    threads_.emplace_back([&runs = *scheduler] { runs.run(); });
  }
}

void Machine::stop_threads() {
  for (const std::unique_ptr<os::EpollScheduler>& scheduler : others_) {
    scheduler->stop();
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

os::EpollScheduler& Machine::scheduler(std::uint32_t reactor) {
  return reactor == 0 ? strand : *others_[reactor - 1];
}

}  // namespace duet::daemon
