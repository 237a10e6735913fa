// Disks, persistent memory and a wire in ordinary memory, for measuring: nothing is lost, nothing
// fails.  What takes time is said by a Timing; without one everything takes one turn.
//
// Thread-safety: the scheduler's thread.  RamDisk and RamMemory: what different threads use at the
// same time does not overlap.

#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "buffer.h"
#include "platform/block_device.h"
#include "platform/persistent_memory.h"
#include "raid/peers.h"

namespace duet::raid::bench {

// What takes how long.
struct Timing {
  Duration disk_latency{};             // of an operation, besides its bytes
  std::uint64_t disk_bytes_per_s = 0;  // of each disk; 0, of all: no limit
  std::uint64_t port_bytes_per_s = 0;  // of each node, to all disks together
  Duration message_latency{};
  std::uint64_t message_bytes_per_s = 0;  // of each direction between two nodes
  [[nodiscard]] bool none() const {
    return disk_latency == Duration() && message_latency == Duration();
  }
};

// Something that bytes go through one after the other.
class Lane {
 public:
  explicit Lane(std::uint64_t bytes_per_s) : bytes_per_s_(bytes_per_s) {}
  // When these have gone through.
  Instant take(Instant now, std::uint64_t bytes) {
    free_at_ = std::max(free_at_, now);
    if (bytes_per_s_ > 0) {
      free_at_ = free_at_ + std::chrono::nanoseconds(bytes * 1'000'000'000U / bytes_per_s_);
    }
    return free_at_;
  }

 private:
  std::uint64_t bytes_per_s_;
  Instant free_at_{};
};

// What a disk holds, and its own lane.
struct RamDisk {
  RamDisk(std::uint64_t blocks, const Timing& timing)
      : memory(blocks), lane(timing.disk_bytes_per_s) {
    std::memset(memory.data(), 0, memory.size());  // every page is there
  }
  Buffer memory;
  Lane lane;
  std::uint64_t blocks_written = 0;
  std::uint64_t blocks_read = 0;
};

// One node's way to a disk.
class RamPort final : public BlockDevice {
 public:
  RamPort(Scheduler& scheduler, RamDisk& disk, Lane& port, const Timing& timing)
      : scheduler_(scheduler), disk_(disk), port_(port), timing_(timing) {}

  [[nodiscard]] std::uint64_t block_count() const override {
    return disk_.memory.size() / kBlockBytes;
  }
  [[nodiscard]] std::string_view name() const override { return "ram"; }
  void start(BlockOperation& operation) override {
    std::byte* at = disk_.memory.data() + operation.block * kBlockBytes;
    std::uint64_t bytes = 0;
    for (const MutableBytes part : operation.parts) {
      if (operation.kind == BlockOperation::Kind::kRead) {
        std::memcpy(part.data(), at + bytes, part.size());
      } else {
        std::memcpy(at + bytes, part.data(), part.size());
      }
      bytes += part.size();
    }
    (operation.kind == BlockOperation::Kind::kRead ? disk_.blocks_read : disk_.blocks_written) +=
        bytes / kBlockBytes;
    operation.result = Ok{};
    if (timing_.none()) {
      scheduler_.post(operation);
      return;
    }
    const Instant now = scheduler_.now();
    const Instant done = std::max(disk_.lane.take(now, bytes), port_.take(now, bytes));
    scheduler_.post_at(operation, done + timing_.disk_latency);
  }

 private:
  Scheduler& scheduler_;
  RamDisk& disk_;
  Lane& port_;
  const Timing& timing_;
};

class RamMemory final : public PersistentMemory {
 public:
  explicit RamMemory(std::uint64_t bytes)
      : memory_((bytes + kBlockBytes - 1) / kBlockBytes), bytes_(bytes) {
    std::memset(memory_.data(), 0, memory_.size());
  }
  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return memory_.bytes().first(bytes_);
  }
  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    DUET_CHECK(offset <= bytes_ && data.size() <= bytes_ - offset);
    std::memcpy(memory_.data() + offset, data.data(), data.size());
  }
  Status persist() override { return Ok{}; }

 private:
  Buffer memory_;
  std::uint64_t bytes_;
};

