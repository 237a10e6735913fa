// DirectoryTree: changing.

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "operations/directory_tree.h"

namespace duet::wafl {

Result<NodeView> DirectoryTree::checked_node(std::uint64_t index) {
  const Result<ConstBytes> block = blocks_.read(index);
  if (!block.ok()) {
    return block.error();
  }
  if (!directory_layout_ok(block.value())) {
    return Error{Errc::kCorrupt, "directory block"};
  }
  return NodeView::open(block.value());
}

// --- Preparing.

Result<DirectoryTree::Change> DirectoryTree::prepare_insert(const Position& position,
                                                            std::string_view name) {
  Change change;
  change.position = position;
  const Path& path = position.path;
  if (path.depth == 0) {
    change.dirties = 1;
    return change;
  }
  Result<NodeView> node = checked_node(path.leaf().block);
  if (!node.ok()) {
    return node.error();
  }
  change.dirties = 1;
  bool splits = node.value().room() < record_cost(name.size());
  for (std::uint32_t i = path.depth - 1; splits; --i) {
    ++change.new_blocks;
    if (i == 0) {
      change.grows = true;
      ++change.new_blocks;
      break;
    }
    node = checked_node(path.steps[i - 1].block);
    if (!node.ok()) {
      return node.error();
    }
    ++change.dirties;
    splits = node.value().full();
  }
  if (change.grows && node.value().level() == kDirectoryLevelsMax) {
    return Error{Errc::kNoSpace, "directory tree is too high"};
  }
  change.dirties += change.new_blocks;
  const Status spare = find_spare(change);
  return spare.ok() ? Result<Change>(std::move(change)) : Result<Change>(spare.error());
}

Status DirectoryTree::find_spare(Change& change) {
  std::uint64_t head = blocks_.free_head();
  while (change.spare.size() < change.new_blocks && head != 0) {
    const Result<ConstBytes> block = blocks_.read(head);
    if (!block.ok()) {
      return block.error();
    }
    const auto header = load<DirectoryBlockHeader>(block.value(), 0);
    if (!directory_layout_ok(block.value()) ||
        header.kind != static_cast<std::uint8_t>(DirectoryBlockKind::kFree) ||
        std::ranges::find(change.spare, head) != change.spare.end()) {
      return Error{Errc::kCorrupt, "free chain of a directory"};
    }
    change.spare.push_back(head);
    head = header.next_free;
  }
  change.spare_next = head;
  return Ok{};
}

Result<DirectoryTree::Change> DirectoryTree::prepare_remove(const Position& position) {
  Change change;
  change.position = position;
  const Path& path = position.path;
  Result<NodeView> node = checked_node(path.leaf().block);
  if (!node.ok()) {
    return node.error();
  }
  change.dirties = 1;
  // The lowest node that stays: above it nothing changes.
  std::uint32_t i = path.depth - 1;
  while (i > 0 && node.value().count() == 1) {
    --i;
    node = checked_node(path.steps[i].block);
    if (!node.ok()) {
      return node.error();
    }
    ++change.dirties;
  }
  const bool root_keeps_one = i == 0 && path.depth > 1 && node.value().count() == 2;
  if (root_keeps_one) {
    const Status prepared =
        prepare_collapse(node.value().child(1 - path.steps[0].slot).block, change);
    if (!prepared.ok()) {
      return prepared.error();
    }
  }
  return change;
}

Status DirectoryTree::prepare_collapse(std::uint64_t child, Change& change) {
  // Levels go down in a sound tree; in another one the bound ends it.
  for (std::uint32_t depth = 0; depth <= kDirectoryLevelsMax; ++depth) {
    const Result<NodeView> node = checked_node(child);
    if (!node.ok()) {
      return node.error();
    }
    ++change.dirties;
    if (node.value().leaf() || node.value().count() > 1) {
      return Ok{};
    }
    child = node.value().child(0).block;
  }
  return Error{Errc::kCorrupt, "directory tree"};
}

// --- Changing.

MutableBytes DirectoryTree::modify(std::uint64_t index) {
  ++version_;
  return blocks_.modify(index);
}

DirectoryTree::Fresh DirectoryTree::take_block(const Change& change) {
  if (spare_used_ < change.spare.size()) {
    const std::uint64_t index = change.spare[spare_used_++];
    return {index, modify(index)};
  }
  ++version_;
  const std::uint64_t index = blocks_.count();
  return {index, blocks_.append()};
}

void DirectoryTree::release_block(std::uint64_t index) {
  make_free(modify(index), blocks_.free_head());
  blocks_.set_free_head(index);
}

void DirectoryTree::insert(const Change& change, std::string_view name, std::uint64_t inode,
                           std::uint8_t type) {
  DUET_CHECK(change.position.version == version_ && !change.position.found);
  const RecordBytes record({change.position.cookie, inode, type, name});
  Path path = change.position.path;
  if (path.depth == 0) {
    ++version_;
    const std::array records = {record.bytes()};
    build_leaf(blocks_.append(), records);
    return;
  }
  if (change.new_blocks == 0) {
    insert_record(modify(path.leaf().block), path.leaf().slot, record.bytes());
    return;
  }
  spare_used_ = 0;
  if (!change.spare.empty()) {
    blocks_.set_free_head(change.spare_next);
  }
  if (change.grows) {
    grow_root(change, path);
  }
  DirectoryChild added = split_leaf(change, path, record.bytes());
  for (std::uint32_t i = path.depth - 1; i > 0;) {
    --i;
    if (!held_node(path.steps[i].block).full()) {
      insert_child(modify(path.steps[i].block), path.steps[i].slot + 1, added);
      return;
    }
    added = split_interior(change, path, i, added);
  }
  DUET_CHECK(false);  // a full root has grown first
}

void DirectoryTree::grow_root(const Change& change, Path& path) {
  const std::uint32_t level = held_node(0).level();
  const Fresh below = take_block(change);
  const ConstBytes root = held_node(0).bytes();
  std::memcpy(below.bytes.data(), root.data(), root.size());
  const std::array children = {DirectoryChild{0, below.index}};
  build_interior(modify(0), level + 1, children);
  std::copy_backward(path.steps.begin(), path.steps.begin() + path.depth,
                     path.steps.begin() + path.depth + 1);
  path.steps[0] = {0, 0};
  path.steps[1].block = below.index;
  ++path.depth;
}

DirectoryChild DirectoryTree::split_leaf(const Change& change, const Path& path,
                                         ConstBytes record) {
  std::array<std::byte, kBlockBytes> old{};
  const NodeView leaf = held_node(path.leaf().block);
  std::memcpy(old.data(), leaf.bytes().data(), old.size());
  const std::uint32_t count = leaf.count();

  std::vector<ConstBytes> records;
  records.reserve(count + 1);
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    records.push_back(record_span(old, slot));
  }
  records.insert(records.begin() + path.leaf().slot, record);

