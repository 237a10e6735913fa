// duet-shelf-bench: a shelf beside the disk it stands on, in one run.
//
// Each workload runs by turns on the raw file and through the shelf, over a Unix socket and TCP, in
// short rounds; what counts is the ratio of the medians.  Needs a directory on the disk to be
// measured.

#include <fmt/format.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/linux/block_device.h"
#include "platform/task_scope.h"
#include "shelf/linux/open_disk.h"

namespace {

using namespace duet;         // NOLINT: a small program
using namespace duet::shelf;  // NOLINT

struct Workload {
  const char* name;
  BlockOperation::Kind kind;
  std::size_t bytes;
  int at_once;
  bool random;
  bool buffered;
};

constexpr std::array<Workload, 6> kWorkloads{{
    {"write 1 MiB, 8 at once", BlockOperation::Kind::kWrite, 1 << 20, 8, false, false},
    {"read 1 MiB, 8 at once", BlockOperation::Kind::kRead, 1 << 20, 8, false, false},
    {"write 4 KiB, 32 at once", BlockOperation::Kind::kWrite, 4096, 32, true, false},
    {"read 4 KiB, 32 at once", BlockOperation::Kind::kRead, 4096, 32, true, false},
    {"read 4 KiB, 32 at once, cached", BlockOperation::Kind::kRead, 4096, 32, true, true},
    {"write 4 KiB, 32 at once, cached", BlockOperation::Kind::kWrite, 4096, 32, true, true},
}};

struct FreeAligned {
  void operator()(std::byte* memory) const { free(memory); }
};

class Run {
 public:
  Run(os::EpollScheduler& scheduler, BlockDevice& disk, const Workload& workload, Duration time)
      : scheduler_(scheduler),
        disk_(disk),
        workload_(workload),
        end_(scheduler.now() + time),
        scope_(scheduler) {
    started_ = scheduler.now();
    for (int i = 0; i < workload.at_once; ++i) {
      ++running_;
      scope_.spawn(work());
    }
  }
  // Operations in a second.
  double rate() {
    if (running_ > 0) {
      scheduler_.run();
    }
    const std::chrono::duration<double> time = scheduler_.now() - started_;
    return static_cast<double>(done_) / time.count();
  }

 private:
  Task<void> work() {
    const std::unique_ptr<std::byte, FreeAligned> memory(
        static_cast<std::byte*>(aligned_alloc(kBlockBytes, workload_.bytes)));
    std::fill_n(memory.get(), workload_.bytes, std::byte{0x5A});
    const MutableBytes part(memory.get(), workload_.bytes);
    const std::span<const MutableBytes> parts(&part, 1);
    while (scheduler_.now() < end_) {
      const std::uint64_t at = next();
      Status moved = Ok{};
      if (workload_.kind == BlockOperation::Kind::kRead) {
        moved = co_await disk_.read(at, parts);
      } else {
        moved = co_await disk_.write(at, parts);
      }
      DUET_CHECK(moved.ok());
      ++done_;
    }
    if (--running_ == 0) {
      scheduler_.stop();
    }
  }

  std::uint64_t next() {
    const std::uint64_t blocks = workload_.bytes / kBlockBytes;
    const std::uint64_t places = disk_.block_count() / blocks;
    if (!workload_.random) {
      return position_++ % places * blocks;
    }
    position_ = position_ * 6364136223846793005U + 1442695040888963407U;
    return (position_ >> 20U) % places * blocks;
  }

  os::EpollScheduler& scheduler_;
  BlockDevice& disk_;
  const Workload& workload_;
  const Instant end_;
  Instant started_;
  std::uint64_t position_ = 1;
  std::uint64_t done_ = 0;
  int running_ = 0;
  TaskScope scope_;
};

template <typename T>
Task<void> store_result(os::EpollScheduler& scheduler, Task<T> task, std::optional<T>& to) {
  to = co_await std::move(task);
  scheduler.stop();
}

class ShelfProcess {
 public:
  ShelfProcess(const std::string& image, const std::string& socket, bool buffered) {
    std::vector<std::string> arguments{DUET_SHELF,         "serve",      "--listen",
                                       "unix://" + socket, "--listen",   "tcp://127.0.0.1:17420",
                                       "--disk",           "d0=" + image};
    if (buffered) {
      arguments.emplace_back("--buffered");
    }
    std::vector<char*> argv;
    for (std::string& each : arguments) {
      argv.push_back(each.data());
    }
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, STDOUT_FILENO);
      execv(DUET_SHELF, argv.data());
      _exit(127);
    }
  }
  // So far, of all its threads.
  [[nodiscard]] double cpu_seconds() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string field;
    std::getline(file, field, ')');
    double ticks = 0;
    for (int i = 3; i <= 15 && file >> field; ++i) {
      ticks += i >= 14 ? std::stod(field) : 0;  // utime and stime
    }
    return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  ~ShelfProcess() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

