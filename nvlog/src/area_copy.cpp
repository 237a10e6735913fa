#include "area_copy.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "record_scan.h"
#include "region.h"

namespace duet::nvlog {

namespace {

constexpr Error kOnlyACopy{Errc::kReadOnly, "log: a copy is not written"};

}  // namespace

PrivateRegion::PrivateRegion(std::uint64_t bytes)
    : bytes_(bytes), data_(std::make_unique_for_overwrite<std::byte[]>(bytes)) {}

void PrivateRegion::store(std::uint64_t /*offset*/, std::span<const std::byte> /*data*/) {
  DUET_CHECK(false);
}
Status PrivateRegion::persist() { return kOnlyACopy; }

void RegionView::store(std::uint64_t /*offset*/, std::span<const std::byte> /*data*/) {
  DUET_CHECK(false);
}
Status RegionView::persist() { return kOnlyACopy; }

AreaCopy::AreaCopy(const PersistentMemory& source, std::uint64_t half_bytes, std::uint32_t area)
    : source_(source),
      half_bytes_(half_bytes),
      area_(area),
      copy_(std::make_unique<PrivateRegion>(region_bytes(half_bytes))),
      next_(half_offset(half_bytes, area, 0)),
      end_(half_offset(half_bytes, area, 1) + half_bytes) {
  const MutableBytes to = copy_->data();
  std::memcpy(to.data(), source.bytes().data(), kHeaderBytes);
  const std::uint64_t header = area_offset(half_bytes, area);
  std::memcpy(to.data() + header, source.bytes().data() + header, kHeaderBytes);
  if (const auto trusted = read_area(*copy_, half_bytes, area); trusted.has_value()) {
    newest_ = newest_sequence(source, half_bytes, *trusted);
  }
  // No byte is read before the look is over.
  std::atomic_thread_fence(std::memory_order_acquire);
}

bool AreaCopy::copy_some(std::uint64_t bytes) {
  const std::uint64_t now = std::min(bytes, end_ - next_);
  std::memcpy(copy_->data().data() + next_, source_.bytes().data() + next_, now);
  next_ += now;
  return next_ < end_;
}

std::unique_ptr<PersistentMemory> AreaCopy::take() {
  DUET_CHECK(next_ == end_);
  if (const auto trusted = read_area(*copy_, half_bytes_, area_); trusted.has_value()) {
    strike_out_after(copy_->data(), half_bytes_, *trusted, newest_);
  }
  return std::move(copy_);
}

}  // namespace duet::nvlog
