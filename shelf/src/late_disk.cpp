#include "shelf/late_disk.h"

#include <utility>

namespace duet::shelf {

namespace {

constexpr Error kAway{Errc::kIo, "the disk cannot be reached yet"};
constexpr Error kNotAdmitted{Errc::kIo, "the disk has only just come: it was not joined yet"};

bool writes(const DiskRequest& request) {
  return request.kind == DiskRequest::Kind::kCompareAndSwap ||
         request.kind == DiskRequest::Kind::kWriteDurable;
}

}  // namespace

LateDisk::LateDisk(Scheduler& scheduler, DiskKey key, std::string name, Opener opener,
                   Duration retry)
    : scheduler_(scheduler),
      key_(key),
      name_(std::move(name)),
      opener_(std::move(opener)),
      retry_(retry),
      since_(scheduler.now()),
      scope_(scheduler) {
  scope_.spawn(keep_trying());
}

LateDisk::~LateDisk() {
  scope_.cancel();
  disk_.reset();
}

Task<void> LateDisk::keep_trying() {
  for (;;) {
    Result<std::unique_ptr<SharedDisk>> opened = co_await opener_();
    if (opened.ok()) {
      disk_ = std::move(opened.value());
      DUET_CHECK(disk_->key() == key_);
      disk_->use_epoch(epoch_);
      co_return;
    }
    last_error_ = opened.error();
    ++failures_;
    co_await sleep(scheduler_, retry_);
  }
}

void LateDisk::admit() {
  DUET_CHECK(here());
  admitted_ = true;
}

std::uint64_t LateDisk::block_count() const { return here() ? disk_->block_count() : 0; }

void LateDisk::start(BlockOperation& operation) {
  if (here() && (admitted_ || operation.kind == BlockOperation::Kind::kRead)) {
    disk_->start(operation);
    return;
  }
  operation.result = here() ? kNotAdmitted : kAway;
  scheduler_.post(operation);
}

void LateDisk::start_command(DiskCommand& command) {
  if (here() && (admitted_ || !writes(command.request))) {
    disk_->start_command(command);
    return;
  }
  command.result = here() ? kNotAdmitted : superseded() ? last_error_ : kAway;
  scheduler_.post(command);
}

DiskFeatures LateDisk::features() const {
  return here() ? disk_->features() : DiskFeatures{.survives_power_loss = true};
}

DiskHealth LateDisk::health() const {
  DiskHealth health =
      here() ? disk_->health() : DiskHealth{.since = since_, .last_error = last_error_.context};
  health.connected = admitted_ && health.connected;
  return health;
}

void LateDisk::use_epoch(std::uint64_t epoch) {
  epoch_ = epoch;
  if (here()) {
    disk_->use_epoch(epoch);
  }
}

void LateDisk::begin_anew() {
  if (here()) {
    disk_->begin_anew();
  }
}

}  // namespace duet::shelf
