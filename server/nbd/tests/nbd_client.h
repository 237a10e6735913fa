// NbdClient: the client's end of a simulated connection, and the bytes that it says.

#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nbd/nbd_format.h"
#include "nbd/server.h"
#include "platform/task_scope.h"
#include "sim/sim_block_device.h"
#include "sim/sim_disk.h"
#include "sim/sim_scheduler.h"
#include "sim/sim_stream.h"

namespace duet::nbd::test {

// Bytes in the order of the network.
class Wire {
 public:
  Wire& u16(std::uint16_t value) { return number(value); }
  Wire& u32(std::uint32_t value) { return number(value); }
  Wire& u64(std::uint64_t value) { return number(value); }
  Wire& text(std::string_view text) { return raw(std::as_bytes(std::span(text))); }
  Wire& raw(ConstBytes bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Wire& fill(std::size_t count, char byte) {
    bytes_.insert(bytes_.end(), count, static_cast<std::byte>(byte));
    return *this;
  }
  Wire& add(const Wire& other) { return raw(other.bytes()); }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  template <typename T>
  Wire& number(T value) {
    const T swapped = big_endian(value);
    return raw(bytes_of(swapped));
  }
  std::vector<std::byte> bytes_;
};

inline Wire option(std::uint32_t number, const Wire& data = {}) {
  return Wire()
      .u64(0x49484156454F5054)
      .u32(number)
      .u32(static_cast<std::uint32_t>(data.bytes().size()))
      .add(data);
}
inline Wire option_reply(std::uint32_t number, std::uint32_t type, const Wire& data = {}) {
  return Wire()
      .u64(0x3e889045565a9)
      .u32(number)
      .u32(type)
      .u32(static_cast<std::uint32_t>(data.bytes().size()))
      .add(data);
}
inline Wire named(std::string_view name, std::initializer_list<std::uint16_t> asked = {}) {
  Wire wire;
  wire.u32(static_cast<std::uint32_t>(name.size())).text(name);
  wire.u16(static_cast<std::uint16_t>(asked.size()));
  for (const std::uint16_t each : asked) {
    wire.u16(each);
  }
  return wire;
}
inline Wire request(std::uint16_t command, std::uint64_t cookie, std::uint64_t offset,
                    std::uint32_t bytes, std::uint16_t flags = 0) {
  return Wire().u32(0x25609513).u16(flags).u16(command).u64(cookie).u64(offset).u32(bytes);
}
inline Wire reply(std::uint64_t cookie, std::uint32_t error) {
  return Wire().u32(0x67446698).u32(error).u64(cookie);
}

inline filer::Address address_of(std::uint8_t last) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 1, 2, last};
}

class NbdClient {
 public:
  NbdClient(sim::SimScheduler& scheduler, Server& server, std::uint8_t address = 7)
      : sending_(scheduler), scope_(scheduler) {
    auto [client, other] = sim::SimStream::make_pair(scheduler);
    stream_ = std::move(client);
    accepted_ = server.accept(std::move(other), address_of(address), 999);
    scope_.spawn(receive());
  }

  void send(const Wire& bytes) { scope_.spawn(write(bytes.bytes())); }
  void close() { stream_->close(); }
  // From now on the client takes nothing.
  void stop_reading() { reading_ = false; }

  [[nodiscard]] bool accepted() const { return accepted_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const std::vector<std::byte>& received() const { return received_; }
  // What came since the last call.
  std::vector<std::byte> news() { return std::exchange(received_, {}); }

 private:
  Task<void> write(std::vector<std::byte> bytes) {
    const AsyncMutex::Guard turn = co_await sending_.lock();
    ConstBytes part(bytes);
    const Status written = co_await stream_->write_all(std::span<ConstBytes>(&part, 1));
    static_cast<void>(written.ok());  // the server may have closed
  }
  Task<void> receive() {
    std::vector<std::byte> buffer(64 * 1024);
    while (reading_) {
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
  AsyncMutex sending_;
  bool accepted_ = false;
  bool ended_ = false;
  bool reading_ = true;
  TaskScope scope_;
};

inline filer::ExportRule rule(const char* match, bool read_write) {
  filer::ExportRule parsed = filer::parse_client(match).value();
  parsed.read_write = read_write;
  return parsed;
}

// A gate that is open or not.
class Gate final : public filer::AnswerGate {
 public:
  explicit Gate(Scheduler& scheduler) : resumed_(scheduler) {}
  [[nodiscard]] bool may_answer() const override { return open; }
  WaitList& resumed() override { return resumed_; }
  void set(bool now) {
    open = now;
    resumed_.wake_all();
  }
  bool open = true;

 private:
  WaitList resumed_;
};

// A disk whose requests may be held up, or fail.
class TestDisk final : public BlockDevice {
 public:
  TestDisk(sim::SimScheduler& scheduler, std::uint64_t blocks)
      : scheduler_(scheduler), disk_("d", blocks), device_(scheduler, disk_) {}
  [[nodiscard]] std::uint64_t block_count() const override { return device_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return "d"; }
  void start(BlockOperation& operation) override {
    flushes += operation.kind == BlockOperation::Kind::kFlush ? 1 : 0;
    if (held) {
      waiting_.push_back(&operation);
    } else if (fails && (operation.kind != BlockOperation::Kind::kRead || ++reads_ > reads_well)) {
      operation.result = *fails;
      scheduler_.post(operation);
    } else {
      device_.start(operation);
    }
  }
  void release() {
    held = false;
    for (BlockOperation* const each : std::exchange(waiting_, {})) {
      start(*each);
    }
  }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  [[nodiscard]] sim::SimDisk& contents() { return disk_; }

  bool held = false;
  std::optional<Error> fails;
  int reads_well = 0;  // before they fail
  int flushes = 0;

 private:
  sim::SimScheduler& scheduler_;
  sim::SimDisk disk_;
  sim::SimBlockDevice device_;
  std::vector<BlockOperation*> waiting_;
  int reads_ = 0;
};

}  // namespace duet::nbd::test
