// More disks, a disk that returns, and answers before the disks have a write; in simulated time.

#include "lab.h"
#include "load.h"
#include "report.h"
#include "timing.h"

namespace duet::raid::bench {

namespace {

Geometry shape(const Plan& plan) {
  return {.level = Level::kSingleParity,
          .disks = 9,
          .chunk_blocks = 16,
          .stripes = plan.tiny ? 64U : 1024U};
}
LabOptions options(const Plan& plan, std::uint32_t nodes) {
  return {.geometry = shape(plan),
          .nodes = nodes,
          .range_stripes = 4,
          .step_stripes = plan.tiny ? 4U : 16U,
          .blank = 1,
          .timing = flash_timing()};
}

struct Expanded {
  double seconds = 0;
  std::uint64_t moved = 0;  // stripes
};

// From 8+P to 9+P.
Expanded expand(const Plan& plan, std::uint32_t nodes) {
  SimulatedMachine machine(6);
  Lab lab(machine, options(plan, nodes));
  const std::uint64_t before = lab.group(0).geometry().block_count();
  const Instant began = lab.scheduler().now();
  const auto spread = [](Lab& of, std::uint64_t blocks) -> Task<void> {
    const std::array<BlockDevice*, 1> more = {&of.device(0, of.geometry().disks)};
    const std::array<DiskId, 1> ids = {DiskId{0xADD, 1}};
    const Status done = co_await of.group(0).expand(more, ids, false);
    DUET_CHECK(done.ok());
    while (of.group(0).geometry().block_count() == blocks) {
      co_await sleep(of.scheduler(), std::chrono::microseconds(100));
    }
  };
  machine.run(spread(lab, before));
  return {.seconds = seconds(lab.scheduler().now() - began), .moved = lab.counters().moved};
}

// Of data.
double mib_per_s(const Plan& plan, const Expanded& expanded) {
  return static_cast<double>(shape(plan).block_count()) / 256 / expanded.seconds;
}

struct Returned {
  double seconds = 0;
  std::uint64_t rebuilt = 0;  // stripes
};

// A disk was away while one part of `of` was written.
Returned take_back(const Plan& plan, std::uint64_t of) {
  SimulatedMachine machine(6);
  Lab lab(machine, options(plan, 2));
  const auto miss = [](Lab& world, std::uint64_t part) -> Task<void> {
    const Status settled = co_await world.group(0).flush();
    DUET_CHECK(settled.ok());
    world.group(0).disk_failed(2);
    co_await world.until_failed();
    const Buffer stripe = some_blocks(world.geometry().stripe_blocks(), 2);
    const std::array<MutableBytes, 1> parts = {stripe.bytes()};
    for (std::uint64_t at = 0; at < world.geometry().stripes / part; ++at) {
      Task<Status> write =
          world.group(0).write(at * world.geometry().stripe_blocks(), parts, WriteKind::kFresh);
      const Status written = co_await std::move(write);
      DUET_CHECK(written.ok());
    }
  };
  machine.run(miss(lab, of));
  const Instant began = lab.scheduler().now();
  const auto back = [](Lab& world) -> Task<void> {
    const Status done = co_await world.group(0).take_back(2);
    DUET_CHECK(done.ok());
    co_await world.until_whole();
  };
  machine.run(back(lab));
  return {.seconds = seconds(lab.scheduler().now() - began), .rebuilt = lab.counters().rebuilt};
}

// Microseconds of a 4 KiB write in place, one after the other, in a pair.
double write_us(const Plan& plan, Answer answer) {
  SimulatedMachine machine(6);
  Lab lab(machine, options(plan, 2));
  const Buffer block = some_blocks(1, 4);
  const std::uint64_t count = plan.tiny ? 20 : 2'000;
  sim::Random random(9);
  std::uint64_t left = 0;
  const auto next = [&](std::uint32_t) -> std::optional<Call> {
    return left-- == 0 ? std::optional<Call>()
                       : Call{true, WriteKind::kInPlace, random.below(lab.geometry().block_count()),
                              block.bytes(), answer};
  };
  const auto run = [&] {
    left = count;
    const Instant began = lab.scheduler().now();
    machine.run(load(machine.scheduler(), lab.group(0), 1, next));
    return seconds(lab.scheduler().now() - began) * 1e6 / static_cast<double>(count);
  };
  run();  // takes the locks
  return run();
}

}  // namespace

void measure_changes(const Plan& plan, Report& report) {
  report.section("6. Changes, 8+P, 64 KiB chunks, 1,024 stripes in steps of 16; simulated: " +
                 words(flash_timing()));
  const Expanded one = expand(plan, 1);
  const Expanded two = expand(plan, 2);
  report.row("6a",
             text("spread over one disk more, by two nodes of by one: %.2f (%.0f of %.0f MiB/s "
                  "of data, %llu stripes moved)",
                  one.seconds / two.seconds, mib_per_s(plan, two), mib_per_s(plan, one),
                  static_cast<unsigned long long>(two.moved)));
  const Returned all = take_back(plan, 1);
  const Returned some = take_back(plan, 64);
  report.row("6b",
             text("a disk returns after 1/64 of all was written: %llu stripes, %.1f ms; after all "
                  "was: %llu stripes, %.1f ms",
                  static_cast<unsigned long long>(some.rebuilt), some.seconds * 1e3,
                  static_cast<unsigned long long>(all.rebuilt), all.seconds * 1e3));
  report.row(
      "6c",
      text("4 KiB in place, one after the other, two nodes; answered when written %.0f us, "
           "synchronous %.0f, pseudo-synchronous %.0f, asynchronous %.0f",
           write_us(plan, Answer::kWritten), write_us(plan, Answer::kSynchronous),
           write_us(plan, Answer::kPseudoSynchronous), write_us(plan, Answer::kAsynchronous)));
}

}  // namespace duet::raid::bench
