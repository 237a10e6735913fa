// Whole-stripe writes, against plain striping over the same disks.

#include "io_batch.h"
#include "load.h"
#include "report.h"
#include "timing.h"

namespace duet::raid::bench {

namespace {

constexpr std::uint32_t kDepth = 4;
constexpr std::uint32_t kChunk = 16;
constexpr std::size_t kSourceBlocks = 16 * 1024;  // 64 MiB of the caller, in turn

// Blocks go round over all disks by chunks, and there is nothing else.
class Striping {
 public:
  explicit Striping(Lab& lab) : lab_(lab) {}
  Task<void> write(std::uint64_t block, MutableBytes bytes) {
    const std::uint32_t disks = lab_.geometry().disks;
    IoBatch batch;
    while (!bytes.empty()) {
      const std::uint64_t chunk = block / kChunk;
      const std::uint64_t within = block % kChunk;
      const std::size_t run = std::min<std::size_t>(kChunk - within, bytes.size() / kBlockBytes);
      batch.write(lab_.device(0, static_cast<std::uint32_t>(chunk % disks)),
                  kDataStartBlock + chunk / disks * kChunk + within, bytes.first(run * kBlockBytes),
                  0);
      block += run;
      bytes = bytes.subspan(run * kBlockBytes);
    }
    co_await batch.run();
  }

 private:
  Lab& lab_;
};

struct Stream {
  std::uint64_t requests;
  std::uint32_t request_blocks;
  std::uint64_t blocks;  // of the device
  MutableBytes source;
  std::uint64_t begun = 0;
  [[nodiscard]] std::uint64_t block_of(std::uint64_t request) const {
    return request * request_blocks % (blocks - blocks % request_blocks);
  }
  [[nodiscard]] MutableBytes bytes_of(std::uint64_t request) const {
    const std::size_t bytes = std::size_t{request_blocks} * kBlockBytes;
    return source.subspan(request * bytes % (source.size() - source.size() % bytes), bytes);
  }
};

Task<void> plain_worker(Lab& lab, Stream& stream) {
  Striping striping(lab);
  while (stream.begun < stream.requests) {
    const std::uint64_t request = stream.begun++;
    co_await striping.write(stream.block_of(request), stream.bytes_of(request));
  }
}
Task<void> plain(Lab& lab, Stream& stream) {
  TaskScope workers(lab.scheduler());
  for (std::uint32_t i = 0; i < kDepth; ++i) {
    workers.spawn(plain_worker(lab, stream));
  }
  co_await workers.join();
}
Task<void> whole_stripes(Lab& lab, Stream& stream, bool write, WriteKind kind) {
  const auto next = [&stream, write, kind](std::uint32_t /*worker*/) -> std::optional<Call> {
    if (stream.begun == stream.requests) {
      return std::nullopt;
    }
    const std::uint64_t request = stream.begun++;
    return Call{write, kind, stream.block_of(request), stream.bytes_of(request)};
  };
  co_await load(lab.scheduler(), lab.group(0), kDepth, next);
  const Status flushed = co_await lab.group(0).flush();
  DUET_CHECK(flushed.ok());
}

class Compared {
 public:
  Compared(const Plan& plan, Level level, std::uint32_t data_columns)
      : geometry_{.level = level,
                  .disks = data_columns + (level == Level::kDoubleParity ? 2 : 1),
                  .chunk_blocks = kChunk,
                  .stripes = plan.tiny ? 8U : 512U},
        lab_(machine_, {.geometry = geometry_}),
        source_(some_blocks(plan.tiny ? geometry_.stripe_blocks() * 2 : kSourceBlocks, 2)),
        request_blocks_(2 * geometry_.stripe_blocks()),
        requests_(plan.tiny ? 4 : (512U << 20U) / (request_blocks_ * kBlockBytes)) {}

