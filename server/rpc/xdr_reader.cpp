#include <algorithm>

#include "server/xdr.h"

namespace duet::server {

MutableBytes XdrScratch::take(std::size_t bytes) {
  if (bytes > kBytes - used_) {
    return {};
  }
  if (memory_ == nullptr) {
    memory_ = std::make_unique_for_overwrite<std::byte[]>(kBytes);
  }
  const MutableBytes room(memory_.get() + used_, bytes);
  used_ += bytes;
  return room;
}

XdrReader::XdrReader(std::span<const ConstBytes> pieces, XdrScratch& scratch)
    : later_(pieces), scratch_(&scratch) {
  for (const ConstBytes piece : pieces) {
    later_bytes_ += piece.size();
  }
  if (!pieces.empty()) {
    next_piece();
  }
}

void XdrReader::fail() {
  ok_ = false;
  at_ = end_ = nullptr;
  later_ = {};
  later_bytes_ = 0;
}

// REQUIRES: here() == 0 and there is a later piece.
void XdrReader::next_piece() {
  at_ = later_.front().data();
  end_ = at_ + later_.front().size();
  later_bytes_ -= later_.front().size();
  later_ = later_.subspan(1);
}

void XdrReader::copy(MutableBytes into) {
  while (!into.empty()) {
    if (here() == 0) {
      next_piece();
      continue;
    }
    const std::size_t count = std::min(here(), into.size());
    std::memcpy(into.data(), at_, count);
    at_ += count;
    into = into.subspan(count);
  }
}

std::uint32_t XdrReader::u32_across() {
  if (remaining() < 4) {
    fail();
    return 0;
  }
  std::array<std::byte, 4> bytes;
  copy(bytes);
  return load_big32(bytes.data());
}

bool XdrReader::boolean() { return enumeration(2) != 0; }

std::uint32_t XdrReader::enumeration(std::uint32_t bound) {
  const std::uint32_t value = u32();
  if (value >= bound) {
    fail();
    return 0;
  }
  return value;
}

// Of an opaque that lies wholly in what is left, padding included; else fails.
std::uint32_t XdrReader::length() {
  const std::uint32_t bytes = u32();
  const std::size_t left = remaining();
  if (bytes > left || xdr_padding(bytes) > left - bytes) {
    fail();
    return 0;
  }
  return bytes;
}

// REQUIRES: bytes <= remaining().
ConstBytes XdrReader::take(std::size_t bytes) {
  while (here() == 0 && !later_.empty()) {
    next_piece();
  }
  if (here() >= bytes) {
    const ConstBytes view(at_, bytes);
    at_ += bytes;
    return view;
  }
  const MutableBytes copied = scratch_ == nullptr ? MutableBytes() : scratch_->take(bytes);
  if (copied.size() != bytes) {
    fail();
    return {};
  }
  copy(copied);
  return copied;
}

void XdrReader::skip(std::size_t bytes) {
  if (bytes > remaining()) {
    fail();
    return;
  }
  while (bytes > here()) {
    bytes -= here();
    next_piece();
  }
  at_ += bytes;
}

ConstBytes XdrReader::opaque(std::size_t max) {
  const std::uint32_t bytes = length();
  if (bytes > max) {
    fail();
    return {};
  }
  const ConstBytes view = take(bytes);
  skip(xdr_padding(bytes));
  return view;
}

ConstBytes XdrReader::opaque_prefix(std::size_t kept) {
  const std::uint32_t bytes = length();
  const ConstBytes view = take(std::min<std::size_t>(bytes, kept));
  skip(bytes - std::min<std::size_t>(bytes, kept) + xdr_padding(bytes));
  return view;
}

std::string_view XdrReader::string_prefix(std::size_t kept) {
  const ConstBytes bytes = opaque_prefix(kept);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ConstBytes XdrReader::fixed(std::size_t bytes) {
  if (bytes + xdr_padding(bytes) > remaining()) {
    fail();
    return {};
  }
  const ConstBytes view = take(bytes);
  skip(xdr_padding(bytes));
  return view;
}

std::uint32_t XdrReader::data(std::vector<ConstBytes>& pieces) {
  const std::uint32_t bytes = length();
  std::size_t left = bytes;
  while (left > 0) {
    if (here() == 0) {
      next_piece();
      continue;
    }
    const std::size_t count = std::min(here(), left);
    pieces.emplace_back(at_, count);
    at_ += count;
    left -= count;
  }
  skip(xdr_padding(bytes));
  return bytes;
}

std::uint32_t XdrReader::checksum() const {
  std::uint32_t sum = here() == 0 ? 0 : crc32c(ConstBytes(at_, here()));
  for (const ConstBytes piece : later_) {
    sum = crc32c(piece, sum);
  }
  return sum;
}

std::uint32_t XdrReader::last_u32() const {
  const std::size_t left = remaining();
  if (left < 4) {
    return 0;
  }
  XdrReader tail = *this;
  tail.skip(left - 4);
  return tail.u32();
}

}  // namespace duet::server
