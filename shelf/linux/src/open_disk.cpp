#include "shelf/linux/open_disk.h"

#include <utility>

#include "shelf/linux/connectors.h"
#include "shelf/shelf_disk.h"

namespace duet::shelf {

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
    case DiskUrl::Kind::kFile:
      co_return Error{Errc::kNotSupported, "a file cannot be shared; serve it with duet-shelf"};
    case DiskUrl::Kind::kBlock:
      co_return Error{Errc::kNotSupported, "reservations of block devices are not built yet"};
    case DiskUrl::Kind::kIscsi:
      co_return Error{Errc::kNotSupported, "iSCSI is not built yet"};
  }
  ShelfDiskOptions disk{.disk = std::move(url.disk),
                        .key = options.key,
                        .name = std::move(options.name),
                        .fail_after = options.fail_after,
                        .silence_max = options.silence_max};
  auto opened = co_await ShelfDisk::open(scheduler, std::move(connector), std::move(disk));
  if (!opened.ok()) {
    co_return opened.error();
  }
  co_return std::unique_ptr<SharedDisk>(std::move(opened.value()));
}

}  // namespace duet::shelf
