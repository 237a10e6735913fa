#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "schema.h"
#include "shelf/linux/disk_url.h"

namespace duet::config {

std::string ConfigError::text() const {
  const std::string where = line > 0 ? fmt::format("{}:{}", file, line) : file;
  return fmt::format("{}: {}; {}", where, message, remedy);
}

std::string Disk::shown() const {
  return shelf::without_password(shelf::without_key_file(path.text));
}

std::string Disk::url() const {
  return key_file.empty() ? path.text : path.text + "?key_file=" + key_file;
}

const Node* Config::node(std::string_view name) const {
  for (const Node& candidate : nodes) {
    if (candidate.name == name) {
      return &candidate;
    }
  }
  return nullptr;
}

const Filer* Config::filer(std::string_view name) const {
  for (const Filer& candidate : filers) {
    if (candidate.name == name) {
      return &candidate;
    }
  }
  return nullptr;
}

const Filer* Config::filer_at_home(std::string_view node_name) const {
  for (const Filer& candidate : filers) {
    if (candidate.home == node_name) {
      return &candidate;
    }
  }
  return nullptr;
}

const RaidGroup* Config::group(std::string_view name) const {
  for (const RaidGroup& candidate : groups) {
    if (candidate.name == name) {
      return &candidate;
    }
  }
  return nullptr;
}

std::vector<const RaidGroup*> Config::groups_of(const Node& node) const {
  std::vector<const RaidGroup*> used;
  const Filer* const filer = filer_at_home(node.name);
  for (const RaidGroup& group : groups) {
    if (is_pair() || (filer != nullptr && uses(filer->index(), group))) {
      used.push_back(&group);
    }
  }
  return used;
}

bool Config::uses(std::uint32_t index, const RaidGroup& group) const {
  return std::ranges::any_of(filers, [&](const Filer& filer) {
    return filer.index() == index && std::ranges::any_of(filer.disks, [&](const Disk& disk) {
             return disk.group == group.name;
           });
  });
}

std::vector<PairDisk> Config::pair_disks() const {
  DUET_CHECK(is_pair());
  std::vector<PairDisk> all;
  for (const Filer& filer : filers) {
    for (const Disk& disk : filer.disks) {
      if (!disk.is_virtual()) {
        all.push_back({.disk = &disk, .filer = filer.index()});
      }
    }
  }
  for (const RaidGroup& group : groups) {
    for (const std::vector<Disk>* const disks : {&group.disks, &group.spares}) {
      for (const Disk& disk : *disks) {
        all.push_back({.disk = &disk,
                       .filer = disk.home,
                       .group = &group,
                       .carries = disk.mailbox || disk.arbitration});
      }
    }
  }
  return all;
}

Outcome<Config> parse(std::string_view text, std::string_view file) {
  Outcome<Value> root = read_document(text, file);
  if (!root.ok()) {
    return root.error();
  }
  Reader reader(file);
  Config config = read_config(reader, root.value(), file);
  if (reader.error()) {
    return *reader.error();
  }
  return config;
}

Outcome<Config> load(const std::string& file) {
  if (std::error_code none; std::filesystem::is_directory(file, none)) {
    return ConfigError{file, 0, "is a directory", "name the YAML file itself with --config"};
  }
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  if (!stream || (text.empty() && errno != 0)) {
    return ConfigError{file, 0,
                       fmt::format("cannot be read: {}", std::strerror(errno != 0 ? errno : EIO)),
                       "name a readable file with --config"};
  }
  return parse(text, file);
}

std::array<std::uint64_t, 2> pair_id(std::string_view pair_name) {
  // FNV-1a over 64 bits, twice with different beginnings: a name, not a secret.
  std::array<std::uint64_t, 2> id{0xCBF2'9CE4'8422'2325, 0x8422'2325'CBF2'9CE4};
  for (std::uint64_t& half : id) {
    for (const char c : pair_name) {
      half = (half ^ static_cast<unsigned char>(c)) * 0x0000'0100'0000'01B3;
    }
  }
  return id;
}

}  // namespace duet::config
