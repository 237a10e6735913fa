// The keys of redundancy groups.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "raid/label_format.h"
#include "schema.h"

namespace duet::config {

namespace {

// By the name that stands in the label.
constexpr std::size_t kVirtualDiskNameMax = 31;
constexpr std::size_t kVirtualDisksMax = 32;
constexpr std::uint64_t kMiB = 1U << 20U;
// With less a rebuild of any disk of today would take years.
constexpr std::uint64_t kBackgroundMin = kMiB;
constexpr std::uint64_t kChunkBytesMax = 1024 * kBlockBytes;

raid::Level read_level(Reader& reader, MapReader& map) {
  const std::string text = map.text("level");
  for (const raid::Level level :
       {raid::Level::kMirror, raid::Level::kSingleParity, raid::Level::kDoubleParity}) {
    if (text == level_name(level)) {
      return level;
    }
  }
  if (!text.empty()) {
    reader.fail(
        map.find("level")->line, fmt::format("{}: \"{}\" is not known", map.path_of("level"), text),
        "write raid1 (2 or 3 disks with the same), raid5 (one disk may fail) or raid6 (two)");
  }
  return raid::Level::kSingleParity;
}

std::uint32_t read_chunk(Reader& reader, MapReader& map) {
  const std::uint64_t bytes = map.size("chunk", 64ULL << 10U, kBlockBytes);
  if (bytes % kBlockBytes != 0 || bytes > kChunkBytesMax) {
    reader.fail(map.find("chunk")->line,
                fmt::format("{}: it is no multiple of 4 KiB up to 4 MiB", map.path_of("chunk")),
                "write a size such as 64KiB");
    return 1;
  }
  return static_cast<std::uint32_t>(bytes / kBlockBytes);
}

enum class Role : std::uint8_t { kMember, kSpare };

std::vector<Disk> read_group_disks(Reader& reader, const Value& list, const std::string& path,
                                   const Config& config, Role role) {
  std::vector<Disk> disks;
  for (const Value& item : list_items(reader, list, path)) {
    MapReader inner(reader, item, path);
    disks.push_back(!config.is_pair()       ? read_image(reader, inner)
                    : role == Role::kMember ? read_shared_member(reader, inner, config)
                                            : read_shared_spare(reader, inner, config));
    inner.finish();
  }
  return disks;
}

void check_count(Reader& reader, const RaidGroup& group, const std::string& path) {
  const auto [least, most] = group.level == raid::Level::kMirror         ? std::pair(2, 3)
                             : group.level == raid::Level::kSingleParity ? std::pair(3, 32)
                                                                         : std::pair(4, 32);
  const auto there = static_cast<int>(group.disks.size());
  if (there < least || there > most) {
    reader.fail(group.line,
                fmt::format("{}.disks: {} has {} to {} disks, here are {}", path,
                            level_name(group.level), least, most, there),
                there < least ? "add disks, or choose another level"
                              : "make two groups of them, or choose another level");
  }
}

std::vector<VirtualDisk> read_virtual_disks(Reader& reader, MapReader& map) {
  std::vector<VirtualDisk> disks;
  const Value& list = map.need("virtual_disks");
  const std::string path = map.path_of("virtual_disks");
  const std::vector<Value>& items = list_items(reader, list, path);
  for (const Value& item : items) {
    MapReader inner(reader, item, path);
    VirtualDisk disk;
    disk.line = item.line;
    disk.name = inner.text("name");
    disk.size_bytes = inner.size("size", 0, kDiskBytesMin);
    check_name(reader, item.line, inner.path_of("name"), disk.name);
    if (const Value* exported = inner.find("nbd"); exported != nullptr) {
      read_exported(reader, *exported, inner.path_of("nbd"), disk);
    }
    inner.finish();
    if (disk.name.size() > kVirtualDiskNameMax) {
      reader.fail(item.line,
                  fmt::format("{}: \"{}\" is longer than {} characters", inner.path_of("name"),
                              disk.name, kVirtualDiskNameMax),
                  "shorten it");
    }
    if (disk.size_bytes == 0 && &item != &items.back()) {
      reader.fail(item.line, fmt::format("{} is missing", inner.path_of("size")),
                  "add it; only the last virtual disk can do without, and gets the rest");
    }
    for (const VirtualDisk& earlier : disks) {
      if (earlier.name == disk.name) {
        reader.fail(item.line,
                    fmt::format("virtual disk \"{}\" stands here twice; the first is in line {}",
                                disk.name, earlier.line),
                    "rename one of them");
      }
    }
    disks.push_back(disk);
  }
  if (disks.size() > kVirtualDisksMax) {
    reader.fail(list.key_line,
                fmt::format("{}: more than {} virtual disks", path, kVirtualDisksMax),
                "make fewer and larger ones");
  }
  return disks;
}

// As far as the file says how large the disks are; the rest is seen by `duet init`.
void check_sizes(Reader& reader, const RaidGroup& group, const std::string& path) {
  std::uint64_t smallest = ~std::uint64_t{0};
  for (const Disk& disk : group.disks) {
    smallest = std::min(smallest, disk.size_bytes);
  }
  for (const Disk& spare : group.spares) {
    if (spare.size_bytes > 0 && smallest > 0 && spare.size_bytes < smallest) {
      reader.fail(spare.path.line,
                  fmt::format("{}.spares: {} has {}, and the smallest disk of the group {}", path,
                              spare.path.text, size_text(spare.size_bytes), size_text(smallest)),
                  "a spare must be able to replace any disk: make it as large");
    }
  }
  if (smallest == 0 || reader.error()) {
    return;
  }
  const raid::Geometry geometry = group.geometry(smallest);
  const std::uint64_t stripe_bytes = geometry.stripe_blocks() * kBlockBytes;
  std::uint64_t left = geometry.stripes;
  for (const VirtualDisk& disk : group.virtual_disks) {
    const std::uint64_t wanted = disk.size_bytes == 0 ? (kDiskBytesMin - 1) / stripe_bytes + 1
                                                      : (disk.size_bytes - 1) / stripe_bytes + 1;
    if (wanted > left) {
      reader.fail(
          disk.line,
          fmt::format("{}.virtual_disks: {} is left in the group for {}, which has {} in all", path,
                      size_text(left * stripe_bytes), disk.name,
                      size_text(geometry.stripes * stripe_bytes)),
          "make the virtual disks smaller, or the group's disks larger; the last virtual disk "
          "gets the rest when it has no size");
      return;
    }
    left -= wanted;
  }
}

void read_group(Reader& reader, const Value& item, Config& config) {
  RaidGroup group;
  MapReader map(reader, item, "raid");
  group.line = item.line;
  group.name = map.text("name");
  check_name(reader, item.line, map.path_of("name"), group.name);
  const std::string path = "raid." + group.name;
  group.level = read_level(reader, map);
  group.disks =
      read_group_disks(reader, map.need("disks"), map.path_of("disks"), config, Role::kMember);
  if (const Value* spares = map.find("spares"); spares != nullptr) {
    group.spares = read_group_disks(reader, *spares, map.path_of("spares"), config, Role::kSpare);
  }
  group.chunk_blocks = read_chunk(reader, map);
  group.background_bytes_per_s = map.size("background", 0, kBackgroundMin);
  group.virtual_disks = read_virtual_disks(reader, map);
  map.finish();
  if (const RaidGroup* earlier = config.group(group.name); earlier != nullptr) {
    reader.fail(group.line,
                fmt::format("redundancy group \"{}\" stands here twice; the first is in line {}",
                            group.name, earlier->line),
                "rename one of them");
  }
  if (group.spares.size() > raid::kSparesMax) {
    reader.fail(group.line, fmt::format("{}.spares: more than {}", path, raid::kSparesMax),
                "give the others to another group");
  }
  if (!reader.error()) {
    check_count(reader, group, path);
  }
  if (!reader.error()) {
    check_sizes(reader, group, path);
  }
  config.groups.push_back(std::move(group));
}

std::string names_of(const Config& config) {
  std::string names;
  for (const RaidGroup& group : config.groups) {
    for (const VirtualDisk& disk : group.virtual_disks) {
      if (disk.exported()) {
        continue;
      }
      names += fmt::format("{}{}/{}", names.empty() ? "" : ", ", group.name, disk.name);
    }
  }
  return names;
}

// All memories of a pair have one size.
void check_memory(Reader& reader, const Config& config, const Node& node) {
  std::uint64_t intents = 0;
  for (const RaidGroup* const group : config.groups_of(node)) {
    intents += group->intent_bytes();
  }
  if (intents > 0 && node.memory.size_bytes < kMemoryBytesMin + intents) {
    reader.fail(
        node.memory.path.line,
        fmt::format("nodes.{}.memory: {} is too small: the log needs {} of it, the redundancy "
                    "groups {}",
                    node.name, size_text(node.memory.size_bytes), size_text(kMemoryBytesMin),
                    size_text(intents)),
        fmt::format("give {} at least {} MiB, or the groups smaller chunks",
                    config.is_pair() ? "all memories and mirrors" : "it",
                    (kMemoryBytesMin + intents + kMiB - 1) / kMiB));
  }
}

}  // namespace

void read_groups(Reader& reader, const Value& list, Config& config) {
  for (const Value& item : list_items(reader, list, "raid")) {
    read_group(reader, item, config);
  }
}

Disk read_virtual_disk(Reader& reader, MapReader& map, const Config& config) {
  Disk disk;
  for (const std::string_view key : {"path", "size"}) {
    if (const Value* value = map.find(key); value != nullptr) {
      reader.fail(
          value->key_line,
          fmt::format("{}: a virtual disk has none: the group says what it is", map.path_of(key)),
          "remove it, or `raid`");
    }
  }
  for (const std::string_view key : {"url", "mailbox", "arbitration"}) {
    if (const Value* value = map.find(key); value != nullptr) {
      reader.fail(
          value->key_line,
          fmt::format("{}: a virtual disk has none: the group's disks have", map.path_of(key)),
          "write it at one of the `disks` of the group, or remove `raid`");
    }
  }
  disk.path = map.path("raid");
  if (reader.error()) {
    return disk;
  }
  const std::size_t slash = disk.path.text.find('/');
  disk.group = disk.path.text.substr(0, slash);
  disk.virtual_disk = slash == std::string::npos ? "" : disk.path.text.substr(slash + 1);
  const VirtualDisk* found = nullptr;
  if (const RaidGroup* const group = config.group(disk.group); group != nullptr) {
    for (const VirtualDisk& candidate : group->virtual_disks) {
      found = candidate.name == disk.virtual_disk ? &candidate : found;
    }
  }
  if (found != nullptr && found->exported()) {
    reader.fail(disk.path.line,
                fmt::format("{}: virtual disk {} is for hosts, over NBD (line {})",
                            map.path_of("raid"), disk.path.text, found->nbd_line),
                "name another one here, or remove its `nbd`: a filer's disk is the filer's alone");
  }
  if (found == nullptr) {
    const std::string names = names_of(config);
    reader.fail(
        disk.path.line,
        fmt::format("{}: there is no virtual disk \"{}\"", map.path_of("raid"), disk.path.text),
        names.empty() ? "describe its group under `raid` at the top of the file"
                      : "write GROUP/DISK, one of: " + names);
  }
  return disk;
}

void check_groups(Reader& reader, const Config& config) {
  std::map<std::string, int> used;                // virtual disks
  std::map<std::string, const Filer*> groups_by;  // filer
  for (const Filer& filer : config.filers) {
    for (const Disk& disk : filer.disks) {
      if (!disk.is_virtual()) {
        continue;
      }
      const auto [place, fresh] = used.emplace(disk.path.text, disk.path.line);
      if (!fresh) {
        reader.fail(disk.path.line,
                    fmt::format("virtual disk {} is used twice; the first is in line {}",
                                disk.path.text, place->second),
                    "give each filer virtual disks of its own");
      }
      const auto [by, first] = groups_by.emplace(disk.group, &filer);
      if (!first && by->second != &filer && !config.is_pair()) {
        reader.fail(disk.path.line,
                    fmt::format("group {} is used by filer {} too, which another node serves",
                                disk.group, by->second->name),
                    "give each filer a group of its own: only the nodes of a pair could share one");
      }
    }
  }
  for (const RaidGroup& group : config.groups) {
    if (!groups_by.contains(group.name)) {
      const auto free = std::ranges::find_if(
          group.virtual_disks, [](const VirtualDisk& disk) { return !disk.exported(); });
      reader.fail(group.line,
                  fmt::format("raid.{}: no filer uses a virtual disk of it", group.name),
                  fmt::format("write `- raid: {}/{}` under a filer's `disks`, or remove the group",
                              group.name, free != group.virtual_disks.end() ? free->name : "DISK"));
    }
  }
  for (const Node& node : config.nodes) {
    check_memory(reader, config, node);
  }
}

}  // namespace duet::config
