#include "buffer.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <new>
#include <utility>

#include "base/sanitizers.h"

namespace duet::raid {

namespace {

constexpr bool kPooled = !kAddressSanitizer;

constexpr std::size_t kClasses = 9;            // 1, 2, 4, ... 256 blocks
constexpr std::size_t kKeptBytes = 4U << 20U;  // of each class, free

struct FreeBlocks {
  FreeBlocks* next;
};

struct FreeLists {
  std::array<FreeBlocks*, kClasses> heads{};
  std::array<std::size_t, kClasses> counts{};
  ~FreeLists() {
    for (FreeBlocks* at : heads) {
      while (at != nullptr) {
        std::free(std::exchange(at, at->next));
      }
    }
  }
};
thread_local FreeLists free_lists;

std::size_t class_of(std::size_t blocks) {
  return static_cast<std::size_t>(std::bit_width(blocks - 1));
}

std::byte* from_the_heap(std::size_t blocks) {
  void* const memory = std::aligned_alloc(kBlockBytes, blocks * kBlockBytes);
  DUET_CHECK(memory != nullptr);
  return static_cast<std::byte*>(memory);
}

}  // namespace

std::byte* allocate_blocks(std::size_t blocks) {
  const std::size_t size_class = class_of(blocks);
  if (!kPooled || size_class >= kClasses) {
    return from_the_heap(blocks);
  }
  FreeBlocks*& head = free_lists.heads[size_class];
  if (head == nullptr) {
    return from_the_heap(std::size_t{1} << size_class);
  }
  --free_lists.counts[size_class];
  return reinterpret_cast<std::byte*>(std::exchange(head, head->next));
}

void free_blocks(std::byte* memory, std::size_t blocks) noexcept {
  if (memory == nullptr) {
    return;
  }
  const std::size_t size_class = class_of(blocks);
  if (!kPooled || size_class >= kClasses ||
      (free_lists.counts[size_class] << size_class) * kBlockBytes >= kKeptBytes) {
    std::free(memory);
    return;
  }
  FreeBlocks*& head = free_lists.heads[size_class];
  head = new (memory) FreeBlocks{head};
  ++free_lists.counts[size_class];
}

}  // namespace duet::raid
