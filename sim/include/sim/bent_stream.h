// BentStream: a stream around another whose written bytes may be changed on their way.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "platform/stream.h"

namespace duet::sim {

class BentStream final : public ByteStream {
 public:
  // Given the offset in the stream of the first byte; may change the bytes.
  using Bend = std::function<void(std::uint64_t offset, MutableBytes bytes)>;

  BentStream(std::unique_ptr<ByteStream> stream, Bend bend)
      : stream_(std::move(stream)), bend_(std::move(bend)) {}

  void close() override { stream_->close(); }
  [[nodiscard]] bool start_read(ReadOperation& operation) override {
    return stream_->start_read(operation);
  }
  [[nodiscard]] bool start_write(WriteOperation& operation) override {
    for (ConstBytes& part : operation.parts) {
      bytes_.emplace_back(part.begin(), part.end());
      bend_(written_, bytes_.back());
      written_ += part.size();
      part = bytes_.back();
    }
    const bool done = stream_->start_write(operation);
    while (bytes_.size() > 64) {  // sim streams have taken them by then
      bytes_.pop_front();
    }
    return done;
  }

 private:
  std::unique_ptr<ByteStream> stream_;
  Bend bend_;
  std::deque<std::vector<std::byte>> bytes_;
  std::uint64_t written_ = 0;
};

}  // namespace duet::sim