// Nodes that are always connected.
class Wire {
 public:
  Wire(Scheduler& scheduler, const Timing& timing) : scheduler_(scheduler), timing_(timing) {}

  class Port final : public Peers {
   public:
    Port(Wire& wire, std::uint32_t node) : wire_(wire), node_(node) {}
    void attach(PeersUser* user) override { user_ = user; }
    [[nodiscard]] std::uint64_t session(NodeId node) const override {
      return number(node) < wire_.ports_.size() ? 1 : 0;
    }
    void send(NodeId to, ConstBytes packet) override {
      ++wire_.packets;
      wire_.push(node_, number(to), {.bytes = {packet.begin(), packet.end()}});
    }
    std::uint64_t store(NodeId to, std::uint64_t offset,
                        std::span<const ConstBytes> parts) override {
      ++wire_.stores;
      Item item = {.offset = offset, .store = ++stores_[number(to)]};
      for (const ConstBytes part : parts) {
        item.bytes.insert(item.bytes.end(), part.begin(), part.end());
      }
      wire_.push(node_, number(to), std::move(item));
      return stores_[number(to)];
    }
    [[nodiscard]] std::uint64_t stored(NodeId node) const override { return stored_[number(node)]; }

   private:
    friend class Wire;
    Wire& wire_;
    const std::uint32_t node_;
    PeersUser* user_ = nullptr;
    std::array<std::uint64_t, kNodesMax> stores_{};
    std::array<std::uint64_t, kNodesMax> stored_{};
  };

  Port& add(RamMemory& memory) {
    memories_.push_back(&memory);
    return ports_.emplace_back(*this, static_cast<std::uint32_t>(ports_.size()));
  }
  std::uint64_t packets = 0;
  std::uint64_t stores = 0;

 private:
  struct Item {
    std::vector<std::byte> bytes;
    std::uint64_t offset = 0;
    std::uint64_t store = 0;  // number; 0: a packet
    bool answer = false;      // to a store
  };
  struct Link {
    explicit Link(std::uint64_t bytes_per_s) : lane(bytes_per_s) {}
    Lane lane;
    std::deque<Item> items;
  };
  // One delivery.
  struct Arrival final : Continuation {
    Arrival(Wire& owner, std::uint32_t sender, std::uint32_t receiver)
        : wire(owner), from(sender), to(receiver) {}
    void run() override { wire.arrive(*this); }
    Wire& wire;
    std::uint32_t from;
    std::uint32_t to;
    std::list<Arrival>::iterator self;
  };
  Link& link(std::uint32_t from, std::uint32_t to) {
    return links_.try_emplace({from, to}, timing_.message_bytes_per_s).first->second;
  }
  void push(std::uint32_t from, std::uint32_t to, Item item) {
    Link& over = link(from, to);
    const std::uint64_t bytes = item.bytes.size() + 64;
    over.items.push_back(std::move(item));
    Arrival& arrival = arrivals_.emplace_back(*this, from, to);
    arrival.self = std::prev(arrivals_.end());
    if (timing_.none()) {
      scheduler_.post(arrival);
      return;
    }
    scheduler_.post_at(arrival, over.lane.take(scheduler_.now(), bytes) + timing_.message_latency);
  }
  void arrive(Arrival& arrival) {
    const std::uint32_t from = arrival.from;
    const std::uint32_t to = arrival.to;
    arrivals_.erase(arrival.self);
    Link& over = link(from, to);
    const Item item = std::move(over.items.front());
    over.items.pop_front();
    Port& port = ports_[to];
    const NodeId sender{static_cast<std::uint8_t>(from)};
    if (item.answer) {
      port.stored_[from] = item.store;
      if (port.user_ != nullptr) {
        port.user_->on_stored(sender);
      }
    } else if (item.store != 0) {
      memories_[to]->store(item.offset, item.bytes);
      push(to, from, {.store = item.store, .answer = true});
    } else if (port.user_ != nullptr) {
      port.user_->on_packet(sender, item.bytes);
    }
  }

  Scheduler& scheduler_;
  const Timing& timing_;
  std::deque<Port> ports_;
  std::vector<RamMemory*> memories_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Link> links_;
  std::list<Arrival> arrivals_;
};

}  // namespace duet::raid::bench
