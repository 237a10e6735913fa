// BlockTable: a layer's blocks by index.
//
// Sixteen neighbours share an entry: files are mostly written in runs, and an allocation per
// block was the dearest part of a 1 MiB write after its checksums (docs/PERFORMANCE.md).
//
// Thread-safety: a value; one thread.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "wafl/buffer.h"

namespace duet::wafl {

class BlockTable {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Null: no such block.
  [[nodiscard]] const BufferRef* find(std::uint64_t index) const {
    const auto it = runs_.find(index / kRun);
    return it != runs_.end() && it->second[index % kRun] ? &it->second[index % kRun] : nullptr;
  }

  // True: there was no block at `index`.
  bool put(std::uint64_t index, BufferRef buffer) {
    BufferRef& place = runs_[index / kRun][index % kRun];
    const bool added = !place;
    place = std::move(buffer);
    size_ += added ? 1 : 0;
    return added;
  }

  // Forgets the blocks at and behind `index`; gives their number.
  std::size_t erase_from(std::uint64_t index) {
    const std::size_t before = size_;
    for (auto it = runs_.begin(); it != runs_.end();) {
      auto& [number, run] = *it;
      bool left = false;
      for (std::uint64_t i = 0; i < kRun; ++i) {
        if (run[i] && number * kRun + i >= index) {
          run[i] = BufferRef();
          --size_;
        }
        left = left || run[i];
      }
      it = left ? std::next(it) : runs_.erase(it);
    }
    return before - size_;
  }

  // `visit(index, buffer)` for each, in no order.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [number, run] : runs_) {
      for (std::uint64_t i = 0; i < kRun; ++i) {
        if (run[i]) {
          visit(number * kRun + i, run[i]);
        }
      }
    }
  }

 private:
  static constexpr std::uint64_t kRun = 16;
  std::unordered_map<std::uint64_t, std::array<BufferRef, kRun>> runs_;
  std::size_t size_ = 0;
};

}  // namespace duet::wafl
