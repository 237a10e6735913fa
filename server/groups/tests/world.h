// A node with redundancy groups in the simulator: disks, memory and the configuration, and what is
// opened of them until it crashes.

#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "filer/filer.h"
#include "groups/node_groups.h"
#include "groups/overlay.h"
#include "platform/task_scope.h"
#include "sim/sim_block_device.h"
#include "sim/sim_clock.h"
#include "sim/sim_disk.h"
#include "sim/sim_entropy.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"

namespace duet::groups::testing {

inline std::string configuration(std::string_view level, int disks, int spares) {
  std::string text = "pair:\n  name: sim\nraid:\n  - name: tank\n    level: ";
  text += level;
  text += "\n    chunk: 32KiB\n    disks:\n";
  for (int i = 0; i < disks; ++i) {
    text += "      - path: d" + std::to_string(i) + "\n";
  }
  for (int i = 0; i < spares; ++i) {
    text +=
        std::string(i == 0 ? "    spares:\n" : "") + "      - path: s" + std::to_string(i) + "\n";
  }
  text +=
      "    virtual_disks:\n      - name: all\nnodes:\n  a:\n    memory: {path: memory, size: "
      "80MiB}\n    admin: {socket: admin}\nfilers:\n  a:\n    home: a\n    addresses: "
      "[127.0.0.1]\n    disks:\n      - raid: tank/all\n";
  return text;
}

template <typename T>
Task<void> keep_result(Task<T> task, std::optional<T>& result) {
  T value = co_await std::move(task);
  result.emplace(std::move(value));
}

class World {
 public:
  static constexpr std::uint64_t kMemoryBytes = 80ULL << 20U;

  World(std::string_view level, int disk_count, std::uint64_t disk_blocks, std::uint64_t seed = 1,
        int spare_count = 0)
      : scheduler(seed), clock(scheduler), entropy(seed), random(seed), memory(kMemoryBytes) {
    auto parsed = config::parse(configuration(level, disk_count, spare_count), "sim.yaml");
    EXPECT_TRUE(parsed.ok()) << parsed.error().text();
    config = std::move(parsed.value());
    for (int i = 0; i < disk_count; ++i) {
      add_disk("d" + std::to_string(i), disk_blocks);
    }
    for (int i = 0; i < spare_count; ++i) {
      add_disk("s" + std::to_string(i), disk_blocks);
    }
  }
  ~World() { kill(); }

  void add_disk(const std::string& name, std::uint64_t blocks) {
    disks[name] = std::make_unique<sim::SimDisk>(name, blocks);
  }

  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    TaskScope scope(scheduler);
    scope.spawn(keep_result(std::move(task), result));
    EXPECT_TRUE(scheduler.run_until([&] { return result.has_value(); }, 50'000'000));
    EXPECT_TRUE(result.has_value()) << "the world came to rest before the answer";
    return std::move(*result);
  }

  std::string connect(bool overlaid = false) {
    groups = std::make_unique<NodeGroups>(scheduler, config, *config.node("a"));
    groups->lay_out(copy == nullptr ? static_cast<PersistentMemory&>(memory) : *copy);
    return groups->open_disks(
        [&](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
          const auto found = disks.find(disk.path.text);
          if (found == disks.end() || away.contains(disk.path.text)) {
            return Error{Errc::kNotFound, "No such file or directory"};
          }
          auto device = std::make_unique<sim::SimBlockDevice>(scheduler, *found->second);
          if (!overlaid) {
            return Result<std::unique_ptr<BlockDevice>>(std::move(device));
          }
          return Result<std::unique_ptr<BlockDevice>>(
              std::make_unique<Overlay>(scheduler, std::move(device)));
        });
  }
  std::string format() {
    std::string wrong = connect();
    const auto quiet = [](const std::string& /*line*/) {};
    return wrong.empty() ? run(groups->format(entropy, quiet)) : wrong;
  }
  // On disks and memory that stay as they are, with `overlaid`.
  std::string open(bool overlaid = false) {
    if (overlaid) {
      copy = std::make_unique<MemoryCopy>(memory.bytes(), kMemoryBytes);
    }
    std::string wrong = connect(overlaid);
    return wrong.empty() ? run(groups->open(entropy)) : wrong;
  }
  std::string format_and_open() {
    std::string wrong = format();
    return wrong.empty() ? run(groups->open(entropy)) : wrong;
  }
  void close() {
    const Status closed = run(groups->close());
    EXPECT_TRUE(closed.ok()) << closed.error().context;
    groups.reset();
  }
  // What is under way happens or does not.  `power`: and what was not flushed is lost.
  void kill(bool power = false) {
    filer.reset();
    groups.reset();
    copy.reset();
    if (power) {
      for (const auto& [name, disk] : disks) {
        disk->lose_power(random);
      }
      memory.lose_power(random);
    }
  }

