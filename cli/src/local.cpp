#include "local.h"

#include <fmt/format.h>

namespace duet::cli {

namespace {

std::string remedy(Errc code) {
  if (code == Errc::kRefused) {
    return "stop duetd, or whatever uses it";
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

std::vector<BlockDevice*> Local::disk_pointers() const {
  std::vector<BlockDevice*> pointers;
  for (const std::unique_ptr<BlockDevice>& disk : disks) {
    pointers.push_back(disk.get());
  }
  return pointers;
}

std::string Local::open_disks(const config::Config& config, const config::Filer& filer, Disks how) {
  for (const config::Disk& disk : filer.disks) {
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
  os::PersistentMemoryOptions options;
  options.create = create;
  options.accept_volatile = node.memory.accept_volatile;
  auto opened = os::map_persistent_memory(node.memory.path.text, node.memory.size_bytes, options);
  if (opened.ok()) {
    memory = std::move(opened.value());
    return {};
  }
  if (!create && opened.error().code == Errc::kNotFound) {
    return {};
  }
  return refusal(config, node.memory.path, "memory", opened.error());
}

}  // namespace duet::cli
