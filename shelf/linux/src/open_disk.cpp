#include "shelf/linux/open_disk.h"

#include <algorithm>
#include <utility>

#include "iscsi_transport.h"
#include "kernel_disk.h"
#include "shelf/linux/connectors.h"
#include "shelf/scsi_disk.h"
#include "shelf/shelf_disk.h"

namespace duet::shelf {

namespace {

// A nexus of its own for every process: reservations are the nexus's, so that an older process that
// wakes up has not the key of a newer one.  The name is the node's: targets may list it.
Task<Result<std::unique_ptr<SharedDisk>>> open_iscsi(os::EpollScheduler& scheduler, DiskUrl url,
                                                     OpenOptions options) {
  const auto timeout = std::chrono::duration_cast<std::chrono::seconds>(options.silence_max);
  IscsiOptions iscsi{
      .url = "iscsi://" + url.path,
      .initiator = "iqn.2026-01.org.duet-nas:node-" + std::to_string(node_of(options.key)),
      .nexus = incarnation_of(options.key),
      .timeout_s = std::max(1, static_cast<int>(timeout.count()))};
  auto transport = co_await connect_iscsi(scheduler, std::move(iscsi));
  if (!transport.ok()) {
    co_return transport.error();
  }
  std::string name = options.name.empty() ? "iscsi://" + url.path : std::move(options.name);
  ScsiDiskOptions scsi{
      .key = options.key, .name = std::move(name), .fail_after = options.fail_after};
  auto disk = co_await ScsiDisk::open(scheduler, std::move(transport.value()), std::move(scsi));
  if (!disk.ok()) {
    co_return disk.error();
  }
  co_return std::unique_ptr<SharedDisk>(std::move(disk.value()));
}

}  // namespace

Task<Result<std::unique_ptr<SharedDisk>>> open_shared_disk(os::EpollScheduler& scheduler,
                                                           DiskUrl url, OpenOptions options) {
  std::unique_ptr<Connector> connector;
  switch (url.kind) {
    case DiskUrl::Kind::kShelfUnix:
      connector = unix_connector(scheduler, url.path);
      break;
    case DiskUrl::Kind::kShelfTcp:
      connector = tcp_connector(scheduler, url.address);
      break;
    case DiskUrl::Kind::kShelfTls: {
      auto tls = shelf_tls(url.key_file);
      if (!tls.ok()) {
        co_return tls.error();
      }
      connector = tcp_connector(scheduler, url.address, std::move(tls.value()));
      break;
    }
    case DiskUrl::Kind::kFile:
      co_return Error{Errc::kNotSupported, "a file cannot be shared; serve it with duet-shelf"};
    case DiskUrl::Kind::kBlock:
      co_return co_await open_kernel_disk(scheduler, std::move(url.path), std::move(options));
    case DiskUrl::Kind::kIscsi:
      co_return co_await open_iscsi(scheduler, std::move(url), std::move(options));
  }
  ShelfDiskOptions disk{.disk = std::move(url.disk),
                        .key = options.key,
                        .name = std::move(options.name),
                        .fail_after = options.fail_after,
                        .open_within = options.open_within,
                        .silence_max = options.silence_max};
  auto opened = co_await ShelfDisk::open(scheduler, std::move(connector), std::move(disk));
  if (!opened.ok()) {
    co_return opened.error();
  }
  co_return std::unique_ptr<SharedDisk>(std::move(opened.value()));
}

}  // namespace duet::shelf
