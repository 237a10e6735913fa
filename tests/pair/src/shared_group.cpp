#include "shared_group.h"

namespace duet::pair {

namespace {

config::Config make_config() {
  config::Config config;
  config.file = "simulated.yaml";
  config.pair = "simulated";
  config.interconnect.emplace();
  config::RaidGroup group;
  group.name = "shared";
  group.level = SharedGroup::geometry().level;
  group.chunk_blocks = SharedGroup::geometry().chunk_blocks;
  for (std::uint32_t i = 0; i < SharedGroup::geometry().disks; ++i) {
    config::Disk disk;
    disk.path.text = std::to_string(i);
    group.disks.push_back(disk);
  }
  for (const char* const name : {"a", "b"}) {
    config::VirtualDisk part;
    part.name = name;
    group.virtual_disks.push_back(part);
    config::Node node;
    node.name = name;
    config.nodes.push_back(node);
    config::Filer filer;
    filer.name = filer.home = name;
    config::Disk disk;
    disk.path.text = "shared/" + part.name;
    disk.group = "shared";
    disk.virtual_disk = name;
    filer.disks.push_back(disk);
    config.filers.push_back(filer);
  }
  config.groups.push_back(group);
  return config;
}

}  // namespace

const config::Config& SharedGroup::config() {
  static const config::Config config = make_config();
  return config;
}

SharedGroup::Cell SharedGroup::root(std::uint32_t filer, std::size_t copy) {
  const raid::Geometry shape = geometry();
  const raid::Part part = parts()[filer].part;
  const raid::Place place = shape.place_of(part.first_block + kRootBlocks[copy]);
  return {shape.disk_of(place.stripe, place.cell.column),
          shape.disk_block(place.stripe, place.cell.row),
          shape.disk_of(place.stripe, shape.data_columns())};
}

}  // namespace duet::pair
