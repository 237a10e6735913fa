// Parity in a whole-stripe write, against ISA-L alone.

#include "raid/codec.h"

#include <isa-l/raid.h>

#include "lab.h"
#include "report.h"
#include "stripe_io.h"

namespace duet::raid::bench {

namespace {

constexpr std::uint32_t kStripes = 32;  // of the caller: beyond the processor's second cache
constexpr std::uint32_t kDataColumns = 8;
constexpr std::uint32_t kChunk = 16;

// Everything that StripeIo needs, over the disks of a lab.
Task<void> look(Lab& lab, std::optional<Disks>& disks) {
  std::vector<Result<GroupLabel>> labels;
  std::vector<BlockDevice*> devices;
  for (std::uint32_t i = 0; i < lab.geometry().disks; ++i) {
    devices.push_back(&lab.device(0, i));
    Result<GroupLabel> label = co_await read_label(*devices.back());
    labels.push_back(std::move(label));
  }
  const Result<Assembly> assembly = assemble(labels[0].value().group, labels, false);
  disks.emplace(assembly.value(), devices);
}

class Parity {
 public:
  Parity(Level level, std::uint32_t stripes)
      : stripes_(stripes),
        geometry_{.level = level,
                  .disks = kDataColumns + (level == Level::kDoubleParity ? 2 : 1),
                  .chunk_blocks = kChunk,
                  .stripes = 64},
        lab_(machine_, {.geometry = geometry_}),
        codec_(geometry_),
        data_(some_blocks(std::size_t{stripes} * geometry_.stripe_blocks(), 1)),
        check_(std::size_t{kChunk} * geometry_.check_columns()) {
    machine_.run(look(lab_, disks_));
    io_.emplace(*disks_, counters_);
  }

  // Each: GB of data per second.
  double isa_l(std::uint32_t times) {
    return timed(times, [this](std::uint32_t stripe) {
      const Columns columns = columns_of(stripe);
      std::array<void*, kDisksMax> vectors;
      std::ranges::copy(columns, vectors.begin());
      const int count = static_cast<int>(geometry_.disks);
      const int bytes = static_cast<int>(kChunk * kBlockBytes);
      const int done = geometry_.level == Level::kDoubleParity
                           ? pq_gen(count, bytes, vectors.data())
                           : xor_gen(count, bytes, vectors.data());
      DUET_CHECK(done == 0);
    });
  }
  double codec(std::uint32_t times) {
    return timed(times, [this](std::uint32_t stripe) {
      codec_.encode(columns_of(stripe), kChunk * kBlockBytes);
    });
  }
  // All that a whole-stripe write does before it goes to the disks.
  double planned(std::uint32_t times) {
    return timed(times, [this](std::uint32_t stripe) { machine_.run(plan(stripe)); });
  }

 private:
  [[nodiscard]] MutableBytes data(std::uint32_t stripe, std::uint32_t column) const {
    return data_.blocks(std::size_t{stripe} * geometry_.stripe_blocks() + column * kChunk, kChunk);
  }
  [[nodiscard]] Columns columns_of(std::uint32_t stripe) const {
    Columns columns{};
    for (std::uint32_t i = 0; i < geometry_.disks; ++i) {
      columns[i] = i < kDataColumns
                       ? data(stripe, i).data()
                       : check_.blocks(std::size_t{i - kDataColumns} * kChunk, kChunk).data();
    }
    return columns;
  }
  Task<void> plan(std::uint32_t number) {
    const PlacedStripe stripe{Stripe{number}, geometry_.disks};
    std::array<Span, kDisksMax> spans{};
    Sheet fresh(stripe, 0, kChunk);
    for (std::uint32_t i = 0; i < kDataColumns; ++i) {
      spans[i] = {0, kChunk};
      fresh.borrow(i, 0, data(number, i));
    }
    Sheet sheet(stripe, 0, kChunk);
    std::array<Span, kDisksMax> cells{};
    const Status planned = co_await io_->plan(sheet, fresh, spans, cells);
    DUET_CHECK(planned.ok());
    const Update update = io_->describe(sheet, spans, WriteKind::kFresh);
    DUET_CHECK(update.intent.page_count() == 0);
  }
  template <typename Act>
  double timed(std::uint32_t times, Act act) {
    const double before = cpu_seconds();
    for (std::uint32_t i = 0; i < times; ++i) {
      for (std::uint32_t stripe = 0; stripe < stripes_; ++stripe) {
        act(stripe);
      }
    }
    const double bytes =
        static_cast<double>(times) * stripes_ * geometry_.stripe_blocks() * kBlockBytes;
    return bytes / (cpu_seconds() - before) / 1e9;
  }

  SimulatedMachine machine_{1};
  const std::uint32_t stripes_;
  const Geometry geometry_;
  Lab lab_;
  Codec codec_;
  Buffer data_;
  Buffer check_;  // always the same, as memory that comes from a free list
  GroupCounters counters_;
  std::optional<Disks> disks_;
  std::optional<StripeIo> io_;
};

void compare(const Plan& plan, Report& report, Level level, const char* key, const char* plain_key,
             const char* name) {
  Parity parity(level, plan.tiny ? 2 : kStripes);
  const std::uint32_t times = plan.tiny ? 1 : 12;
  std::vector<double> alone, codec, planned;
  for (std::uint32_t round = 0; round < plan.rounds; ++round) {
    alone.push_back(parity.isa_l(times));
    codec.push_back(parity.codec(times));
    planned.push_back(parity.planned(times));
  }
  report.bar(key, text("%s of a whole-stripe write, of ISA-L alone", name),
             median(planned) / median(alone), 0.60,
             text("%.1f of %.1f GB/s of data, all that precedes the disks", median(planned),
                  median(alone)));
  report.row(plain_key, text("%s: Codec::encode alone %.1f GB/s, %.2f of ISA-L", name,
                             median(codec), median(codec) / median(alone)));
}

}  // namespace

void measure_codec(const Plan& plan, Report& report) {
  report.section("1. Parity: 8 data columns of 64 KiB, 16 MiB of callers' data in turn");
  compare(plan, report, Level::kSingleParity, "1a", "1b", "P");
  compare(plan, report, Level::kDoubleParity, "1c", "1d", "P+Q");
}

}  // namespace duet::raid::bench