  std::size_t kept = 0;
  if (path.upper == kCookieEnd && path.leaf().slot == count) {
    kept = count;  // names that come in the order of their hashes: leave full leaves behind
  } else {
    const std::size_t half = (kBlockBytes - sizeof(DirectoryBlockHeader) + record.size()) / 2;
    for (std::size_t bytes = 0; bytes < half && kept + 1 < records.size(); ++kept) {
      bytes += records[kept].size() + sizeof(std::uint16_t);
    }
  }
  const std::span<const ConstBytes> all(records);
  build_leaf(modify(path.leaf().block), all.first(kept));
  const Fresh right = take_block(change);
  build_leaf(right.bytes, all.subspan(kept));
  return {load<std::uint64_t>(records[kept], 0), right.index};
}

DirectoryChild DirectoryTree::split_interior(const Change& change, const Path& path,
                                             std::uint32_t depth, const DirectoryChild& added) {
  const Step& step = path.steps[depth];
  const NodeView node = held_node(step.block);
  const std::uint32_t level = node.level();
  std::vector<DirectoryChild> children;
  children.reserve(node.count() + std::size_t{1});
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    children.push_back(node.child(i));
  }
  children.insert(children.begin() + step.slot + 1, added);
  const bool at_end = path.upper == kCookieEnd && step.slot + 2 == children.size();
  const std::size_t kept = at_end ? children.size() - 1 : children.size() / 2;
  const std::span<const DirectoryChild> all(children);
  build_interior(modify(step.block), level, all.first(kept));
  const Fresh right = take_block(change);
  build_interior(right.bytes, level, all.subspan(kept));
  return {children[kept].first_cookie, right.index};
}

void DirectoryTree::retarget(const Position& position, std::uint64_t inode, std::uint8_t type) {
  DUET_CHECK(position.version == version_ && position.found);
  const Step& leaf = position.path.leaf();
  retarget_record(modify(leaf.block), leaf.slot, inode, type);
}

void DirectoryTree::remove(const Change& change, std::string_view name) {
  Path path = change.position.path;
  if (change.position.version != version_) {
    const Result<Position> again = find(name);
    DUET_CHECK(again.ok() && again.value().found);
    path = again.value().path;
  }
  if (held_node(path.leaf().block).count() > 1 || path.depth == 1) {
    remove_record(modify(path.leaf().block), path.leaf().slot);
  } else {
    unlink_leaf(path);
  }
}

void DirectoryTree::unlink_leaf(const Path& path) {
  std::uint32_t i = path.depth - 1;
  while (i > 0 && held_node(path.steps[i].block).count() == 1) {
    release_block(path.steps[i].block);
    --i;
  }
  if (held_node(path.steps[i].block).count() == 1) {
    reset_to_empty();
    return;
  }
  remove_child(modify(path.steps[i].block), path.steps[i].slot);
  if (i == 0) {
    collapse_root();
  }
}

void DirectoryTree::collapse_root() {
  for (;;) {
    const NodeView root = held_node(0);
    if (root.leaf()) {
      // The tree is block 0; all others are free.
      blocks_.set_free_head(0);
      blocks_.cut_to_root();
      return;
    }
    const std::uint64_t child = root.child(0).block;
    if (root.count() > 1 || !blocks_.held(child)) {
      return;
    }
    const MutableBytes to = modify(0);
    const Result<ConstBytes> from = blocks_.read(child);
    DUET_CHECK(from.ok());
    std::memcpy(to.data(), from.value().data(), to.size());
    release_block(child);
  }
}

void DirectoryTree::reset_to_empty() {
  build_leaf(modify(0), {});
  blocks_.set_free_head(0);
  blocks_.cut_to_root();
}

}  // namespace duet::wafl
