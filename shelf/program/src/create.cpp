#include <fmt/format.h>

#include <filesystem>

#include "disks.h"
#include "shelf/label_format.h"

namespace duet::shelf {

namespace {

Task<Status> create_label(BlockDevice& device, DiskIdentity identity) {
  Label label(device);
  const Status found = co_await label.peek();
  if (found.ok() || found.error().code != Errc::kNotFound) {
    co_return Error{Errc::kExists, "a shelf label is there already"};
  }
  co_return co_await label.create(identity);
}

}  // namespace

int create(const CreateOptions& options) {
  os::EpollScheduler scheduler;
  const std::string label = label_path(options.path, options.label_directory);
  std::error_code ignored;
  if (std::filesystem::exists(label, ignored)) {
    return refuse(
        fmt::format("{}: there is a label already; remove it only when no node uses the "
                    "disk: it says who may write",
                    label));
  }
  if (options.bytes > 0 && std::filesystem::exists(options.path, ignored)) {
    return refuse(fmt::format("{}: it exists; leave out --size to use it as it is", options.path));
  }
  const auto disk = os::open_block_device(
      scheduler, options.path,
      {.name = {}, .create_bytes = options.bytes / kBlockBytes * kBlockBytes});
  if (!disk.ok()) {
    return refuse(fmt::format("{}: {}", options.path, disk.error().context));
  }
  const DiskIdentity identity{.id = random_id(), .blocks = disk.value()->block_count()};
  const auto device = os::open_block_device(
      scheduler, label, {.name = {}, .create_bytes = kLabelBlocks * kBlockBytes});
  if (!device.ok()) {
    return refuse(fmt::format("{}: {}", label, device.error().context));
  }
  const Status created = run_to_end(scheduler, create_label(*device.value(), identity));
  if (!created.ok()) {
    fmt::print(stderr, "duet-shelf: {}: {}\n", label, created.error().context);
    return kExitFailed;
  }
  fmt::print("{}: {} blocks of 4 KiB, id {:016x}{:016x}\n", options.path, identity.blocks,
             identity.id[0], identity.id[1]);
  return 0;
}

}  // namespace duet::shelf
