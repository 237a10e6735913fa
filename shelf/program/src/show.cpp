#include <fmt/format.h>

#include "disks.h"

namespace duet::shelf {

namespace {

const char* text_of(Reservation reservation) {
  switch (reservation) {
    case Reservation::kNone:
      return "none: everybody may write";
    case Reservation::kWriteExclusive:
      return "write exclusive";
    case Reservation::kExclusiveAccess:
      return "exclusive access";
  }
  return "?";
}

std::string text_of(DiskKey key) {
  return fmt::format("node {} incarnation {}", node_of(key), incarnation_of(key));
}

Task<Status> peek(Label& label) { co_return co_await label.peek(); }

}  // namespace

int show(const ShowOptions& options) {
  os::EpollScheduler scheduler;
  const std::string path = label_path(options.path, options.label_directory);
  const auto device = os::open_block_device(scheduler, path, {.name = {}, .read_only = true});
  if (!device.ok()) {
    const bool busy = device.error().code == Errc::kRefused;
    return refuse(fmt::format("{}: {}{}", path, device.error().context,
                              busy ? ": a shelf serves this disk; ask a node's duet status" : ""));
  }
  Label label(*device.value());
  const Status read = run_to_end(scheduler, peek(label));
  if (!read.ok()) {
    fmt::print(stderr, "duet-shelf: {}: {}\n", path, read.error().context);
    return kExitFailed;
  }
  const DiskState& state = label.state();
  fmt::print("disk         {:016x}{:016x}, {} blocks of 4 KiB\n", label.disk().id[0],
             label.disk().id[1], label.disk().blocks);
  fmt::print("reservation  {}\n", text_of(state.reservation));
  if (state.reservation != Reservation::kNone) {
    fmt::print("holder       {}\n", text_of(state.holder));
  }
  fmt::print("epoch        {}\n", state.epoch);
  for (const DiskKey key : state.keys) {
    fmt::print("registered   {}\n", text_of(key));
  }
  return 0;
}

}  // namespace duet::shelf
