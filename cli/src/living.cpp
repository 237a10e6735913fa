#include "living.h"

#include <fmt/format.h>

#include <optional>

#include "mailbox/sector.h"
#include "platform/wait.h"

namespace duet::cli {

namespace {

using mailbox::BeatSector;

// A busy machine is late with a beat or two.
constexpr std::uint32_t kBeatsMissed = 3;
constexpr Duration kWaitMin = std::chrono::seconds(1);
constexpr Duration kWaitMax = std::chrono::seconds(60);

// Both nodes' sectors on each disk; none: never written, torn, or something else.
using Beats = std::vector<std::optional<BeatSector>>;

Task<Result<Beats>> read_beats(std::vector<shelf::SharedDisk*> disks) {
  Beats beats;
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  for (shelf::SharedDisk* const disk : disks) {
    for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
      const Status read = co_await disk->read(mailbox::kBeatBlock + node, buffer->parts());
      if (!read.ok()) {
        co_return read.error();
      }
      const ConstBytes bytes = std::as_const(*buffer).bytes();
      const auto pair = load<mailbox::SectorHeader>(bytes, 0).pair;  // another pair lives as well
      const Result<BeatSector> beat = mailbox::decode<BeatSector>(bytes, pair, node);
      beats.push_back(beat.ok() ? std::optional(beat.value()) : std::nullopt);
    }
  }
  co_return beats;
}

bool moved(const std::optional<BeatSector>& before, const std::optional<BeatSector>& after) {
  return after && (!before || before->header.incarnation != after->header.incarnation ||
                   before->header.sequence != after->header.sequence);
}

}  // namespace

Task<Result<std::vector<LivingNode>>> find_living(Scheduler& scheduler,
                                                  std::vector<shelf::SharedDisk*> disks) {
  std::vector<LivingNode> living;
  const Result<Beats> before = co_await read_beats(disks);
  if (!before.ok()) {
    co_return before.error();
  }
  Duration wait{};
  for (const std::optional<BeatSector>& beat : before.value()) {
    if (beat) {
      const Duration beats = std::chrono::milliseconds(kBeatsMissed * std::uint64_t{beat->beat_ms});
      wait = std::max(wait, std::clamp(beats, kWaitMin, kWaitMax));
    }
  }
  if (wait == Duration{}) {
    co_return living;
  }
  co_await sleep(scheduler, wait);
  const Result<Beats> after = co_await read_beats(disks);
  if (!after.ok()) {
    co_return after.error();
  }
  for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
    for (std::size_t i = node; i < after.value().size(); i += mailbox::kNodes) {
      if (moved(before.value()[i], after.value()[i])) {
        living.push_back({.node = node, .serving = after.value()[i]->serving});
        break;
      }
    }
  }
  co_return living;
}

std::string text_of(const LivingNode& node) {
  std::string filers;
  for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
    if ((node.serving & (1U << filer)) != 0) {
      filers += fmt::format("{}filer {}", filers.empty() ? " and serves " : " and ",
                            filer == 0 ? 'a' : 'b');
    }
  }
  return fmt::format("node {} is alive{}; stop its duetd", node.node == 0 ? 'a' : 'b', filers);
}

}  // namespace duet::cli
