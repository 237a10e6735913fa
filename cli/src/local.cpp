#include "local.h"

#include <fmt/format.h>

#include <filesystem>

#include "groups/overlay.h"
#include "shelf/linux/open_disk.h"

namespace duet::cli {

namespace {

// A shelf that is not there is an answer for the operator, not a reason to wait.
constexpr std::chrono::seconds kShelfPatience{3};
constexpr std::uint8_t kFormatNode = 2;  // after nodes a and b
constexpr std::uint8_t kReadNodeMin = 3;

std::string remedy(Errc code) {
  if (code == Errc::kRefused) {
    return "stop duetd, or whatever uses it";
  }
  if (code == Errc::kNotSupported) {
    return "name persistent memory; or set accept_volatile: true, and know that a loss of power "
           "then "
           "loses acknowledged requests";
  }
  if (code == Errc::kInvalid) {
    return "make its size what the configuration says, or correct that";
  }
  return code == Errc::kAccess ? "give this user the right to read and write it"
                               : "correct the path, or repair what it names";
}

std::string refusal(const config::Config& config, const config::Path& path, std::string_view what,
                    const Error& error) {
  return fmt::format("{}:{}: {} {}: {}; {}", config.file, path.line, what, path.text,
                     error_text(error), remedy(error.code));
}

}  // namespace

std::string error_text(const Error& error) {
  return error.context.empty() ? fmt::format("error {}", static_cast<int>(error.code))
                               : std::string(error.context);
}

// The groups' disks wait for what is under way, and are gone before the memory is.
Local::~Local() { groups.reset(); }

std::vector<BlockDevice*> Local::disk_pointers(const config::Filer& filer) const {
  std::vector<BlockDevice*> pointers;
  for (const std::unique_ptr<BlockDevice>& disk : disks) {
    pointers.push_back(disk.get());
  }
  for (const config::Disk& disk : filer.disks) {
    if (disk.is_virtual()) {
      pointers.push_back(groups->virtual_disk(disk));
    }
  }
  return pointers;
}

std::string Local::open_members(const config::Config& config, const config::Node& node, Disks how) {
  groups = std::make_unique<groups::NodeGroups>(scheduler, config, node);
  std::vector<const config::Disk*> made;
  std::string wrong =
      groups->open_disks([&](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
        os::BlockDeviceOptions options;
        options.read_only = how == Disks::kReadOnly;
        options.create_bytes = how == Disks::kCreate ? disk.size_bytes : 0;
        std::error_code unknown;
        if (how == Disks::kCreate && !std::filesystem::exists(disk.path.text, unknown) &&
            !unknown) {
          made.push_back(&disk);
        }
        auto opened = os::open_block_device(scheduler, disk.path.text, options);
        if (!opened.ok() || how != Disks::kReadOnly) {
          return opened;
        }
        return Result<std::unique_ptr<BlockDevice>>(
            std::make_unique<groups::Overlay>(scheduler, std::move(opened.value())));
      });
  for (const config::Disk* const disk : made) {
    for (const std::unique_ptr<groups::ManagedGroup>& group : groups->all()) {
      group->note_zeros(*disk);
    }
  }
  return wrong;
}

std::string Local::open_disks(const config::Config& config, const config::Filer& filer, Disks how) {
  for (const config::Disk& disk : filer.disks) {
    if (disk.is_virtual()) {
      continue;
    }
    os::BlockDeviceOptions options;
    options.read_only = how == Disks::kReadOnly;
    options.create_bytes = how == Disks::kCreate ? disk.size_bytes : 0;
    auto opened = os::open_block_device(scheduler, disk.path.text, options);
    if (!opened.ok() && opened.error().code == Errc::kNotFound && how == Disks::kExisting) {
      continue;
    }
    if (!opened.ok()) {
      return refusal(config, disk.path, "disk", opened.error());
    }
    disks.push_back(std::move(opened.value()));
  }
  return {};
}

std::string Local::open_memory(const config::Config& config, const config::Node& node,
                               bool create) {
  return cli::open_memory(config, node.memory, create, memory);
}

std::string open_memory(const config::Config& config, const config::Memory& memory, bool create,
                        std::unique_ptr<os::MappedMemory>& to) {
  os::PersistentMemoryOptions options;
  options.create = create;
  options.accept_volatile = memory.accept_volatile;
  auto opened = os::map_persistent_memory(memory.path.text, memory.size_bytes, options);
  if (opened.ok()) {
    to = std::move(opened.value());
    return {};
  }
  if (!create && opened.error().code == Errc::kNotFound) {
    return {};
  }
  return refusal(config, memory.path, "memory", opened.error());
}

Result<std::unique_ptr<shelf::SharedDisk>> reach_shared(os::EpollScheduler& scheduler,
                                                        const config::Disk& disk,
                                                        shelf::DiskKey key) {
  Result<shelf::DiskUrl> url = shelf::DiskUrl::parse(disk.url());
  DUET_CHECK(url.ok());  // the configuration's reader saw to it
  const shelf::OpenOptions options{.key = key, .name = disk.shown(), .fail_after = kShelfPatience};
  return run(scheduler, shelf::open_shared_disk(scheduler, std::move(url.value()), options));
}

std::string open_shared(os::EpollScheduler& scheduler, const config::Config& config,
                        const config::Disk& disk, shelf::DiskKey key,
                        std::unique_ptr<shelf::SharedDisk>& to) {
  const std::string name = disk.shown();
  auto opened = reach_shared(scheduler, disk, key);
  if (opened.ok()) {
    to = std::move(opened.value());
    return {};
  }
  const std::string_view what_to_do =
      opened.error().code == Errc::kFenced
          ? "another duet uses it: wait for its end"
          : "start the shelf that serves it (duet-shelf serve; for the sample pair: "
            "deploy/samples/pair.sh shelves), or correct the URL";
  return fmt::format("{}:{}: disk {}: {}; {}", config.file, disk.path.line, name,
                     error_text(opened.error()), what_to_do);
}

shelf::DiskKey draw_key(Purpose purpose, const WallClock& clock, Entropy& entropy) {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(clock.since_epoch());
  // One that formats shuts out another that does; those that only read do not meet.
  const std::uint64_t readers = shelf::kNodeMax - kReadNodeMin + std::uint64_t{1};
  const auto reader = static_cast<std::uint8_t>(kReadNodeMin + entropy.next() % readers);
  return shelf::make_key(purpose == Purpose::kFormat ? kFormatNode : reader,
                         static_cast<std::uint64_t>(now.count()) & shelf::kIncarnationMax);
}

}  // namespace duet::cli
