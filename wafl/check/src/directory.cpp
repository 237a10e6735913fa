#include "directory.h"

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

#include "wafl/directory_format.h"

namespace duet::wafl {

namespace {

// Cookies that a block may hold: from `lower`, below `upper`.
struct Range {
  std::uint64_t lower = 0;
  std::uint64_t upper = kCookieEnd;
};

bool name_possible(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

class DirectoryCheck {
 public:
  DirectoryCheck(Image& image, std::string where, const DiskInode& inode,
                 std::function<void(const FoundName&)> found)
      : image_(image),
        where_(std::move(where)),
        tree_(inode.tree),
        blocks_(inode.size_bytes / kBlockBytes),
        free_head_(inode.user_words[kDirectoryFreeWord]),
        found_(std::move(found)) {}

  Task<void> run() {
    if (blocks_ == 0) {
      co_return;
    }
    const Range everything;
    co_await node(0, kDirectoryLevelsMax + 1, everything);
    co_await free_chain();
    if (seen_.size() != blocks_) {
      bad(0, text_of("reaches ", seen_.size(), " of ", blocks_, " blocks"));
    }
  }

 private:
  void bad(std::uint64_t index, std::string_view what) {
    image_.problem(ProblemKind::kDirectory, kNoBlock,
                   text_of(where_, ": directory block ", index, " ", what));
  }

  // Null: it was reported why.
  Task<CheckBlockRef> fetch(std::uint64_t index) {
    if (index >= blocks_ || !seen_.insert(index).second) {
      bad(index, "is named twice, or lies behind the end");
      co_return nullptr;
    }
    const Result<CheckBlockRef> block = co_await image_.reader.leaf(tree_, index);
    if (!block.ok() || block.value() == nullptr) {
      bad(index, "is missing or unreadable");
      co_return nullptr;
    }
    const auto header = load<DirectoryBlockHeader>(block.value()->bytes, 0);
    if (header.magic != kDirectoryMagic || header.reserved0 != 0 || header.reserved1 != 0 ||
        header.reserved2 != 0) {
      bad(index, "is no directory block");
      co_return nullptr;
    }
    co_return block.value();
  }

  // `levels`: more than the level that the block may have; a root may have any.
  Task<void> node(std::uint64_t index, std::uint32_t levels, Range range) {
    const CheckBlockRef block = co_await fetch(index);
    if (block == nullptr) {
      co_return;
    }
    const auto header = load<DirectoryBlockHeader>(block->bytes, 0);
    const bool root = index == 0;
    if (header.level >= levels || (!root && header.level + 1U != levels)) {
      bad(index, "stands at the wrong level");
      co_return;
    }
    if (header.kind == static_cast<std::uint8_t>(DirectoryBlockKind::kLeaf) && header.level == 0) {
      leaf(index, block->bytes, header, range);
    } else if (header.kind == static_cast<std::uint8_t>(DirectoryBlockKind::kInterior) &&
               header.level > 0) {
      co_await interior(index, block, range);
    } else {
      bad(index, "is of the wrong kind");
    }
  }

  Task<void> interior(std::uint64_t index, CheckBlockRef block, Range range) {
    const auto header = load<DirectoryBlockHeader>(block->bytes, 0);
    const std::size_t end = sizeof(DirectoryBlockHeader) + header.count * sizeof(DirectoryChild);
    if (header.count == 0 || header.count > kDirectoryChildrenMax || header.heap_offset != 0 ||
        header.next_free != 0 || !all_zero(ConstBytes(block->bytes).subspan(end))) {
      bad(index, "is an impossible interior node");
      co_return;
    }
    for (std::uint32_t i = 0; i < header.count; ++i) {
      const DirectoryChild child = directory_child(block->bytes, i);
      Range below = range;
      if (i > 0) {
        below.lower = child.first_cookie;
      }
      if (i + 1 < header.count) {
        below.upper = directory_child(block->bytes, i + 1).first_cookie;
      }
      const bool first = i == 0 && child.first_cookie != 0;
      if (first || below.lower < range.lower || below.upper > range.upper ||
          below.lower >= below.upper) {
        bad(index, "has children out of order");
        co_return;
      }
      co_await node(child.block, header.level, below);
    }
  }

  void leaf(std::uint64_t index, ConstBytes block, const DirectoryBlockHeader& header,
            Range range) {
    const std::size_t table_end = sizeof(DirectoryBlockHeader) + header.count * std::size_t{2};
    if (header.heap_offset < table_end || header.heap_offset > kBlockBytes ||
        header.next_free != 0 ||
        !all_zero(block.subspan(table_end, header.heap_offset - table_end)) ||
        (header.count == 0 && index != 0)) {
      bad(index, "is an impossible leaf");
      return;
    }
    std::vector<std::pair<std::size_t, std::size_t>> records;  // offset, bytes
    for (std::uint32_t i = 0; i < header.count; ++i) {
      const std::size_t offset =
          load<std::uint16_t>(block, sizeof(DirectoryBlockHeader) + i * std::size_t{2});
      if (offset < header.heap_offset || offset + kDirectoryRecordBytes > kBlockBytes ||
          offset + kDirectoryRecordBytes + load<std::uint8_t>(block, offset + 17) > kBlockBytes) {
        bad(index, "has a record that reaches out of it");
        return;
      }
      records.emplace_back(offset, kDirectoryRecordBytes + load<std::uint8_t>(block, offset + 17));
      entry(index, block.subspan(offset, records.back().second), range);
    }
    std::ranges::sort(records);
    std::size_t at = header.heap_offset;
    for (const auto& [offset, bytes] : records) {
      if (offset != at) {
        bad(index, "has records that overlap or leave a gap");
        return;
      }
      at += bytes;
    }
    if (at != kBlockBytes) {
      bad(index, "has records that leave a gap");
    }
  }

  void entry(std::uint64_t index, ConstBytes record, const Range& range) {
    const auto cookie = load<std::uint64_t>(record, 0);
    const auto inode = load<std::uint64_t>(record, 8);
    const auto type = load<std::uint8_t>(record, 16);
    const ConstBytes text = record.subspan(kDirectoryRecordBytes);
    const std::string_view name(reinterpret_cast<const char*>(text.data()), text.size());
    if (!name_possible(name)) {
      bad(index, "has an impossible name");
      return;
    }
    const std::uint64_t base = directory_cookie_base(image_.root.directory_key, name);
    if (cookie < std::max(range.lower, kCookieFirst) || cookie >= range.upper ||
        cookie <= last_cookie_ || (cookie & ~(kCookieTies - 1)) != base) {
      bad(index, text_of("has a cookie in the wrong place: ", name));
    }
    last_cookie_ = cookie;
    if (base != base_ || same_base_.empty()) {
      base_ = base;
      same_base_.clear();
    }
    if (std::ranges::find(same_base_, name) != same_base_.end()) {
      bad(index, text_of("has a name twice: ", name));
    }
    same_base_.emplace_back(name);
    found_({name, inode, static_cast<FileType>(type)});
  }

  Task<void> free_chain() {
    for (std::uint64_t index = free_head_; index != 0;) {
      const CheckBlockRef block = co_await fetch(index);
      if (block == nullptr) {
        co_return;
      }
      const auto header = load<DirectoryBlockHeader>(block->bytes, 0);
      if (header.kind != static_cast<std::uint8_t>(DirectoryBlockKind::kFree)) {
        bad(index, "is on the free chain and not free");
        co_return;
      }
      index = header.next_free;
    }
  }

  Image& image_;
  const std::string where_;
  const TreeRoot tree_;
  const std::uint64_t blocks_;
  const std::uint64_t free_head_;
  const std::function<void(const FoundName&)> found_;
  std::unordered_set<std::uint64_t> seen_;
  std::uint64_t last_cookie_ = 0;
  std::uint64_t base_ = 0;
  std::vector<std::string> same_base_;  // names whose cookies have this base
};

}  // namespace

Task<void> check_directory(Image& image, std::string where, DiskInode inode,
                           std::function<void(const FoundName&)> found) {
  DirectoryCheck check(image, std::move(where), inode, std::move(found));
  co_await check.run();
}

}  // namespace duet::wafl
