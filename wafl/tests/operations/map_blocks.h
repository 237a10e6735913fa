// MapBlocks: a directory's blocks in a map; can be made to miss.

#pragma once

#include <array>
#include <cstring>
#include <map>
#include <set>

#include "base/check.h"
#include "operations/directory_blocks.h"

namespace duet::wafl {

class MapBlocks final : public DirectoryBlocks {
 public:
  bool misses = false;  // what load() has not been called for is missed first
  std::uint64_t rounds = 0;

  void load() {
    ++rounds;
    loaded_.insert(wanted_.begin(), wanted_.end());
    wanted_.clear();
  }
  void evict() { loaded_.clear(); }
  std::map<std::uint64_t, std::array<std::byte, kBlockBytes>>& blocks() { return blocks_; }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

  [[nodiscard]] std::uint64_t count() const override { return blocks_.size(); }
  [[nodiscard]] std::uint64_t free_head() const override { return free_head_; }
  Result<ConstBytes> read(std::uint64_t index) override {
    const auto it = blocks_.find(index);
    if (it == blocks_.end()) {
      return Error{Errc::kCorrupt, "no such block"};
    }
    if (!held(index)) {
      wanted_.insert(index);
      return Error{Errc::kMiss, "not loaded"};
    }
    return ConstBytes(it->second);
  }
  [[nodiscard]] bool held(std::uint64_t index) const override {
    return !misses || loaded_.contains(index);
  }
  void forget() override {}
  MutableBytes modify(std::uint64_t index) override {
    ++changes_;
    DUET_CHECK(held(index));
    return blocks_.at(index);
  }
  MutableBytes append() override {
    ++changes_;
    const std::uint64_t index = blocks_.size();
    loaded_.insert(index);
    std::memset(blocks_[index].data(), 0xEE, kBlockBytes);  // undefined, that is
    return blocks_[index];
  }
  void cut_to_root() override {
    ++changes_;
    blocks_.erase(blocks_.upper_bound(0), blocks_.end());
  }
  void set_free_head(std::uint64_t index) override { free_head_ = index; }

 private:
  std::map<std::uint64_t, std::array<std::byte, kBlockBytes>> blocks_;
  std::set<std::uint64_t> loaded_;
  std::set<std::uint64_t> wanted_;
  std::uint64_t free_head_ = 0;
  std::uint64_t changes_ = 0;
};

}  // namespace duet::wafl
