#include "shelf/testing/sim_target.h"

#include <algorithm>

#include "shelf/label_format.h"
#include "sim_connection.h"
#include "sim_initiator.h"
#include "slow_disk.h"

namespace duet::shelf::testing {

namespace {

constexpr Duration kStep = std::chrono::microseconds(20);
constexpr std::uint64_t kSteps = 6;

}  // namespace

SimTarget::SimTarget(sim::SimScheduler& scheduler, sim::SimDisk& data, sim::SimDisk& label,
                     const SimTargetOptions& options)
    : scheduler_(scheduler), data_(data), label_(label), options_(options), opening_(scheduler) {
  start();
}

SimTarget::~SimTarget() { kill(); }

std::unique_ptr<SharedDisk> SimTarget::connect(SimPath& path, DiskKey key, Scheduler* process) {
  return std::make_unique<SimInitiator>(*this, path, key,
                                        process == nullptr ? scheduler_ : *process);
}

void SimTarget::start() {
  DUET_CHECK(data_device_ == nullptr);
  data_device_ = std::make_unique<sim::SimBlockDevice>(scheduler_, data_);
  label_device_ = std::make_unique<sim::SimBlockDevice>(scheduler_, label_);
  slow_data_ = std::make_unique<SlowDisk>(scheduler_, *data_device_, options_.slow_one_in,
                                          options_.slow_max);
  opening_.spawn(open());
}

Task<void> SimTarget::open() {
  auto opened = co_await Target::open(scheduler_, *slow_data_, *label_device_);
  const bool blank = !opened.ok() && opened.error().code == Errc::kNotFound;
  if (blank || !options_.features.survives_power_loss) {
    const DiskIdentity identity{.id = {1, 2}, .blocks = data_.block_count()};
    Label label(*label_device_);
    const Status created = co_await label.create(identity);
    DUET_CHECK(created.ok());
    auto again = co_await Target::open(scheduler_, *slow_data_, *label_device_);
    DUET_CHECK(again.ok());
    target_ = std::move(again.value());
    co_return;
  }
  DUET_CHECK(opened.ok());
  target_ = std::move(opened.value());
}

void SimTarget::kill() {
  for (const auto& connection : connections_) {
    connection->die();
  }
  opening_.cancel();
  target_.reset();
  slow_data_.reset();
  data_device_.reset();
  label_device_.reset();
}

void SimTarget::lose_power() {
  kill();
  data_.lose_power(scheduler_.random());
  label_.lose_power(scheduler_.random());
}

SimConnection& SimTarget::dial(SimPath& path, SimInitiator& client, DiskKey key,
                               std::uint64_t number) {
  return *connections_.emplace_back(
      std::make_unique<SimConnection>(*this, path, client, key, number));
}

void SimTarget::remove(SimConnection& connection) {
  std::erase_if(connections_,
                [&connection](const auto& each) { return each.get() == &connection; });
}

Duration SimTarget::travel_time() {
  sim::Random& random = scheduler_.random();
  if (options_.late_one_in != 0 && random.one_in(options_.late_one_in)) {
    return std::chrono::microseconds(
        random.below(static_cast<std::uint64_t>(options_.late_max / std::chrono::microseconds(1))));
  }
  return static_cast<int>(random.below(kSteps)) * kStep;
}

}  // namespace duet::shelf::testing
