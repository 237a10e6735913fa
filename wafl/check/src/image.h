// Image: what one run of the check knows: the disks, the root, which blocks were reached, and
// the report that it fills.

#pragma once

#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "block_reader.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"
#include "wafl_check/check.h"

namespace duet::wafl {

// One bit per block of the aggregate.
class BlockSet {
 public:
  void resize(std::uint64_t blocks) {
    words_.assign((blocks + 63) / 64, 0);
    count_ = 0;
  }
  [[nodiscard]] bool has(std::uint64_t block) const {
    return (words_[block / 64] >> (block % 64) & 1U) != 0;
  }
  // Whether it is new.
  bool add(std::uint64_t block) {
    const bool fresh = !has(block);
    words_[block / 64] |= std::uint64_t{1} << (block % 64);
    count_ += fresh ? 1 : 0;
    return fresh;
  }
  // Whether it was there.
  bool remove(std::uint64_t block) {
    const bool there = has(block);
    words_[block / 64] &= ~(std::uint64_t{1} << (block % 64));
    count_ -= there ? 1 : 0;
    return there;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  void clear() {
    if (count_ != 0) {
      resize(words_.size() * 64);
    }
  }

 private:
  std::vector<std::uint64_t> words_;
  std::uint64_t count_ = 0;
};

// Text from whatever can be written to a stream.
template <typename... Parts>
std::string text_of(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// What a clone began as: blocks born up to `cp` are `volume`'s, or its own origin's.
struct CheckOrigin {
  std::uint32_t volume = 0;
  std::uint32_t cp = 0;
};

class Image {
 public:
  explicit Image(CheckOptions chosen) : options(std::move(chosen)) {}

  const CheckOptions options;
  CheckReport report;
  BlockReader reader;
  DiskRoot root;
  BlockSet reached;
  std::map<std::uint32_t, CheckOrigin> origins;  // by the clone's volume; sound ones only
  // Of the dataset at hand: blocks of the snapshot before it that it has no more, and those of
  // them that its zombies still hold.
  BlockSet died;
  BlockSet pending;
  std::string_view stage;

  void problem(ProblemKind kind, std::uint64_t block, std::string text);
  void note(std::string text) { report.notes.push_back(std::move(text)); }
  // Says what `error` of a read means.
  void unreadable(Error error, const BlockPointer& pointer, const std::string& where);
  // Counts a block as read; calls the progress function now and then.
  void progressed();

  // The owner map's entry of `block`; all zero when it cannot be read (reported where the owner
  // map itself is walked).
  Task<OwnerEntry> owner(std::uint64_t block);
  // Whose a block is that `volume` holds: its own, or that of a volume that it is a clone of.
  [[nodiscard]] std::uint32_t owner_volume(std::uint32_t volume, std::uint32_t birth) const;

 private:
  std::uint64_t done_ = 0;
};

}  // namespace duet::wafl
