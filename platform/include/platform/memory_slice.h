// MemorySlice: a part of a persistent memory, for one who needs not know of the others.
//
// Ownership: borrows the memory, which must outlive it.
// Thread-safety: that of the memory: whoever shares it takes turns.

#pragma once

#include <cstdint>

#include "base/check.h"
#include "platform/persistent_memory.h"

namespace duet {

class MemorySlice final : public PersistentMemory {
 public:
  // REQUIRES: offset + bytes <= memory.bytes().size(); offset is a multiple of 64, so that what is
  // torn at a loss of power is the same here as there.
  MemorySlice(PersistentMemory& memory, std::uint64_t offset, std::uint64_t bytes)
      : memory_(memory), offset_(offset), bytes_(bytes) {
    constexpr std::uint64_t kLineBytes = 64;
    DUET_CHECK(offset % kLineBytes == 0 && offset <= memory.bytes().size() &&
               bytes <= memory.bytes().size() - offset);
  }

  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return memory_.bytes().subspan(offset_, bytes_);
  }
  void store(std::uint64_t offset, std::span<const std::byte> data) override {
    DUET_CHECK(offset <= bytes_ && data.size() <= bytes_ - offset);
    memory_.store(offset_ + offset, data);
  }
  // Of all of the memory: more than was asked for.
  Status persist() override { return memory_.persist(); }

 private:
  PersistentMemory& memory_;
  const std::uint64_t offset_;
  const std::uint64_t bytes_;
};

}  // namespace duet
