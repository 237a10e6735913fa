// What the locks cost when nobody is in anybody's way, in simulated time.

#include "load.h"
#include "report.h"
#include "timing.h"

namespace duet::raid::bench {

namespace {

constexpr std::uint32_t kDepth = 8;  // requests at a time, each node

struct Measured {
  double per_second = 0;
  double messages = 0;  // per operation, packets and stores into the other's memory apart
  double stores = 0;
  double hits = 0;  // of the uses of locks
};

// `working` nodes, each on a part of its own; after a first round in which each takes its locks.
Measured measure(const Plan& plan, std::uint32_t nodes, std::uint32_t working, bool reads,
                 std::uint32_t copies = 0) {
  SimulatedMachine machine(7);
  const Geometry geometry = {.level = Level::kSingleParity,
                             .disks = 9,
                             .chunk_blocks = 16,
                             .stripes = plan.tiny ? 64U : 1024U};
  Lab lab(machine,
          {.geometry = geometry, .nodes = nodes, .copies = copies, .timing = flash_timing()});
  const std::uint64_t share = geometry.block_count() / nodes;
  const std::uint64_t range = std::uint64_t{lab.options().range_stripes} * geometry.stripe_blocks();
  const std::uint64_t each = plan.tiny ? 50 : 6'000;
  const Buffer bytes = some_blocks(std::size_t{kDepth} * nodes, 3);
  sim::Random random(11);

  const auto run = [&](bool settling) {
    const auto all = [&](bool first_time) -> Task<void> {
      TaskScope scope(machine.scheduler());
      std::vector<std::uint64_t> begun(nodes);
      for (std::uint32_t node = 0; node < working; ++node) {
        const std::uint64_t from = share * node;
        const auto next = [&, node, from](std::uint32_t worker) -> std::optional<Call> {
          const std::uint64_t request = begun[node]++;
          const MutableBytes block = bytes.blocks(std::size_t{node} * kDepth + worker, 1);
          if (first_time) {
            return request * range >= share
                       ? std::optional<Call>()
                       : Call{true, WriteKind::kInPlace, from + request * range, block};
          }
          return request >= each ? std::optional<Call>()
                                 : Call{!reads || request % 2 == 0, WriteKind::kInPlace,
                                        from + random.below(share), block};
        };
        scope.spawn(load(machine.scheduler(), lab.group(node), kDepth, next));
      }
      co_await scope.join();
    };
    machine.run(all(settling));
  };
  run(true);
  const GroupCounters before = lab.counters();
  const std::uint64_t stores = lab.wire().stores;
  const Instant began = lab.scheduler().now();
  run(false);
  const GroupCounters after = lab.counters();
  const double operations = static_cast<double>(each) * working;
  return {.per_second = operations / seconds(lab.scheduler().now() - began),
          .messages = static_cast<double>(after.messages - before.messages) / operations,
          .stores = static_cast<double>(lab.wire().stores - stores) / operations,
          .hits = static_cast<double>(after.locks.hits - before.locks.hits) /
                  static_cast<double>(after.locks.uses - before.locks.uses)};
}

}  // namespace

void measure_locks(const Plan& plan, Report& report) {
  report.section(
      "3. Locks: two nodes on parts of their own, 8+P, 4 KiB at random places in place, "
      "8 at a time each; simulated: " +
      words(flash_timing()));
  const Measured alone = measure(plan, 1, 1, false);
  const Measured idle_partner = measure(plan, 2, 1, false);
  const Measured both = measure(plan, 2, 2, false);
  report.bar("3a", "two nodes, of one beside an idle one",
             both.per_second / idle_partner.per_second, 1.8,
             text("%.0f of %.0f writes/s", both.per_second, idle_partner.per_second));
  report.row("3b", text("of one that is alone in its group, and sends no intents: %.2f (%.0f/s)",
                        both.per_second / alone.per_second, alone.per_second));
  report.row("3c", text("messages per write %.4f, intents stored at the other %.2f; lock hit rate "
                        "%.4f",
                        both.messages, both.stores, both.hits));
  const Measured mixed_one = measure(plan, 2, 1, true);
  const Measured mixed = measure(plan, 2, 2, true);
  report.row("3d", text("half reads: %.2f (%.0f of %.0f/s), messages %.4f, hit rate %.4f",
                        mixed.per_second / mixed_one.per_second, mixed.per_second,
                        mixed_one.per_second, mixed.messages, mixed.hits));
  const Measured few = measure(plan, 4, 4, false, 2);
  const Measured full = measure(plan, 4, 4, false);
  report.row("3e", text("four nodes, intents stored per write: %.2f with 2 copies, %.2f with 4; "
                        "%.0f and %.0f writes/s",
                        few.stores, full.stores, few.per_second, full.per_second));
}

}  // namespace duet::raid::bench
