#include "wafl_check/check.h"

#include "stages.h"

namespace duet::wafl {

Task<CheckReport> check(std::vector<BlockDevice*> devices, CheckOptions options) {
  Image image(std::move(options));
  image.stage = "root";
  const bool loaded = co_await load_image(image, std::move(devices));
  if (!loaded) {
    co_return std::move(image.report);
  }
  std::vector<CheckVolume> volumes = co_await check_aggregate_trees(image);
  for (CheckVolume& volume : volumes) {
    co_await check_volume(image, volume);
  }
  image.stage = "names";
  for (const CheckVolume& volume : volumes) {
    for (const CheckDataset& live : volume.live) {
      co_await check_names(image, live);
    }
    for (const CheckDataset& snapshot : volume.snapshots) {
      if (image.options.names_of_snapshots) {
        co_await check_names(image, snapshot);
      }
    }
  }
  co_await check_maps(image);
  image.report.blocks_reached = image.reached.count();
  co_return std::move(image.report);
}

}  // namespace duet::wafl
