// duet-bench-mirror: what a mirrored append costs against a local one.
//
//   duet-bench-mirror [DIRECTORY]     (a tmpfs, or persistent memory; default /dev/shm)
//
// One program, one run: rounds of each transport take turns, and medians of rounds are
// compared, so that a busy machine hurts all alike.  Latency: one record at a time, each waited
// for. Rate: up to 32 that are not yet durable.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "node.h"

namespace duet::mirror_test {
namespace {

constexpr std::size_t kBodyBytes = 4096;
constexpr int kRounds = 9;
constexpr int kLatencyRecords = 2000;
constexpr int kRateRecords = 20000;
constexpr std::uint64_t kWindowRecords = 32;

double microseconds_of(Duration duration) { return static_cast<double>(duration.count()) / 1e3; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A log to append to, local or mirrored, with a CP whenever it needs one.
class Bench {
 public:
  Bench(os::EpollScheduler& scheduler, nvlog::RequestLog& log)
      : scheduler_(scheduler), log_(log), body_(kBodyBytes, std::byte{0x42}) {}

  // Latencies in microseconds.
  Task<void> one_at_a_time(std::vector<double>& latencies) {
    for (int i = 0; i < kLatencyRecords; ++i) {
      const Instant begin = scheduler_.now();
      append();
      while (log_.durable() < log_.last()) {
        co_await log_.durable_changed().wait();
      }
      latencies.push_back(microseconds_of(scheduler_.now() - begin));
    }
    scheduler_.stop();
  }
  // Records each second.
  Task<void> many(double& rate) {
    const Instant begin = scheduler_.now();
    for (int i = 0; i < kRateRecords; ++i) {
      while (in_flight() >= kWindowRecords) {
        co_await log_.durable_changed().wait();
      }
      append();
    }
    while (in_flight() > 0) {
      co_await log_.durable_changed().wait();
    }
    rate = kRateRecords * 1e6 / microseconds_of(scheduler_.now() - begin);
    scheduler_.stop();
  }

 private:
  [[nodiscard]] std::uint64_t in_flight() const {
    return static_cast<std::uint64_t>(log_.last()) - static_cast<std::uint64_t>(log_.durable());
  }
  void append() {
    if (!log_.fits(kBodyBytes) ||
        (log_.filling_bytes() > log_.half_bytes() / 2 && log_.can_switch())) {
      const nvlog::Sequence covered = log_.switch_half();
      DUET_CHECK(log_.release(covered).ok());
    }
    const ConstBytes part(body_);
    DUET_CHECK(log_.append(std::span(&part, 1)).ok());
  }
  os::EpollScheduler& scheduler_;
  nvlog::RequestLog& log_;
  const std::vector<std::byte> body_;
};

struct Measured {
  const char* name;
  std::vector<double> p50;
  std::vector<double> p99;
  std::vector<double> rate;
};

void measure(os::EpollScheduler& scheduler, nvlog::RequestLog& log, Measured& into) {
  Bench bench(scheduler, log);
  TaskScope scope(scheduler);
  std::vector<double> latencies;
  scope.spawn(bench.one_at_a_time(latencies));
  scheduler.run();
  std::sort(latencies.begin(), latencies.end());
  into.p50.push_back(latencies[latencies.size() / 2]);
  into.p99.push_back(latencies[latencies.size() * 99 / 100]);
  double rate = 0;
  scope.spawn(bench.many(rate));
  scheduler.run();
  into.rate.push_back(rate);
}

pid_t start_partner(const Meeting& meeting) {
  const pid_t child = fork();
  DUET_CHECK(child >= 0);
  if (child != 0) {
    return child;
  }
  os::EpollScheduler scheduler;
  std::unique_ptr<os::TcpListener> listener;
  if (meeting.transport != Transport::kSharedMemory) {
    auto made = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(meeting.port));
    DUET_CHECK(made.ok());
    listener = std::move(made.value());
  }
  NodeProcess node(scheduler, meeting, interconnect::Node::kB, std::move(listener));
  node.port->admit(kLog.filer, 1);
  scheduler.run();
  _exit(0);
}

std::uint16_t free_port() {
  os::EpollScheduler scheduler;
  return os::TcpListener(scheduler, 0).port();
}

// Waits until the log is mirrored, with the CPs that it wants.
Task<void> until_synced(os::EpollScheduler& scheduler, NodeProcess& node, nvlog::Covered& root) {
  while (!node.synced()) {
    node.consistency_point(root, [](const nvlog::Covered&) {});
    co_await sleep(scheduler, std::chrono::milliseconds(1));
  }
  scheduler.stop();
}

// One node and its partner's process, over one transport.
struct Mirrored {
  explicit Mirrored(os::EpollScheduler& scheduler, Transport transport, const std::string& where)
      : directory(where) {
    std::filesystem::create_directories(directory);
    meeting.transport = transport;
    meeting.directory = directory;
    meeting.port = free_port();
    partner = start_partner(meeting);
    node = std::make_unique<NodeProcess>(scheduler, meeting, interconnect::Node::kA);
    DUET_CHECK(node->open(root).ok());
    TaskScope scope(scheduler);
    scope.spawn(until_synced(scheduler, *node, root));
    scheduler.run();
  }
  ~Mirrored() {
    node.reset();
    kill(partner, SIGKILL);
    waitpid(partner, nullptr, 0);
    std::filesystem::remove_all(directory);
  }
  std::string directory;
  Meeting meeting;
  pid_t partner = 0;
  nvlog::Covered root{.epoch = 1, .last = {}, .log_empty = true};
  std::unique_ptr<NodeProcess> node;
};

void report(const std::vector<Measured*>& all) {
  const double local_p50 = median(all[0]->p50);
  const double local_rate = median(all[0]->rate);
  std::printf("%-14s %10s %10s %8s %12s %8s\n", "4 KiB append", "p50 us", "p99 us", "x local",
              "records/s", "x local");
  for (const Measured* const one : all) {
    const double p50 = median(one->p50);
    const double rate = median(one->rate);
    std::printf("%-14s %10.2f %10.2f %8.2f %12.0f %8.3f\n", one->name, p50, median(one->p99),
                p50 / local_p50, rate, rate / local_rate);
  }
}

int run(const std::string& base) {
  const std::string directory =
      base + "/duet-bench-mirror-" + std::to_string(static_cast<long>(getpid()));
  {
    os::EpollScheduler scheduler;
    Mirrored shared(scheduler, Transport::kSharedMemory, directory + "-shm");
    Mirrored tcp(scheduler, Transport::kTcp, directory + "-tcp");
    Mirrored tls(scheduler, Transport::kTls, directory + "-tls");
    std::filesystem::create_directories(directory);
    const auto memory = os::map_persistent_memory(directory + "/own", memory_bytes(),
                                                  {.create = true, .accept_volatile = true});
    DUET_CHECK(memory.ok());
    auto local = nvlog::RequestLog::recover(
        scheduler, *memory.value(), kLog, {.epoch = 1, .last = {}, .log_empty = true},
        [](const nvlog::ReplayRecord&) -> Status { return Ok{}; });
    DUET_CHECK(local.ok() && local.value()->start(2).ok());

    Measured of_local{"local", {}, {}, {}};
    Measured of_shared{"shared memory", {}, {}, {}};
    Measured of_tcp{"TCP", {}, {}, {}};
    Measured of_tls{"TCP and TLS", {}, {}, {}};
    for (int round = 0; round < kRounds; ++round) {
      measure(scheduler, *local.value(), of_local);
      measure(scheduler, *shared.node->log, of_shared);
      measure(scheduler, *tcp.node->log, of_tcp);
      measure(scheduler, *tls.node->log, of_tls);
    }
    report({&of_local, &of_shared, &of_tcp, &of_tls});
    const bool stayed = shared.node->synced() && tcp.node->synced() && tls.node->synced();
    if (!stayed) {
      std::fprintf(stderr, "a log was not mirrored any more: the figures mean nothing\n");
      return 1;
    }
  }
  std::filesystem::remove_all(directory);
  return 0;
}

}  // namespace
}  // namespace duet::mirror_test

int main(int argc, char** argv) { return duet::mirror_test::run(argc > 1 ? argv[1] : "/dev/shm"); }