  // Each: GB of the user's data per second of processor time.
  double striping() {
    Stream stream = this->stream();
    return timed([&] { machine_.run(plain(lab_, stream)); });
  }
  double raid(bool write, WriteKind kind) {
    Stream stream = this->stream();
    return timed([&] { machine_.run(whole_stripes(lab_, stream, write, kind)); });
  }

 private:
  [[nodiscard]] Stream stream() const {
    return {requests_, request_blocks_, geometry_.block_count(), source_.bytes()};
  }
  template <typename Act>
  double timed(Act act) {
    const double before = cpu_seconds();
    act();
    return static_cast<double>(requests_) * request_blocks_ * kBlockBytes /
           (cpu_seconds() - before) / 1e9;
  }

  RealMachine machine_;
  const Geometry geometry_;
  Lab lab_;
  Buffer source_;
  const std::uint32_t request_blocks_;
  const std::uint64_t requests_;
};

// Simulated milliseconds that one caller waits for eight stripes, in requests of so many.
double wait_ms(const Plan& plan, std::uint32_t stripes, bool write) {
  SimulatedMachine machine(3);
  const Geometry geometry = {
      .level = Level::kSingleParity, .disks = 9, .chunk_blocks = kChunk, .stripes = 64};
  Lab lab(machine, {.geometry = geometry, .timing = flash_timing()});
  const std::uint32_t width = geometry.stripe_blocks();
  const Buffer bytes = some_blocks(std::size_t{8} * width, 5);
  const std::uint32_t times = plan.tiny ? 1 : 6;
  std::uint64_t begun = 0;
  const auto next = [&](std::uint32_t /*worker*/) -> std::optional<Call> {
    const std::uint64_t stripe = begun++ * stripes;
    return stripe >= std::uint64_t{8} * times
               ? std::optional<Call>()
               : Call{write, WriteKind::kFresh, stripe * width,
                      bytes.blocks(stripe % 8 * width, std::size_t{stripes} * width)};
  };
  const Instant began = lab.scheduler().now();
  machine.run(load(machine.scheduler(), lab.group(0), 1, next));
  return seconds(lab.scheduler().now() - began) * 1e3 / times;
}

}  // namespace

void measure_stripes(const Plan& plan, Report& report) {
  report.section(
      "2. Whole stripes, two by request, 4 requests at a time, chunks of 64 KiB; the user's bytes");
  const auto compare = [&](const char* key, Level level, std::uint32_t columns) {
    Compared compared(plan, level, columns);
    std::vector<double> striping, fresh, in_place, read;
    for (std::uint32_t round = 0; round < plan.rounds; ++round) {
      striping.push_back(compared.striping());
      fresh.push_back(compared.raid(true, WriteKind::kFresh));
      in_place.push_back(compared.raid(true, WriteKind::kInPlace));
      read.push_back(compared.raid(false, WriteKind::kInPlace));
    }
    const char* const checks = level == Level::kDoubleParity ? "P+Q" : "P";
    const std::string detail =
        text("fresh %.2f of %.2f GB/s; in place %.2f; read %.2f", median(fresh), median(striping),
             median(in_place), median(read));
    const std::string what = text("%u+%s of plain striping", columns, checks);
    if (level == Level::kSingleParity && columns == 8) {
      report.bar(key, what, median(fresh) / median(striping), 0.70, detail);
    } else {
      report.row(key, text("%s %.2f (%s)", what.c_str(), median(fresh) / median(striping),
                           detail.c_str()));
    }
  };
  compare("2a", Level::kSingleParity, 8);
  compare("2b", Level::kSingleParity, 4);
  compare("2c", Level::kDoubleParity, 8);
  report.row("2d",
             text("a caller waits for 8 stripes, simulated as 3: in one request %.2f ms to write, "
                  "%.2f to read; in 8 requests in turn %.2f and %.2f",
                  wait_ms(plan, 8, true), wait_ms(plan, 8, false), wait_ms(plan, 1, true),
                  wait_ms(plan, 1, false)));
}

}  // namespace duet::raid::bench
