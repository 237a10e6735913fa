// What a write costs as a group has more disks, and more nodes.

#include "load.h"
#include "report.h"
#include "timing.h"

namespace duet::raid::bench {

namespace {

constexpr std::uint32_t kDepth = 8;

struct Cost {
  double small_us = 0;     // processor time of a 4 KiB write in place, all nodes together
  double read_us = 0;      // of a 4 KiB read
  double whole_gb_s = 0;   // whole stripes, fresh, the user's bytes per second of processor time
  double small_per_s = 0;  // simulated: 4 KiB writes in place, every node 8 at a time
  double messages = 0;     // per write
};

class Growing {
 public:
  Growing(const Plan& plan, std::uint32_t disks, std::uint32_t nodes, bool simulated)
      : nodes_(nodes),
        geometry_{.level = Level::kSingleParity,
                  .disks = disks,
                  .chunk_blocks = 16,
                  .stripes = (plan.tiny ? 4U : 32U) * 16U * nodes},
        tiny_(plan.tiny) {
    if (simulated) {
      machine_ = std::make_unique<SimulatedMachine>(9);
    } else {
      machine_ = std::make_unique<RealMachine>();
    }
    lab_ = std::make_unique<Lab>(*machine_,
                                 LabOptions{.geometry = geometry_,
                                            .nodes = nodes,
                                            .timing = simulated ? flash_timing() : Timing()});
    bytes_ = some_blocks(std::size_t{kDepth} * nodes * geometry_.stripe_blocks(), 4);
    run(Kind::kTakeLocks);
  }
  enum class Kind : std::uint8_t { kTakeLocks, kSmall, kRead, kWhole };
  // Requests that were run.
  std::uint64_t run(Kind kind) {
    machine_->run(all(kind));
    return each(kind) * nodes_;
  }
  [[nodiscard]] Lab& lab() { return *lab_; }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }

 private:
  [[nodiscard]] std::uint64_t each(Kind kind) const {
    switch (kind) {
      case Kind::kTakeLocks:
        return geometry_.stripes / nodes_ / lab_->options().range_stripes + 1;
      case Kind::kSmall:
      case Kind::kRead:
        return tiny_ ? 20 : 6'000 / nodes_;
      case Kind::kWhole:
        break;
    }
    return tiny_ ? 4 : 2'000 / geometry_.disks / nodes_;
  }
  Task<void> all(Kind kind) {
    TaskScope scope(machine_->scheduler());
    std::vector<std::uint64_t> begun(nodes_);
    const std::uint64_t count = each(kind);
    for (std::uint32_t node = 0; node < nodes_; ++node) {
      const auto next = [this, &begun, kind, count,
                         node](std::uint32_t worker) -> std::optional<Call> {
        const std::uint64_t request = begun[node]++;
        return request >= count ? std::optional<Call>() : call(kind, node, worker, request);
      };
      scope.spawn(load(machine_->scheduler(), lab_->group(node), kDepth, next));
    }
    co_await scope.join();
    for (std::uint32_t node = 0; node < nodes_; ++node) {
      const Status flushed = co_await lab_->group(node).flush();
      DUET_CHECK(flushed.ok());
    }
  }
  Call call(Kind kind, std::uint32_t node, std::uint32_t worker, std::uint64_t request) {
    const std::uint64_t stripes = geometry_.stripes / nodes_;
    const std::uint64_t width = geometry_.stripe_blocks();
    const std::uint64_t from = stripes * node * width;
    const std::uint64_t range = lab_->options().range_stripes;
    const std::size_t buffer = (std::size_t{node} * kDepth + worker) * width;
    switch (kind) {
      case Kind::kTakeLocks:
        return {true, WriteKind::kInPlace, from + request * range % stripes * width,
                bytes_.blocks(buffer, 1)};
      case Kind::kSmall:
      case Kind::kRead:
        return {kind == Kind::kSmall, WriteKind::kInPlace, from + random_.below(stripes * width),
                bytes_.blocks(buffer, 1)};
      case Kind::kWhole:
        break;
    }
    return {true, WriteKind::kFresh, from + request % stripes * width,
            bytes_.blocks(buffer, width)};
  }

  const std::uint32_t nodes_;
  const Geometry geometry_;
  const bool tiny_;
  sim::Random random_{13};
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Lab> lab_;
  Buffer bytes_;
};

Cost cost(const Plan& plan, std::uint32_t disks, std::uint32_t nodes) {
  Cost result;
  {
    Growing real(plan, disks, nodes, false);
    std::vector<double> small, read, whole;
    for (std::uint32_t round = 0; round < plan.rounds; ++round) {
      const auto timed = [&](Growing::Kind kind) {
        const double before = cpu_seconds();
        const std::uint64_t requests = real.run(kind);
        return (cpu_seconds() - before) / static_cast<double>(requests);
      };
      small.push_back(timed(Growing::Kind::kSmall) * 1e6);
      read.push_back(timed(Growing::Kind::kRead) * 1e6);
      whole.push_back(static_cast<double>(real.geometry().stripe_blocks()) * kBlockBytes /
                      timed(Growing::Kind::kWhole) / 1e9);
    }
    result.small_us = median(small);
    result.read_us = median(read);
    result.whole_gb_s = median(whole);
  }
  Growing simulated(plan, disks, nodes, true);
  const std::uint64_t messages = simulated.lab().counters().messages;
  const Instant began = simulated.lab().scheduler().now();
  const std::uint64_t requests = simulated.run(Growing::Kind::kSmall);
  result.small_per_s =
      static_cast<double>(requests) / seconds(simulated.lab().scheduler().now() - began);
  result.messages = static_cast<double>(simulated.lab().counters().messages - messages) /
                    static_cast<double>(requests);
  return result;
}

void one_row(const Plan& plan, Report& report, const char* key, std::uint32_t disks,
             std::uint32_t nodes) {
  const Cost c = cost(plan, disks, nodes);
  report.row(key, text("| %2u | %u | %6.2f us | %6.2f us | %5.2f GB/s | %7.0f/s | %.4f |", disks,
                       nodes, c.small_us, c.read_us, c.whole_gb_s, c.small_per_s, c.messages));
}

}  // namespace

void measure_growth(const Plan& plan, Report& report) {
  report.section(
      "5. Growth, single parity; processor time of all nodes together, then simulated as 3");
  report.row("5",
             "| disks | nodes | 4 KiB write in place | 4 KiB read | whole stripes, fresh | 4 KiB "
             "writes, simulated | messages per write |");
  Plan less = plan;
  less.rounds = std::min(plan.rounds, 3U);
  one_row(less, report, "5a", 3, 1);
  one_row(less, report, "5b", 5, 1);
  one_row(less, report, "5c", 9, 1);
  one_row(less, report, "5d", 17, 1);
  one_row(less, report, "5e", 32, 1);
  one_row(less, report, "5f", 9, 2);
  one_row(less, report, "5g", 9, 3);
  one_row(less, report, "5h", 9, 4);
}

}  // namespace duet::raid::bench
