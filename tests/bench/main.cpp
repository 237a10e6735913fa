// duet-bench: raw NFSv3 calls over one TCP connection from one thread; one workload per run.
// Prints one JSON object.  tests/bench/run.sh runs it against several servers in turn.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "measure.h"

namespace duet::bench {
namespace {

struct Options {
  WorkloadOptions workload;
  std::string host = "127.0.0.1";
  uint16_t port = 20049;
  uint16_t mount_port = 0;  // 0: the same
  std::string path = "/vol0";
  MeasureOptions measure;
  double wait_seconds = 0;
};

void usage() {
  std::fprintf(stderr,
               "usage: duet-bench --workload NAME [--host ADDRESS] [--port N] [--mount-port N]\n"
               "         [--export PATH] [--depth N] [--seconds S] [--warm-up S] [--file-mib N]\n"
               "         [--dir NAME] [--entries N] [--batch 0|1]\n"
               "       duet-bench --wait SECONDS [--host ADDRESS] [--port N] [--export PATH]\n"
               "workloads: getattr read4k write4k create (and remove) write1m read1m fill\n"
               "  fill makes --entries files in --dir and leaves them there\n"
               "--wait tries until the export can be mounted and its root answers; prints the "
               "seconds\n"
               "example: duet-bench --port 20049 --export /vol0 --workload write4k --depth 16\n");
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    const char* value = argv[i + 1];
    const double number = std::atof(value);
    if (key == "--workload")
      options.workload.name = value;
    else if (key == "--host")
      options.host = value;
    else if (key == "--port")
      options.port = static_cast<uint16_t>(number);
    else if (key == "--mount-port")
      options.mount_port = static_cast<uint16_t>(number);
    else if (key == "--export")
      options.path = value;
    else if (key == "--depth")
      options.workload.depth = static_cast<size_t>(number);
    else if (key == "--seconds")
      options.measure.seconds = number;
    else if (key == "--warm-up")
      options.measure.warm_up_seconds = number;
    else if (key == "--file-mib")
      options.workload.file_bytes = static_cast<uint64_t>(number) << 20;
    else if (key == "--batch")
      options.measure.batch = number != 0;
    else if (key == "--dir")
      options.workload.directory = value;
    else if (key == "--entries")
      options.workload.entries = static_cast<uint64_t>(number);
    else if (key == "--wait")
      options.wait_seconds = number;
    else
      usage();
  }
  if (argc % 2 == 0 || options.workload.depth == 0) usage();
  if (options.mount_port == 0) options.mount_port = options.port;
  return options;
}

// Both ports must accept before Client, which gives up at the first refusal, is used.
int wait_for_server(const Options& options) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  for (const uint16_t port : {options.port, options.mount_port}) {
    int socket = -1;
    while ((socket = connect_tcp(options.host, port)) < 0) {
      if (elapsed() > options.wait_seconds) die("the server did not come up");
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    Stream closes_it(socket);
  }
  Client client(options.host, options.port, options.mount_port);
  (void)client.lookup(client.mount(options.path), "no-such-name");
  std::printf("%.3f\n", elapsed());
  return 0;
}

int run(const Options& options) {
  Client client(options.host, options.port, options.mount_port);
  const Handle root = client.mount(options.path);
  const auto workload = make_workload(options.workload, client, root);
  if (workload == nullptr) usage();
  MeasureOptions how = options.measure;
  how.depth = options.workload.depth;
  if (options.workload.name == "fill") {  // all of it counts, however long it takes
    how.warm_up_seconds = 0;
    how.seconds = 1e6;
  }
  const Result result = measure(*workload, client.nfs(), how);
  std::printf(
      "{\"workload\": \"%s\", \"depth\": %zu, \"ops\": %llu, \"seconds\": %.4f, "
      "\"ops_per_s\": %.1f, \"mib_per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
      "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
      options.workload.name.c_str(), options.workload.depth,
      static_cast<unsigned long long>(result.operations), result.seconds,
      result.operations_per_second(), result.mib_per_second, result.p50_us, result.p99_us,
      result.p999_us, result.max_us);
  return 0;
}

}  // namespace
}  // namespace duet::bench

int main(int argc, char** argv) {
  const auto options = duet::bench::parse(argc, argv);
  errno = 0;
  if (options.wait_seconds > 0) return duet::bench::wait_for_server(options);
  if (options.workload.name.empty()) duet::bench::usage();
  return duet::bench::run(options);
}
