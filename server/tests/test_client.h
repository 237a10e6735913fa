// TestClient: the client's end of a simulated connection: sends bytes, keeps what arrives.

#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "platform/task_scope.h"
#include "server/service.h"
#include "sim/sim_stream.h"
#include "wire.h"

namespace duet::server::test {

inline filer::Address test_address(std::uint8_t last = 7) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 1, 2, last};
}

class TestClient {
 public:
  TestClient(sim::SimScheduler& scheduler, Service& service, std::uint8_t address = 7)
      : scope_(scheduler) {
    auto [client, server] = sim::SimStream::make_pair(scheduler);
    stream_ = std::move(client);
    accepted_ = service.accept(std::move(server), test_address(address), 999);
    scope_.spawn(receive());
  }

  void send(const Wire& bytes) { scope_.spawn(write(bytes.bytes())); }
  void close() { stream_->close(); }

  [[nodiscard]] bool accepted() const { return accepted_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const std::vector<std::byte>& received() const { return received_; }
  // The replies that arrived, each with its mark, sorted: they may come in any order.
  [[nodiscard]] std::vector<std::vector<std::byte>> replies() const {
    std::vector<std::vector<std::byte>> all;
    for (std::size_t at = 0; at + 4 <= received_.size();) {
      const std::size_t bytes = 4 + (load_big32(received_.data() + at) & 0x7FFF'FFFFU);
      const std::size_t end = std::min(at + bytes, received_.size());
      all.emplace_back(received_.begin() + static_cast<std::ptrdiff_t>(at),
                       received_.begin() + static_cast<std::ptrdiff_t>(end));
      at = end;
    }
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  Task<void> write(std::vector<std::byte> bytes) {
    const ConstBytes view(bytes);
    std::vector<ConstBytes> parts(1, view);
    const Status written = co_await stream_->write_all(parts);
    static_cast<void>(written.ok());  // the server may have closed
  }
  Task<void> receive() {
    std::vector<std::byte> buffer(64 * 1024);
    for (;;) {
      const Result<std::size_t> got = co_await stream_->read_some(buffer);
      if (!got.ok() || got.value() == 0) {
        ended_ = true;
        co_return;
      }
      const ConstBytes bytes = ConstBytes(buffer).first(got.value());
      received_.insert(received_.end(), bytes.begin(), bytes.end());
    }
  }

  std::unique_ptr<sim::SimStream> stream_;
  std::vector<std::byte> received_;
  bool accepted_ = false;
  bool ended_ = false;
  TaskScope scope_;
};

}  // namespace duet::server::test
