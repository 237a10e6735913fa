#include "raid/onlooker.h"

#include "stripe_io.h"

namespace duet::raid {

struct Onlooker::State {
  State(Assembly found, const std::vector<BlockDevice*>& devices)
      : assembly(std::move(found)), disks(assembly, devices), io(disks, counters) {}

  const Assembly assembly;
  Disks disks;
  GroupCounters counters;
  StripeIo io;
};

Onlooker::Onlooker(std::unique_ptr<State> state) : state_(std::move(state)) {}
Onlooker::~Onlooker() = default;

Task<Result<std::unique_ptr<Onlooker>>> Onlooker::open(std::vector<BlockDevice*> devices,
                                                       const GroupId& group) {
  std::vector<Result<GroupLabel>> labels;
  for (BlockDevice* const device : devices) {
    Result<GroupLabel> label = co_await read_label(*device);
    labels.push_back(std::move(label));
  }
  Result<Assembly> assembly = assemble(group, labels, /*force=*/false);
  if (!assembly.ok()) {
    co_return assembly.error();
  }
  const Geometry geometry = geometry_of(assembly.value().label);
  for (const std::optional<std::size_t> at : assembly.value().members) {
    if (at.has_value() && devices[*at]->block_count() < geometry.disk_blocks()) {
      co_return Error{Errc::kCorrupt, "a disk is smaller than its label says"};
    }
  }
  auto state = std::make_unique<State>(std::move(assembly.value()), devices);
  co_return std::unique_ptr<Onlooker>(new Onlooker(std::move(state)));
}

const GroupLabel& Onlooker::label() const { return state_->disks.label(); }

Task<Status> Onlooker::read(std::uint64_t block, std::span<const MutableBytes> parts) {
  for (const MutableBytes part : parts) {
    for (std::size_t at = 0; at < part.size(); at += kBlockBytes) {
      const Site site = site_of(state_->disks.label(), block++);
      const std::uint32_t chunk = state_->disks.geometry().chunk_blocks;
      const std::uint32_t column = site.first / chunk;
      Sheet sheet(site.of, site.first % chunk, 1);
      const Status obtained = co_await state_->io.obtain(sheet, one(column));
      if (!obtained.ok()) {
        co_return obtained;
      }
      copy_bytes(sheet.column(column), part.subspan(at));
    }
  }
  co_return Ok{};
}

}  // namespace duet::raid
