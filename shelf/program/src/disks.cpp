#include "disks.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <optional>

#include "platform/linux/entropy.h"
#include "platform/task_scope.h"

namespace duet::shelf {

namespace {

Task<void> end_with(os::EpollScheduler& scheduler, Task<Status> task,
                    std::optional<Status>& result) {
  result = co_await std::move(task);
  scheduler.stop();
}

}  // namespace

int refuse(const std::string& message) {
  fmt::print(stderr, "duet-shelf: {}\n", message);
  return kExitUsage;
}

std::string label_path(const std::string& path, const std::string& directory) {
  if (directory.empty()) {
    return path + ".label";
  }
  const std::size_t slash = path.rfind('/');
  return directory + "/" + (slash == std::string::npos ? path : path.substr(slash + 1)) + ".label";
}

Status run_to_end(os::EpollScheduler& scheduler, Task<Status> task) {
  std::optional<Status> result;
  TaskScope scope(scheduler);
  scope.spawn(end_with(scheduler, std::move(task), result));
  scheduler.run();  // stopped at once, when the task has ended already
  return *result;
}

std::array<std::uint64_t, 2> random_id() {
  os::SystemEntropy entropy;
  return {entropy.next(), entropy.next()};
}

Result<std::array<std::uint64_t, 2>> power_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  std::getline(file, text);
  std::array<std::uint64_t, 2> id{};
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-') {
      continue;
    }
    const auto value = static_cast<std::uint64_t>(c >= 'a' ? c - 'a' + 10 : c - '0');
    if (value > 15 || digits == 32) {
      return Error{Errc::kIo, "the system's boot id makes no sense"};
    }
    std::uint64_t& word = id[digits++ / 16];
    word = word << 4U | value;
  }
  if (digits != 32) {
    return Error{Errc::kIo, "the system has no boot id"};
  }
  return id;
}

}  // namespace duet::shelf
