// duet_sim: runs worlds from fresh seeds, or one from a known one.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "world/run.h"

namespace {

using duet::world::Complaint;
using duet::world::RunOptions;
using duet::world::RunStatistics;

struct Arguments {
  std::uint64_t seeds = 20;
  double seconds = 0;  // 0: as many as `seeds`
  std::string sabotage = "none";
  bool one = false;
  RunOptions run;
};

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "duet_sim [--seed N | --seeds N | --seconds S | --minutes M] [--steps N] [--wire]\n"
               "         [--no-restores] [--sabotage NAME] [--verbose]\n");
  std::exit(2);
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--wire") {
      arguments.run.wire = true;
      continue;
    }
    if (name == "--no-restores") {
      arguments.run.restores = false;
      continue;
    }
    if (name == "--verbose") {
      arguments.run.verbose = true;
      continue;
    }
    if (++i == argc) {
      usage();
    }
    char* end = nullptr;
    const double number = std::strtod(argv[i], &end);
    if (name == "--sabotage") {
      arguments.sabotage = argv[i];
    } else if (*end != '\0') {
      usage();
    } else if (name == "--seed") {
      arguments.one = true;
      arguments.run.seed = std::strtoull(argv[i], nullptr, 10);
    } else if (name == "--seeds") {
      arguments.seeds = static_cast<std::uint64_t>(number);
    } else if (name == "--seconds") {
      arguments.seconds = number;
    } else if (name == "--minutes") {
      arguments.seconds = number * 60;
    } else if (name == "--steps") {
      arguments.run.steps = static_cast<std::uint64_t>(number);
    } else {
      usage();
    }
  }
  const auto sabotage = duet::world::sabotage_named(arguments.sabotage);
  if (!sabotage.has_value()) {
    usage();
  }
  arguments.run.sabotage = *sabotage;
  return arguments;
}

bool run_one(const char* program, const Arguments& arguments, RunStatistics& total) {
  // Before it runs, since it may end in an assertion.
  std::printf("seed %llu\n", static_cast<unsigned long long>(arguments.run.seed));
  std::fflush(stdout);
  RunStatistics statistics;
  const Complaint complaint = duet::world::run(arguments.run, statistics);
  total.add(statistics);
  if (complaint.empty()) {
    return true;
  }
  std::printf("FAILED: %s\nreplay: %s --seed %llu --steps %llu%s%s%s%s\n", complaint.c_str(), program,
              static_cast<unsigned long long>(arguments.run.seed),
              static_cast<unsigned long long>(arguments.run.steps),
              arguments.run.wire ? " --wire" : "",
              arguments.run.restores ? "" : " --no-restores",
              arguments.sabotage == "none" ? "" : " --sabotage ",
              arguments.sabotage == "none" ? "" : arguments.sabotage.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments = parse(argc, argv);
  std::random_device device;
  const auto begin = std::chrono::steady_clock::now();
  const auto over = [&](std::uint64_t done) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    return arguments.seconds > 0 ? spent.count() >= arguments.seconds : done >= arguments.seeds;
  };
  RunStatistics total;
  std::uint64_t done = 0;
  do {
    if (!arguments.one) {
      arguments.run.seed = (std::uint64_t{device()} << 32U) | device();
    }
    if (!run_one(argv[0], arguments, total)) {
      return 1;
    }
    ++done;
  } while (!arguments.one && !over(done));
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds: %llu requests, %llu changes, %llu deaths (and %llu while opening), %llu records "
      "replayed, %llu retries, %llu I/O errors, %llu without room, %llu blank memories refused, "
      "%llu snapshots, %llu restores, %llu clones, %llu CPs, %llu turns\n",
      n(done), n(total.requests), n(total.changes), n(total.deaths), n(total.deaths_while_opening),
      n(total.replayed), n(total.retries), n(total.faults), n(total.full), n(total.refusals),
      n(total.snapshots), n(total.restores), n(total.clones), n(total.cps), n(total.turns));
  return 0;
}