std::unique_ptr<SharedDisk> open_disk(os::EpollScheduler& scheduler, const std::string& url,
                                      std::uint8_t node) {
  std::optional<Result<std::unique_ptr<SharedDisk>>> opened;
  TaskScope scope(scheduler);
  scope.spawn(store_result(
      scheduler,
      open_shared_disk(scheduler, DiskUrl::parse(url).value(), {.key = make_key(node, 1)}),
      opened));
  scheduler.run();
  if (!opened->ok()) {
    fmt::print(stderr, "{}: {}\n", url, opened->error().context);
    exit(1);
  }
  return std::move(opened->value());
}

double own_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::string image_in(const std::string& directory, const char* name, std::uint64_t bytes) {
  std::string path = directory + "/" + name;
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".label");
  const std::string command =
      fmt::format("'{}' create '{}' --size {} >/dev/null", DUET_SHELF, path, bytes);
  if (system(command.c_str()) != 0) {
    exit(1);
  }
  // Blocks that were never written are not read from the disk.
  os::EpollScheduler scheduler;
  auto opened = os::open_block_device(scheduler, path);
  BlockDevice& disk = *opened.value();
  Workload fill{"fill", BlockOperation::Kind::kWrite, 1 << 20, 8, false, false};
  Run(scheduler, disk, fill, std::chrono::seconds(1)).rate();
  return path;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures a shelf beside the disk it stands on.");
  std::string directory;
  int rounds = 3;
  int round_ms = 500;
  std::uint64_t mib = 512;
  std::string only;
  app.add_option("directory", directory, "On the disk to be measured")->required();
  app.add_option("--rounds", rounds)->capture_default_str();
  app.add_option("--ms", round_ms, "Of one round")->capture_default_str();
  app.add_option("--mib", mib, "Size of the disk")->capture_default_str();
  app.add_option("--only", only, "Workloads whose name contains this");
  CLI11_PARSE(app, argc, argv);
  const std::string raw_image = image_in(directory, "raw.img", mib << 20U);
  const std::string shelf_image = image_in(directory, "shelf.img", mib << 20U);
  fmt::print("{:34} {:>10} {:>10} {:>10}   {}\n", "", "disk", "unix", "tcp",
             "unix/disk tcp/disk   CPU us: disk, unix, tcp");
  for (const Workload& workload : kWorkloads) {
    if (std::string_view(workload.name).find(only) == std::string_view::npos) {
      continue;
    }
    const ShelfProcess shelf(shelf_image, directory + "/s", workload.buffered);
    os::EpollScheduler scheduler;
    auto opened = os::open_block_device(scheduler, raw_image, {.direct = !workload.buffered});
    const std::unique_ptr<BlockDevice> raw = std::move(opened.value());
    const auto over_unix = open_disk(scheduler, "shelf+unix://" + directory + "/s#d0", 0);
    const auto over_tcp = open_disk(scheduler, "shelf+tcp://127.0.0.1:17420/d0", 1);
    const std::array<BlockDevice*, 3> disks{raw.get(), over_unix.get(), over_tcp.get()};
    std::array<std::vector<double>, 3> rates;
    std::array<double, 3> cpu{};  // seconds, of both processes, for one operation
    std::array<double, 3> operations{};
    for (int round = -1; round < rounds; ++round) {  // the first warms up
      for (std::size_t i = 0; i < disks.size(); ++i) {
        const double before = own_cpu_seconds() + shelf.cpu_seconds();
        const double rate =
            Run(scheduler, *disks[i], workload, std::chrono::milliseconds(round_ms)).rate();
        if (round >= 0) {
          rates[i].push_back(rate);
          cpu[i] += own_cpu_seconds() + shelf.cpu_seconds() - before;
          operations[i] += rate * round_ms / 1000;
        }
      }
    }
    const bool large = workload.bytes >= (1U << 20U);
    const double d = median(rates[0]);
    const double u = median(rates[1]);
    const double t = median(rates[2]);
    fmt::print(
        "{:34} {:10.0f} {:10.0f} {:10.0f}   {:9.2f} {:8.2f}   {:6.0f} {:6.0f} {:6.0f}   {}\n",
        workload.name, d, u, t, u / d, t / d, 1e6 * cpu[0] / operations[0],
        1e6 * cpu[1] / operations[1], 1e6 * cpu[2] / operations[2], large ? "MiB/s" : "ops/s");
  }
  std::filesystem::remove(raw_image);
  std::filesystem::remove(raw_image + ".label");
  std::filesystem::remove(shelf_image);
  std::filesystem::remove(shelf_image + ".label");
  return 0;
}