  // Until the group can lose that many disks.
  void wait_for(std::uint32_t can_lose) {
    EXPECT_TRUE(scheduler.run_until([&] { return tank().can_lose() == can_lose; }, 50'000'000));
    EXPECT_EQ(tank().can_lose(), can_lose);
  }
  // Gives disks that the configuration does not name.
  ManagedGroup::Opener opener() {
    return [this](const config::Disk& disk) -> Result<std::unique_ptr<BlockDevice>> {
      const auto found = disks.find(disk.path.text);
      if (found == disks.end()) {
        return Error{Errc::kNotFound, "No such file or directory"};
      }
      return Result<std::unique_ptr<BlockDevice>>(
          std::make_unique<sim::SimBlockDevice>(scheduler, *found->second));
    };
  }

  [[nodiscard]] ManagedGroup& tank() { return *groups->find("tank"); }
  [[nodiscard]] BlockDevice& device() { return *tank().virtual_disk("all"); }

  sim::SimScheduler scheduler;
  sim::SimWallClock clock;
  sim::SimEntropy entropy;
  sim::Random random;
  config::Config config;
  std::map<std::string, std::unique_ptr<sim::SimDisk>> disks;
  std::set<std::string> away;  // disks that are not found
  sim::SimPersistentMemory memory;
  std::unique_ptr<MemoryCopy> copy;
  std::unique_ptr<NodeGroups> groups;
  std::unique_ptr<filer::Filer> filer;
};

// Memory of some blocks that a disk can take.
class Blocks {
 public:
  explicit Blocks(std::size_t count)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, count * kBlockBytes))),
        size_(count * kBlockBytes) {
    std::memset(bytes_.get(), 0, size_);
    parts_ = {MutableBytes(bytes_.get(), size_)};
  }
  void fill(std::uint64_t seed) {
    sim::Random random(seed);
    for (std::size_t i = 0; i < size_; i += sizeof(std::uint64_t)) {
      store(parts_[0], i, random.next());
    }
  }
  [[nodiscard]] std::span<const MutableBytes> parts() const { return parts_; }
  [[nodiscard]] ConstBytes bytes() const { return parts_[0]; }
  friend bool operator==(const Blocks& a, const Blocks& b) {
    return a.size_ == b.size_ && std::memcmp(a.bytes_.get(), b.bytes_.get(), a.size_) == 0;
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::size_t size_;
  std::array<MutableBytes, 1> parts_;
};

inline Task<Status> write(BlockDevice& device, std::uint64_t at, const Blocks& blocks) {
  const Status status = co_await device.write(at, blocks.parts());
  co_return status;
}
inline Task<Status> read(BlockDevice& device, std::uint64_t at, const Blocks& blocks) {
  const Status status = co_await device.read(at, blocks.parts());
  co_return status;
}
inline Task<Status> flush(BlockDevice& device) {
  const Status status = co_await device.flush();
  co_return status;
}

}  // namespace duet::groups::testing
