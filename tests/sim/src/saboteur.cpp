#include "saboteur.h"

#include <array>
#include <list>
#include <utility>

namespace duet::world {

namespace {

class FlushLoser final : public BlockDevice {
 public:
  FlushLoser(sim::SimScheduler& scheduler, BlockDevice& disk)
      : scheduler_(scheduler), disk_(disk) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override {
    if (operation.kind == BlockOperation::Kind::kFlush) {
      operation.result = Ok{};
      scheduler_.post(operation);
    } else {
      disk_.start(operation);
    }
  }

 private:
  sim::SimScheduler& scheduler_;
  BlockDevice& disk_;
};

}  // namespace

std::unique_ptr<BlockDevice> make_saboteur(Sabotage sabotage, sim::SimScheduler& scheduler,
                                           BlockDevice& disk) {
  if (sabotage == Sabotage::kLostFlush) {
    return std::make_unique<FlushLoser>(scheduler, disk);
  }
  return nullptr;
}

std::optional<Sabotage> sabotage_named(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Sabotage>, 4> kNames{
      {{"none", Sabotage::kNone},
       {"lost-flush", Sabotage::kLostFlush},
       {"lost-write", Sabotage::kLostWrite},
       {"no-persist", Sabotage::kNoPersist}}};
  for (const auto& [known, sabotage] : kNames) {
    if (known == name) {
      return sabotage;
    }
  }
  return std::nullopt;
}

}  // namespace duet::world
