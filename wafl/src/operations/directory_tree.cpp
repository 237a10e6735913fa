// DirectoryTree: finding.  The changes are in directory_change.cpp.

#include "operations/directory_tree.h"

#include <algorithm>

#include "base/check.h"

namespace duet::wafl {

namespace {

constexpr Error kBadTree{Errc::kCorrupt, "directory tree"};
// Leaves named at once when a listing meets one that is not in memory: 64 KiB.
constexpr std::uint32_t kPrefetchLeaves = 16;

}  // namespace

Result<NodeView> DirectoryTree::node_at(std::uint64_t index) {
  const Result<ConstBytes> block = blocks_.read(index);
  if (!block.ok()) {
    return block.error();
  }
  return NodeView::open(block.value());
}

NodeView DirectoryTree::held_node(std::uint64_t index) {
  const Result<NodeView> node = node_at(index);
  DUET_CHECK(node.ok());
  return node.value();
}

Result<DirectoryTree::Path> DirectoryTree::descend(std::uint64_t cookie) {
  Path path;
  std::uint64_t lower = 0;
  std::uint64_t index = 0;
  std::uint32_t level = 0;
  for (;;) {
    const Result<NodeView> opened = node_at(index);
    if (!opened.ok()) {
      return opened.error();
    }
    const NodeView& node = opened.value();
    // Levels go down by one, so that no chain of blocks goes round in a circle.
    if ((path.depth > 0 && node.level() != level) || !node.within(lower, path.upper)) {
      return kBadTree;
    }
    Step& step = path.steps[path.depth++];
    step.block = index;
    if (node.leaf()) {
      const Result<std::uint32_t> slot = node.lower_bound(cookie);
      if (!slot.ok()) {
        return slot.error();
      }
      step.slot = slot.value();
      return path;
    }
    step.slot = node.slot_for(cookie);
    const DirectoryChild child = node.child(step.slot);
    if (child.block == 0) {
      return kBadTree;
    }
    lower = step.slot > 0 ? child.first_cookie : lower;
    if (step.slot + 1 < node.count()) {
      path.upper = node.child(step.slot + 1).first_cookie;
    }
    index = child.block;
    level = node.level() - 1;
  }
}

Result<DirectoryTree::Position> DirectoryTree::find(std::string_view name) {
  Position position;
  position.version = version_;
  const std::uint64_t base = hash_.cookie_base(name);
  const std::uint64_t end = base + kCookieTies;
  // Behind the cookies of this hash that are taken without a gap.
  std::uint64_t unused = std::max(base, kCookieFirst);
  if (blocks_.count() == 0) {
    position.cookie = unused;
    return position;
  }
  bool same_leaf = true;
  std::uint64_t from = unused;
  for (;;) {
    const Result<Path> path = descend(from);
    if (!path.ok()) {
      return path.error();
    }
    position.path = path.value();
    const NodeView leaf = held_node(position.path.leaf().block);
    for (std::uint32_t& slot = position.path.leaf().slot; slot < leaf.count(); ++slot) {
      const Result<DirectoryRecord> record = leaf.record(slot);
      if (!record.ok()) {
        return record.error();
      }
      if (record.value().cookie >= end) {
        break;
      }
      if (record.value().name == name) {
        position.found = true;
        position.cookie = record.value().cookie;
        position.inode = record.value().inode;
        position.type = record.value().type;
        return position;
      }
      unused += record.value().cookie == unused ? 1 : 0;
    }
    if (position.path.upper >= end) {
      break;
    }
    from = position.path.upper;
    same_leaf = false;
  }
  if (unused == end) {
    return Error{Errc::kNoSpace, "too many names of one hash"};
  }
  const Status placed = place_new(position, unused, same_leaf);
  return placed.ok() ? Result<Position>(position) : Result<Position>(placed.error());
}

Status DirectoryTree::place_new(Position& position, std::uint64_t cookie, bool same_leaf) {
  position.cookie = cookie;
  if (same_leaf) {
    const NodeView leaf = held_node(position.path.leaf().block);
    const Result<std::uint32_t> slot = leaf.lower_bound(cookie);
    if (!slot.ok()) {
      return slot.error();
    }
    position.path.leaf().slot = slot.value();
    return Ok{};
  }
  const Result<Path> path = descend(cookie);
  if (!path.ok()) {
    return path.error();
  }
  position.path = path.value();
  return Ok{};
}

Result<bool> DirectoryTree::empty() {
  if (blocks_.count() == 0) {
    return true;
  }
  const Result<NodeView> root = node_at(0);
  if (!root.ok()) {
    return root.error();
  }
  return root.value().count() == 0;
}

Result<bool> DirectoryTree::list(std::uint64_t after,
                                 const std::function<bool(const DirectoryRecord&)>& visit) {
  if (blocks_.count() == 0 || after >= kCookieEnd - 1) {
    return true;
  }
  std::uint64_t from = after + 1;
  for (;;) {
    const Result<Path> path = descend(from);
    if (!path.ok()) {
      if (path.error().code == Errc::kMiss) {
        prefetch_leaves(from);
      }
      return path.error();
    }
    const NodeView leaf = held_node(path.value().leaf().block);
    for (std::uint32_t slot = path.value().leaf().slot; slot < leaf.count(); ++slot) {
      const Result<DirectoryRecord> record = leaf.record(slot);
      if (!record.ok()) {
        return record.error();
      }
      if (!visit(record.value())) {
        return false;
      }
    }
    if (path.value().upper >= kCookieEnd) {
      return true;
    }
    from = path.value().upper;
    blocks_.forget();
  }
}

void DirectoryTree::prefetch_leaves(std::uint64_t cookie) {
  std::uint64_t index = 0;
  for (std::uint32_t depth = 0; depth <= kDirectoryLevelsMax; ++depth) {
    const Result<NodeView> node = node_at(index);
    if (!node.ok() || node.value().leaf()) {
      return;
    }
    const std::uint32_t slot = node.value().slot_for(cookie);
    if (node.value().level() > 1) {
      index = node.value().child(slot).block;
      continue;
    }
    const std::uint32_t end = std::min(node.value().count(), slot + kPrefetchLeaves);
    for (std::uint32_t i = slot; i < end; ++i) {
      // Only named to the attempt; the next try looks again.
      static_cast<void>(blocks_.read(node.value().child(i).block));
    }
    return;
  }
}

}  // namespace duet::wafl
