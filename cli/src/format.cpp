#include "format.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "filer/filer.h"
#include "local.h"
#include "raid/label.h"

namespace duet::cli {

namespace {

Task<Status> make_contents(Scheduler& scheduler, WallClock& clock, Entropy& entropy,
                           const FilerFormat& format) {
  const config::Filer& filer = format.filer;
  auto opened = co_await filer::Filer::open(scheduler, clock, entropy, format.disks, format.memory,
                                            filer.options);
  if (!opened.ok()) {
    co_return opened.error();
  }
  filer::Filer& serving = *opened.value();
  for (const config::Volume& volume : filer.volumes) {
    const Status created = co_await serving.create_volume(volume.name, volume.limit_bytes);
    if (!created.ok()) {
      co_return created;
    }
  }
  const Status exported = co_await serving.set_exports(filer.exports);
  if (!exported.ok()) {
    co_return exported;
  }
  co_return co_await serving.stop();
}

}  // namespace

std::string contents_of(const wafl::DiskProbe& probe) {
  if (!probe.ours) {
    return "holds data that is not Duet's";
  }
  const auto& name = probe.label.filer_name;
  const std::string filer(name.data(), strnlen(name.data(), name.size()));
  return fmt::format("is disk {} of filer {} ({})", probe.label.index, filer,
                     config::size_text(probe.label.block_count * kBlockBytes));
}

Task<Result<std::string>> contents_of(BlockDevice& disk) {
  const Result<raid::GroupLabel> label = co_await raid::read_label(disk);
  if (label.ok()) {
    const raid::Geometry geometry = raid::geometry_of(label.value());
    std::string text = fmt::format("is a disk of a redundancy group ({} of {} disks",
                                   config::level_name(geometry.level), geometry.disks);
    for (const raid::VirtualDiskEntry& entry : raid::virtual_disks_of(label.value())) {
      text += fmt::format(", virtual disk {} of {}", entry.name,
                          config::size_text(entry.part.blocks * kBlockBytes));
    }
    co_return text + ")";
  }
  const Result<wafl::DiskProbe> probe = co_await wafl::probe(disk);
  if (!probe.ok()) {
    co_return probe.error();
  }
  co_return probe.value().blank ? std::string() : contents_of(probe.value());
}

std::string contents_of(const nvlog::RegionProbe& probe) {
  if (!probe.ours) {
    return "holds data that is not Duet's";
  }
  std::string text;
  for (std::uint32_t area = 0; area < nvlog::kAreas; ++area) {
    if (probe.areas[area] != nvlog::LogIdentity{}) {
      text +=
          fmt::format("{}the log of filer {} with {} records", text.empty() ? "holds " : " and ",
                      area == 0 ? "a" : "b", probe.records[area]);
    }
  }
  return text.empty() ? "is formatted, without a log" : text;
}

void erase(PersistentMemory& memory) {
  static constexpr std::array<std::byte, 65'536> kZeros{};
  for (std::uint64_t at = 0; at < memory.bytes().size(); at += kZeros.size()) {
    memory.store(at, std::span(kZeros).first(
                         std::min<std::size_t>(kZeros.size(), memory.bytes().size() - at)));
  }
}

void make_directories_of(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::error_code ignored;  // opening what is inside tells what is wrong
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  }
}

std::string format_filer(os::EpollScheduler& scheduler, WallClock& clock, Entropy& entropy,
                         const FilerFormat& format) {
  const config::Filer& filer = format.filer;
  wafl::FormatOptions options;
  options.pair = config::pair_id(format.config.pair);
  options.filer = filer.index();
  options.filer_name = filer.name;
  options.log_id = entropy.next() | 1U;
  options.epoch = format.epoch;
  options.now = wafl::Timestamp{clock.since_epoch().count()};

  format.progress("formatting the log");
  nvlog::LogIdentity identity;
  identity.pair = options.pair;
  identity.filer = options.filer;
  identity.log_id = options.log_id;
  if (Status log = nvlog::format_area(format.memory, identity, options.epoch); !log.ok()) {
    return "the log: " + error_text(log.error());
  }
  format.progress(fmt::format("formatting {} disks", format.disks.size()));
  const Status formatted = run(scheduler, wafl::format(scheduler, format.disks, options, entropy));
  if (!formatted.ok()) {
    return "formatting: " + error_text(formatted.error());
  }
  format.progress(fmt::format("making {} volumes and {} exports", filer.volumes.size(),
                              filer.exports.exports.size()));
  const Status made = run(scheduler, make_contents(scheduler, clock, entropy, format));
  return made.ok() ? "" : "volumes and exports: " + error_text(made.error());
}

}  // namespace duet::cli
