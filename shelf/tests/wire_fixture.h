// A shelf with its server and its clients over simulated streams.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fixture.h"
#include "shelf/server.h"
#include "shelf/shelf_disk.h"
#include "sim/sim_stream.h"

namespace duet::shelf::testing {

// A stream that turns one bit of what is read from it, once.
class FlippingStream final : public ByteStream {
 public:
  // `left`: so many bytes are read before it; shared, so that it counts over several streams.
  FlippingStream(std::unique_ptr<ByteStream> stream, std::uint64_t& left)
      : stream_(std::move(stream)), left_(left), read_(*this) {}
  ~FlippingStream() override {
    if (known_as_ != nullptr && *known_as_ == this) {
      *known_as_ = nullptr;
    }
  }
  // `pointer` points here, until the stream ends or it points elsewhere.
  void be_known_as(ByteStream*& pointer) {
    pointer = this;
    known_as_ = &pointer;
  }
  void close() override { stream_->close(); }
  bool start_write(WriteOperation& operation) override { return stream_->start_write(operation); }
  bool start_read(ReadOperation& operation) override {
    original_ = &operation;
    read_.buffer = operation.buffer;
    if (!stream_->start_read(read_)) {
      return false;
    }
    finish();
    return true;
  }

 private:
  struct Read final : ReadOperation {
    explicit Read(FlippingStream& owner) : flipping(owner) {}
    void run() override {
      flipping.finish();
      flipping.original_->run();
    }
    FlippingStream& flipping;
  };
  void finish() {
    original_->result = read_.result;
    const std::uint64_t bytes = read_.result.ok() ? read_.result.value() : 0;
    if (left_ < bytes) {
      read_.buffer[left_] ^= std::byte{4};
      left_ = UINT64_MAX;
    }
    left_ -= left_ == UINT64_MAX ? 0 : bytes;
  }
  std::unique_ptr<ByteStream> stream_;
  std::uint64_t& left_;
  ByteStream** known_as_ = nullptr;
  Read read_;
  ReadOperation* original_ = nullptr;
};

class WireShelf {
 public:
  WireShelf(Shelf& shelf, const ShelfServerOptions& options = {})
      : shelf_(shelf), options_(options) {
    start();
  }

  void start() {
    server_ = std::make_unique<ShelfServer>(shelf_.scheduler, options_);
    DUET_CHECK(server_->add_disk("d0", *shelf_.target).ok());
    serving_ = std::make_unique<TaskScope>(shelf_.scheduler);
  }
  // kill -9 of the shelf: its streams end, what is under way may have happened.
  void kill() {
    serving_.reset();
    server_.reset();
    shelf_.kill();
  }
  void restart() {
    shelf_.open();
    start();
  }
  void lose_power() {
    kill();
    shelf_.disk.lose_power(shelf_.scheduler.random(), sim::SimDisk::Keep::kNothing);
    shelf_.label.lose_power(shelf_.scheduler.random());
    ++options_.power[0];
  }

  Result<std::unique_ptr<ByteStream>> connect() {
    if (server_ == nullptr || refusing) {
      return Error{Errc::kIo, "Connection refused"};
    }
    auto [client, server] = sim::SimStream::make_pair(shelf_.scheduler);
    auto there = std::make_unique<FlippingStream>(std::move(server), flip_there);
    if (frozen) {
      unserved_.push_back(std::move(there));
    } else {
      there->be_known_as(last_);
      serving_->spawn(server_->serve(std::move(there)));
    }
    return std::unique_ptr<ByteStream>(
        std::make_unique<FlippingStream>(std::move(client), flip_here));
  }
  // Ends the last connection, if it has not ended, at the shelf's end.
  void cut() {
    if (last_ != nullptr) {
      last_->close();
    }
  }

  ShelfServer& server() { return *server_; }

  bool refusing = false;
  bool frozen = false;  // connections are made, and nobody answers
  std::uint64_t flip_there = UINT64_MAX;
  std::uint64_t flip_here = UINT64_MAX;

 private:
  Shelf& shelf_;
  ShelfServerOptions options_;
  ByteStream* last_ = nullptr;  // the shelf's end of the last connection
  std::unique_ptr<ShelfServer> server_;
  std::unique_ptr<TaskScope> serving_;
  std::vector<std::unique_ptr<ByteStream>> unserved_;
};

class TestConnector final : public Connector {
 public:
  explicit TestConnector(WireShelf& shelf) : shelf_(shelf) {}
  Task<Result<std::unique_ptr<ByteStream>>> connect() override { co_return shelf_.connect(); }
  [[nodiscard]] std::string_view name() const override { return "test"; }

 private:
  WireShelf& shelf_;
};

inline ShelfDiskOptions disk_options(DiskKey key) {
  return {.disk = "d0",
          .key = key,
          .fail_after = std::chrono::seconds(2),
          .silence_max = std::chrono::milliseconds(500),
          .retry = std::chrono::milliseconds(10),
          .transfer_bytes_max = 16384};
}

inline Result<std::unique_ptr<ShelfDisk>> try_open(sim::SimScheduler& scheduler, WireShelf& shelf,
                                                   const ShelfDiskOptions& options) {
  return run(scheduler,
             ShelfDisk::open(scheduler, std::make_unique<TestConnector>(shelf), options));
}
inline std::unique_ptr<ShelfDisk> open_disk(sim::SimScheduler& scheduler, WireShelf& shelf,
                                            DiskKey key) {
  auto opened = try_open(scheduler, shelf, disk_options(key));
  DUET_CHECK(opened.ok());
  return std::move(opened.value());
}

}  // namespace duet::shelf::testing
