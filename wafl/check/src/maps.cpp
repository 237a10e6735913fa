// I3: what the block map calls allocated is what was reached.

#include <algorithm>

#include "stages.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kAreasPerBlock = kBlockBytes / sizeof(AreaEntry);

// Neighbouring blocks with one problem are one message.
class Runs {
 public:
  Runs(Image& image, ProblemKind kind, std::string_view what)
      : image_(image), kind_(kind), what_(what) {}
  ~Runs() { flush(); }
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  void add(std::uint64_t block) {
    if (blocks_ > 0 && block == first_ + blocks_) {
      ++blocks_;
      return;
    }
    flush();
    first_ = block;
    blocks_ = 1;
  }

 private:
  void flush() {
    if (blocks_ > 0) {
      image_.problem(kind_, first_, text_of("block ", first_, ", ", blocks_, " in a row: ", what_));
    }
    blocks_ = 0;
  }

  Image& image_;
  const ProblemKind kind_;
  const std::string_view what_;
  std::uint64_t first_ = 0;
  std::uint64_t blocks_ = 0;
};

class MapCheck {
 public:
  explicit MapCheck(Image& image) : image_(image) {}

  // Free blocks of an area; `map` empty: the block map has a hole there, all free.
  std::uint32_t area(std::uint64_t area, ConstBytes map) {
    std::uint32_t free = 0;
    for (std::uint64_t i = 0; i < kAreaBlocks; ++i) {
      const std::uint64_t block = area * kAreaBlocks + i;
      const bool allocated = !map.empty() && (map[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0};
      free += allocated ? 0 : 1;
      judge(block, allocated);
    }
    return free;
  }

 private:
  void judge(std::uint64_t block, bool allocated) {
    const bool beyond = block >= image_.reader.block_count();
    const bool held = beyond || image_.reader.reserved(block);
    if (held) {
      if (!allocated) {
        unguarded_.add(block);
      }
    } else if (allocated != image_.reached.has(block)) {
      (allocated ? leaked_ : lost_).add(block);
    }
  }

  Image& image_;
  Runs leaked_{image_, ProblemKind::kLeak, "allocated, and nothing reaches it"};
  Runs lost_{image_, ProblemKind::kNotAllocated, "in use, and the block map says free"};
  Runs unguarded_{image_, ProblemKind::kNotAllocated,
                  "reserved or behind the end, and the block map says free"};
};

Task<AreaEntry> area_entry(Image& image, std::uint64_t area) {
  const Result<CheckBlockRef> leaf =
      co_await image.reader.leaf(image.root.area_map, area / kAreasPerBlock);
  if (!leaf.ok() || leaf.value() == nullptr) {
    co_return AreaEntry{};
  }
  co_return load<AreaEntry>(leaf.value()->bytes, area % kAreasPerBlock * sizeof(AreaEntry));
}

}  // namespace

Task<void> check_maps(Image& image) {
  image.stage = "free space";
  const std::uint64_t areas = (image.reader.block_count() + kAreaBlocks - 1) / kAreaBlocks;
  std::uint64_t free_blocks = 0;
  MapCheck check(image);
  for (std::uint64_t area = 0; area < areas; ++area) {
    const Result<CheckBlockRef> leaf = co_await image.reader.leaf(image.root.block_map, area);
    if (!leaf.ok()) {
      continue;  // reported where the tree was walked
    }
    const ConstBytes map = leaf.value() != nullptr ? ConstBytes(leaf.value()->bytes) : ConstBytes{};
    const std::uint32_t free = check.area(area, map);
    free_blocks += free;
    const AreaEntry entry = co_await area_entry(image, area);
    if (entry.free_blocks != free) {
      image.problem(ProblemKind::kFreeCount, kNoBlock,
                    text_of("area ", area, ": the area map says ", entry.free_blocks,
                            " free blocks, the block map has ", free));
    }
  }
  if (free_blocks != image.root.free_blocks) {
    image.problem(
        ProblemKind::kFreeCount, kNoBlock,
        text_of("root: ", image.root.free_blocks, " free blocks, the block map has ", free_blocks));
  }
}

}  // namespace duet::wafl
