// Rebuild by one node and by two, in simulated time.

#include "lab.h"
#include "report.h"
#include "timing.h"

namespace duet::raid::bench {

namespace {

struct Measured {
  double seconds = 0;           // simulated
  double cpu = 0;               // seconds of processor time
  std::uint64_t rebuilt = 0;    // stripes
  std::uint64_t passed_by = 0;  // stripes
  std::uint64_t written = 0;    // blocks of the new disk
  std::uint64_t messages = 0;
};

Measured measure(const Plan& plan, Machine& machine, std::uint32_t nodes, const Timing& timing,
                 std::uint64_t needed_in) {
  const Geometry geometry = {.level = Level::kSingleParity,
                             .disks = 9,
                             .chunk_blocks = 16,
                             .stripes = plan.tiny ? 64U : 1024U};
  // Steps as large as the default makes them would be too few: 1 MiB of a disk.
  Lab lab(machine, {.geometry = geometry,
                    .nodes = nodes,
                    .range_stripes = 4,
                    .step_stripes = plan.tiny ? 4U : 16U,
                    .spares = 1,
                    .timing = timing});
  const std::uint64_t step = lab.options().step_stripes;
  for (std::uint32_t node = 0; node < nodes; ++node) {
    const std::uint64_t width = geometry.stripe_blocks();
    lab.group(node).set_needed(
        {0, geometry.block_count()},
        [=](std::uint64_t first, std::uint64_t) { return first / width / step % needed_in == 0; });
  }
  const GroupCounters before = lab.counters();
  const std::uint64_t written = lab.disk(geometry.disks).blocks_written;
  const Instant began = lab.scheduler().now();
  const double cpu = cpu_seconds();
  lab.group(0).disk_failed(2);
  machine.run(lab.until_failed());
  machine.run(lab.until_whole());
  const GroupCounters after = lab.counters();
  return {.seconds = seconds(lab.scheduler().now() - began),
          .cpu = cpu_seconds() - cpu,
          .rebuilt = after.rebuilt - before.rebuilt,
          .passed_by = after.passed_by - before.passed_by,
          .written = lab.disk(geometry.disks).blocks_written - written,
          .messages = after.messages - before.messages};
}

Measured simulate(const Plan& plan, std::uint32_t nodes, const Timing& timing,
                  std::uint64_t needed_in) {
  SimulatedMachine machine(5);
  return measure(plan, machine, nodes, timing, needed_in);
}

// Processor time that a MiB of the new disk costs all nodes together.
double us_per_mib(const Plan& plan, std::uint32_t nodes) {
  std::vector<double> values;
  for (std::uint32_t round = 0; round < plan.rounds; ++round) {
    RealMachine machine;
    const Measured measured = measure(plan, machine, nodes, {}, 1);
    values.push_back(measured.cpu * 1e6 / (static_cast<double>(measured.rebuilt) / 16));
  }
  return median(values);
}

double mib_per_s(const Measured& measured) {
  return static_cast<double>(measured.rebuilt) * 16 / 256 / measured.seconds;
}

}  // namespace

void measure_rebuild(const Plan& plan, Report& report) {
  report.section(
      "4. Rebuild on a spare, 8+P, 64 KiB chunks, 1,024 stripes in steps of 16; simulated: " +
      words(flash_timing()));
  const Measured one = simulate(plan, 1, flash_timing(), 1);
  const Measured two = simulate(plan, 2, flash_timing(), 1);
  report.bar("4a", "two nodes, of one", one.seconds / two.seconds, 1.7,
             text("%.0f of %.0f MiB/s of the new disk, %.1f ms of %.1f ms, %llu messages",
                  mib_per_s(two), mib_per_s(one), two.seconds * 1e3, one.seconds * 1e3,
                  static_cast<unsigned long long>(two.messages)));
  Timing slow = flash_timing();
  slow.disk_bytes_per_s = 200'000'000;
  const Measured slow_one = simulate(plan, 1, slow, 1);
  const Measured slow_two = simulate(plan, 2, slow, 1);
  report.row("4b",
             text("on disks of 0.2 GB/s, where the new disk is the limit: %.2f (%.0f of %.0f "
                  "MiB/s)",
                  slow_one.seconds / slow_two.seconds, mib_per_s(slow_two), mib_per_s(slow_one)));
  const Measured part = simulate(plan, 2, flash_timing(), 4);
  report.row("4c", text("a quarter of the steps needed: %llu stripes rebuilt, %llu passed by, %llu "
                        "blocks written (of all: %llu), %.1f ms",
                        static_cast<unsigned long long>(part.rebuilt),
                        static_cast<unsigned long long>(part.passed_by),
                        static_cast<unsigned long long>(part.written),
                        static_cast<unsigned long long>(two.written), part.seconds * 1e3));
  const double alone = us_per_mib(plan, 1);
  const double together = us_per_mib(plan, 2);
  report.row("4d",
             text("processor time of a MiB of the new disk: one node %.0f us, two nodes on one "
                  "core together %.0f us; on two cores %.2f at best",
                  alone, together, 2 * alone / together));
}

}  // namespace duet::raid::bench
