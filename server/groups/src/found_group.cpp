#include "found_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace duet::groups {

std::string text_of(const Error& error) {
  return error.context.empty()
             ? fmt::format("error {}", static_cast<int>(error.code))
             : std::string(error.context.substr(0, error.context.find("; --force")));
}

std::optional<raid::MemoryHeader> header_of(const PersistentMemory& memory) {
  std::optional<raid::MemoryHeader> newest;
  for (const std::uint64_t offset : {std::uint64_t{0}, raid::kMemoryHeaderCopy}) {
    auto header = load<raid::MemoryHeader>(memory.bytes(), offset);
    const std::uint32_t checksum = std::exchange(header.checksum, 0);
    if (header.magic == raid::kMemoryMagic && checksum == crc32c(bytes_of(header)) &&
        (!newest || newest->sequence < header.sequence)) {
      newest = header;
    }
  }
  return newest;
}

NamedGroup most_named(std::span<const Result<raid::GroupLabel>> labels,
                      std::span<const PersistentMemory* const> memories) {
  std::map<raid::GroupId, std::size_t> named;
  for (const Result<raid::GroupLabel>& label : labels) {
    if (label.ok()) {
      ++named[label.value().group];
    }
  }
  for (const PersistentMemory* const memory : memories) {
    const std::optional<raid::MemoryHeader> header = header_of(*memory);
    if (header && named.contains(header->group)) {
      ++named[header->group];
    }
  }
  if (named.empty()) {
    return {};
  }
  const auto most =
      std::ranges::max_element(named, {}, [](const auto& entry) { return entry.second; });
  const auto as_many =
      std::ranges::count_if(named, [&](const auto& entry) { return entry.second == most->second; });
  if (as_many > 1) {
    return {.id = std::nullopt, .tied = true};
  }
  return {.id = most->first, .tied = false};
}

std::string make_virtual_disks(Scheduler& scheduler, const std::string& file,
                               const config::RaidGroup& configured, raid::Group& group,
                               VirtualDisks& disks) {
  const std::vector<raid::VirtualDiskEntry> entries = raid::virtual_disks_of(group.status().label);
  for (const config::VirtualDisk& wanted : configured.virtual_disks) {
    const auto entry = std::ranges::find(entries, wanted.name, &raid::VirtualDiskEntry::name);
    if (entry == entries.end()) {
      return fmt::format(
          "{0}:{1}: redundancy group {2} has no virtual disk {3}; remove it from the file, and if "
          "the group has room (`duet raid status`), make it: `duet raid virtual {2} {3} SIZE`, "
          "then write it into the file",
          file, wanted.line, configured.name, wanted.name);
    }
    disks.push_back(
        std::make_unique<raid::VirtualDisk>(scheduler, group, entry->part, wanted.answer,
                                            fmt::format("{}/{}", configured.name, wanted.name)));
  }
  return {};
}

BlockDevice* virtual_disk_called(std::string_view name, const config::RaidGroup& configured,
                                 const VirtualDisks& disks) {
  for (std::size_t i = 0; i < disks.size(); ++i) {
    if (configured.virtual_disks[i].name == name) {
      return disks[i].get();
    }
  }
  return nullptr;
}

}  // namespace duet::groups
