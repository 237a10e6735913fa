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
    : bytes_(bytes), data_(static_cast<std::byte*>(std::calloc(bytes, 1))) {
  DUET_CHECK(data_ != nullptr);
}

void PrivateRegion::store(std::uint64_t /*offset*/, std::span<const std::byte> /*data*/) {
  DUET_CHECK(false);
}
Status PrivateRegion::persist() { return kOnlyACopy; }

std::uint64_t PrivateRegion::next_data(std::uint64_t at, std::uint64_t end) const {
  for (const RecordSpan& span : spans_) {
    if (at < span.end) {
      return std::min(std::max(at, span.begin), end);
    }
  }
  return end;
}

void RegionView::store(std::uint64_t /*offset*/, std::span<const std::byte> /*data*/) {
  DUET_CHECK(false);
}
Status RegionView::persist() { return kOnlyACopy; }

AreaCopy::AreaCopy(const PersistentMemory& source, std::uint64_t half_bytes, std::uint32_t area)
    : source_(source),
      half_bytes_(half_bytes),
      area_(area),
      copy_(std::make_unique<PrivateRegion>(region_bytes(half_bytes))) {
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
  if (!left_) {
    const auto trusted = read_area(*copy_, half_bytes_, area_);
    left_ = trusted.has_value() ? spans_up_to(source_, half_bytes_, *trusted, newest_)
                                : std::array<RecordSpan, 2>{};
    copy_->set_spans(*left_);
  }
  bool more = false;
  for (RecordSpan& span : *left_) {
    const std::uint64_t now = std::min(bytes, span.end - span.begin);
    std::memcpy(copy_->data().data() + span.begin, source_.bytes().data() + span.begin, now);
    span.begin += now;
    bytes -= now;
    more = more || span.begin < span.end;
  }
  return more;
}

std::unique_ptr<PersistentMemory> AreaCopy::take() {
  DUET_CHECK(left_ && left_->front().begin == left_->front().end &&
             left_->back().begin == left_->back().end);
  if (const auto trusted = read_area(*copy_, half_bytes_, area_); trusted.has_value()) {
    strike_out_after(*copy_, half_bytes_, *trusted, newest_);
  }
  return std::move(copy_);
}

}  // namespace duet::nvlog
