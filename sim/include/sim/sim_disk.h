// SimDisk: what a simulated disk holds, whoever is connected to it.
//
//   begin_write() --> under way --end_write()--> in the disk's cache --flush--> durable
//
// Invariants:
//   (1) A read gives the last write that ended.
//   (2) Power loss keeps what is durable.  Of every other write, ended or under way, each
//       sector of 512 bytes is kept or lost by itself.
//   (3) A flush makes durable what had ended before the flush began, and nothing else.
//
// A copy of one is another disk with the same past, and cheap: they share blocks.
// That is what a crash explorer takes at an event, makes lose its power and recovers from.
//
// Thread-safety: one thread.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "sim/random.h"

namespace duet::sim {

inline constexpr std::size_t kSectorBytes = 512;

class SimDisk {
 public:
  using Block = std::array<std::byte, kBlockBytes>;
  using BlockRef = std::shared_ptr<const Block>;  // null: zeros
  enum class WriteId : std::uint64_t {};
  enum class FlushMark : std::uint64_t {};

  SimDisk(std::string name, std::uint64_t blocks) : name_(std::move(name)), blocks_(blocks) {}
  // Takes everything but the observer.
  SimDisk(const SimDisk& other);
  SimDisk(SimDisk&&) = default;
  SimDisk& operator=(const SimDisk&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::uint64_t block_count() const { return blocks_; }

  // What a read gives.  REQUIRES: block < block_count().
  [[nodiscard]] const Block& block(std::uint64_t number) const;

  // For SimBlockDevice.
  WriteId begin_write(std::uint64_t block, std::span<const MutableBytes> parts);
  // Whether the parts still hold what they held at the beginning.
  [[nodiscard]] bool unchanged(WriteId id, std::span<const MutableBytes> parts) const;
  void end_write(WriteId id);
  // The one who wrote is gone: of what was not written yet, some blocks still are.
  void abandon_write(WriteId id, Random& random);
  [[nodiscard]] FlushMark begin_flush() const { return FlushMark{ended_}; }
  void end_flush(FlushMark mark);

  // For tests: a write that has happened and is durable.
  void put(std::uint64_t block, ConstBytes bytes);
  // The medium decays: one bit turns, durably.
  void flip_bit(std::uint64_t block, std::size_t byte, unsigned bit);

  enum class Keep : std::uint8_t { kNothing, kEverything, kAny };
  // Power loss.  kAny: invariant (2), as drawn; kNothing: only what is durable;
  // kEverything: all, also what was under way.
  // REQUIRES: nobody is connected; or this is a copy.
  void lose_power(Random& random, Keep keep = Keep::kAny);

  // Power loss that keeps these of the unflushed() writes, in the order they began, whole.
  // REQUIRES: as above; kept.size() == unflushed().
  void lose_power(const std::vector<bool>& kept);

  enum class EventKind : std::uint8_t { kWrite, kFlush };
  struct Event {
    EventKind kind;
    std::uint64_t block;   // a write's first
    std::uint64_t blocks;  // and how many; none of a flush
  };
  // Called whenever what power loss may leave has changed: after a write began (its sectors
  // may now be kept) and after a flush ended.  It may copy this disk and others, and must
  // not change them.
  using Observer = std::function<void(const Event&)>;
  void observe(Observer observer) { observer_ = std::move(observer); }

  // How many writes power loss may undo.
  [[nodiscard]] std::size_t unflushed() const { return volatile_.size(); }

 private:
  struct Write {
    std::uint64_t block;
    std::vector<BlockRef> data;
    std::optional<std::uint64_t> ended;  // the how manieth to end
  };
  using Image = std::unordered_map<std::uint64_t, BlockRef>;

  Write& find(WriteId id);
  void notify(EventKind kind, std::uint64_t block, std::uint64_t blocks) const;
  static void keep_some(Image& image, const Write& write, Random& random);

  std::string name_;
  std::uint64_t blocks_;
  Image durable_;
  Image current_;                            // what reads see: durable_ and the writes that ended
  std::map<std::uint64_t, Write> volatile_;  // by id: in the order they began
  std::uint64_t next_id_ = 1;
  std::uint64_t ended_ = 0;
  Observer observer_;
};

}  // namespace duet::sim
