#include <algorithm>

#include "server/xdr.h"

namespace duet::server {

void XdrWriter::close_part() {
  if (at_ != open_) {
    parts_.emplace_back(open_, open_bytes());
    closed_bytes_ += open_bytes();
    open_ = at_;
  }
}

void XdrWriter::grow() {
  close_part();
  blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(kBlockBytes));
  open_ = at_ = blocks_.back().get();
  end_ = at_ + kBlockBytes;
}

void XdrWriter::copy(ConstBytes bytes) {
  while (!bytes.empty()) {
    if (at_ == end_) {
      grow();
    }
    const std::size_t count = std::min(bytes.size(), static_cast<std::size_t>(end_ - at_));
    std::memcpy(at_, bytes.data(), count);
    at_ += count;
    bytes = bytes.subspan(count);
  }
}

void XdrWriter::opaque(ConstBytes bytes) {
  u32(static_cast<std::uint32_t>(bytes.size()));
  fixed(bytes);
}

void XdrWriter::fixed(ConstBytes bytes) {
  copy(bytes);
  pad(bytes.size());
}

void XdrWriter::pad(std::size_t bytes_before) {
  static constexpr std::array<std::byte, kXdrUnit> kZeros{};
  copy(ConstBytes(kZeros).first(xdr_padding(bytes_before)));
}

void XdrWriter::gather(ConstBytes bytes) {
  if (bytes.empty()) {
    return;
  }
  close_part();
  parts_.push_back(bytes);
  closed_bytes_ += bytes.size();
}

std::span<ConstBytes> XdrWriter::parts() {
  close_part();
  return parts_;
}

void XdrWriter::reset() {
  open_ = at_ = first_.data();
  end_ = first_.data() + kFirstBytes;
  closed_bytes_ = 0;
  parts_.clear();
  blocks_.clear();
}

}  // namespace duet::server
