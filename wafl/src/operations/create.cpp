// New names: of a new inode, and of an inode that has others.

#include <cstring>

#include "operations/directory_node.h"
#include "operations/support.h"
#include "wafl/directory_format.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

// Where the new name goes.  Error: kMiss, kExists, kNoSpace, kCorrupt.
Result<DirectoryTree::Change> prepare_name(Names& names, std::string_view name) {
  const Result<DirectoryTree::Position> position = names->find(name);
  if (!position.ok()) {
    return position.error();
  }
  if (position.value().found) {
    return Error{Errc::kExists, "the name is taken"};
  }
  return names->prepare_insert(position.value(), name);
}

Status check_node(const NewNode& node) {
  if (raw(node.type) < raw(FileType::kRegular) || raw(node.type) > raw(FileType::kSocket)) {
    return Error{Errc::kInvalid, "no such type of file"};
  }
  if (node.type != FileType::kSymlink) {
    return Ok{};
  }
  if (node.target.empty()) {
    return Error{Errc::kInvalid, "a symbolic link needs a target"};
  }
  if (node.target.size() > kSymlinkBytesMax) {
    return Error{Errc::kNameTooLong, "the target of a symbolic link"};
  }
  return Ok{};
}

void fill_attributes(Inode& inode, const NewNode& node, Timestamp now) {
  Attributes& attributes = inode.change_attributes();
  attributes.mode = node.mode & 07777U;
  attributes.uid = node.uid;
  attributes.gid = node.gid;
  if (node.type == FileType::kBlockDevice || node.type == FileType::kCharacterDevice) {
    attributes.device = node.device;
  }
  attributes.atime = node.atime.value_or(now);
  attributes.mtime = node.mtime.value_or(now);
  attributes.ctime = now;
}

// The first block of a directory or symbolic link.
void fill_block(Inode& inode, const NewNode& node) {
  const MutableBytes block = inode.replace_block(0).mutable_bytes();
  std::uint64_t size_bytes = kBlockBytes;
  if (node.type == FileType::kDirectory) {
    build_leaf(block, {});
  } else {
    size_bytes = node.target.size();
    std::memcpy(block.data(), node.target.data(), node.target.size());
    std::memset(block.data() + size_bytes, 0, block.size() - size_bytes);
  }
  inode.change_attributes().size_bytes = size_bytes;
  inode.change_attributes().used_bytes = kBlockBytes;
}

}  // namespace

Result<InodeRef> create(Attempt& attempt, Inode& directory, std::string_view name,
                        const NewNode& node, Timestamp now) {
  for (const Status& checked : {check_change(directory, name), check_node(node)}) {
    if (!checked.ok()) {
      return checked.error();
    }
  }
  Volume& volume = directory.volume();
  const bool makes_directory = node.type == FileType::kDirectory;
  const bool has_block = makes_directory || node.type == FileType::kSymlink;

  Names names(attempt, directory);
  const Result<DirectoryTree::Change> entry = prepare_name(names, name);
  if (!entry.ok() && !is_miss(entry)) {
    return entry.error();
  }
  Result<InodeRef> fresh = volume.prepare_new_inode(attempt, node.inode);
  if (is_miss(entry) || is_miss(fresh)) {
    return Error{Errc::kMiss, "create"};
  }
  if (makes_directory && directory.attributes().links >= kLinksMax) {
    return Error{Errc::kTooManyLinks, "the parent has too many subdirectories"};
  }
  if (!fresh.ok()) {
    return fresh.error();
  }
  const Status room = volume.reserve(attempt, entry.value().dirties + (has_block ? 1 : 0));
  if (!room.ok()) {
    return room.error();
  }

  Inode& inode = *fresh.value();
  volume.take_inode(inode, node.type);
  fill_attributes(inode, node, now);
  if (has_block) {
    fill_block(inode, node);
  }
  names->insert(entry.value(), name, raw(inode.id().inode), raw(node.type));
  touch_directory(directory, now);
  if (makes_directory) {
    inode.set_user_word(kDirectoryParentWord, raw(directory.id().inode));
    inode.change_attributes().links = 2;
    ++directory.change_attributes().links;
  }
  return fresh;
}

Status link(Attempt& attempt, Inode& directory, std::string_view name, Inode& inode,
            Timestamp now) {
  const Status checked = check_change(directory, name);
  if (!checked.ok()) {
    return checked;
  }
  if (&directory.volume() != &inode.volume() || directory.id().snapshot != inode.id().snapshot) {
    return Error{Errc::kCrossVolume, "a link to another volume"};
  }
  if (is_directory(inode)) {
    return Error{Errc::kIsDirectory, "a hard link to a directory"};
  }
  Names names(attempt, directory);
  const Result<DirectoryTree::Change> entry = prepare_name(names, name);
  if (!entry.ok()) {
    return entry.error();
  }
  if (inode.attributes().links >= kLinksMax) {
    return Error{Errc::kTooManyLinks, "the file has too many names"};
  }
  const Status room = directory.volume().reserve(attempt, entry.value().dirties);
  if (!room.ok()) {
    return room;
  }

  names->insert(entry.value(), name, raw(inode.id().inode), raw(inode.attributes().type));
  touch_directory(directory, now);
  Attributes& attributes = inode.change_attributes();
  ++attributes.links;
  attributes.ctime = now;
  return Ok{};
}

}  // namespace duet::wafl
