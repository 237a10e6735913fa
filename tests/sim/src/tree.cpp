// The file system itself: what each operation does.

#include "world/tree.h"

#include <algorithm>
#include <cstring>

#include "tree_detail.h"

namespace duet::world {

namespace {

using filer::Failure;
using wafl::FileType;

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint32_t kSetUid = 04000;
constexpr std::uint32_t kSetGid = 02000;
constexpr ObjectId kNone{};

std::uint64_t blocks_of(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock; }

// Where the filer keeps the verifier of an exclusive CREATE: 31 bits as seconds, one as nanosecond.
std::int64_t verifier_mtime(std::uint64_t verifier) {
  const auto high = static_cast<std::uint32_t>(verifier >> 32U);
  return std::int64_t{high & 0x7FFF'FFFFU} * 1'000'000'000 + (high >> 31U);
}

Failure wrong_name(const std::string& name, Kind kind) {
  const bool makes = kind == Kind::kCreate || kind == Kind::kMake || kind == Kind::kLink;
  if (name == "." || name == "..") {
    const bool exists = makes || (kind == Kind::kRmdir && name == "..");
    return exists ? Errc::kExists : Errc::kInvalid;
  }
  if (name.empty() || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return Errc::kInvalid;
  }
  if (name.size() > 255) {
    return Errc::kNameTooLong;
  }
  if (name == ".snapshot") {
    return makes ? Errc::kExists : Errc::kAccess;
  }
  return std::nullopt;
}

Failure not_a_file(const Object& node) {
  if (node.type == FileType::kRegular) {
    return std::nullopt;
  }
  return node.type == FileType::kDirectory ? Errc::kIsDirectory : Errc::kInvalid;
}

}  // namespace

Tree::Tree(std::string root_handle, const filer::FileAttributes& root) {
  Object& node = nodes_[kRoot];
  node.id = node.parent = kRoot;
  node.type = FileType::kDirectory;
  node.mode = root.attributes.mode;
  node.links = 2;
  node.uid = root.attributes.uid;
  node.gid = root.attributes.gid;
  node.mtime = static_cast<std::int64_t>(root.attributes.mtime);
  node.ctime = static_cast<std::int64_t>(root.attributes.ctime);
  node.fileid = root.fileid;
  fsid_ = root.fsid;
  learn_root(std::move(root_handle));
}

void Tree::learn_root(std::string handle) {
  handles_[kRoot] = handle;
  by_handle_[std::move(handle)] = kRoot;
}

const Object* Tree::find(ObjectId id) const {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : &found->second;
}

const Object* Tree::find(const std::string& handle) const {
  const auto found = by_handle_.find(handle);
  return found == by_handle_.end() ? nullptr : find(found->second);
}

std::optional<std::string> Tree::handle_of(ObjectId id) const {
  const auto found = handles_.find(id);
  return found == handles_.end() ? std::nullopt : std::optional(found->second);
}

Object* Tree::find_mutable(ObjectId id) { return const_cast<Object*>(find(id)); }

Object* Tree::find_mutable(const std::string& handle, Expected& want) {
  Object* const node = const_cast<Object*>(find(handle));
  if (node == nullptr) {
    want.error = Errc::kStaleHandle;
  } else if (snapshot_) {
    want.error = Errc::kReadOnly;
    return nullptr;
  }
  return node;
}

Tree Tree::as_snapshot() const {
  Tree copy = *this;
  copy.by_handle_.clear();
  copy.handles_.clear();
  copy.fsid_.reset();
  copy.snapshot_ = true;
  return copy;
}

Tree Tree::as_clone() const {
  Tree copy = as_snapshot();
  copy.snapshot_ = false;
  return copy;
}

void Tree::restore(const Tree& snapshot) { nodes_ = snapshot.nodes_; }

filer::PreAttributes Tree::pre(const Object& node) {
  return {bytes_of(node), wafl::Timestamp{node.mtime}, wafl::Timestamp{node.ctime}};
}

std::uint64_t Tree::bytes_of(const Object& node) {
  switch (node.type) {
    case FileType::kDirectory:
      return node.directory_bytes.value_or(0);
    case FileType::kSymlink:
      return node.target.size();
    case FileType::kRegular:
      return node.size;
    case FileType::kFree:
    case FileType::kBlockDevice:
    case FileType::kCharacterDevice:
    case FileType::kFifo:
    case FileType::kSocket:
      break;
  }
  return 0;
}

void Tree::changed(Object& directory, std::int64_t now) {
  directory.mtime = directory.ctime = now;
  directory.directory_bytes.reset();
  directory.directory_used.reset();
}

void Tree::drop(Object& node, std::int64_t now) {
  if (node.type == FileType::kDirectory || --node.links == 0) {
    nodes_.erase(node.id);
    return;
  }
  node.ctime = now;
}

void Tree::resize(Object& node, std::uint64_t size) {
  if (size < node.size) {
    node.blocks.erase(node.blocks.lower_bound(blocks_of(size)), node.blocks.end());
    const auto last = size % kBlock == 0 ? node.blocks.end() : node.blocks.find(size / kBlock);
    if (last != node.blocks.end()) {
      auto block = std::make_shared<Object::Block>(*last->second);
      std::fill(block->begin() + static_cast<std::ptrdiff_t>(size % kBlock), block->end(), '\0');
      last->second = std::move(block);
    }
  }
  node.size = size;
}

bool Tree::is_below(ObjectId directory, ObjectId ancestor) const {
  for (ObjectId at = directory;; at = find(at)->parent) {
    if (at == ancestor) {
      return true;
    }
    if (at == kRoot) {
      return false;
    }
  }
}

Tree::Expected Tree::execute(const Operation& operation, std::int64_t now, bool commit) {
  Expected want;
  switch (operation.kind) {
    case Kind::kSetattr:
      execute_setattr(operation, now, commit, want);
      break;
    case Kind::kWrite:
      execute_write(operation, now, commit, want);
      break;
    case Kind::kCreate:
      execute_create(operation, now, commit, want);
      break;
    case Kind::kMake:
      execute_make(operation, now, commit, want);
      break;
    case Kind::kRemove:
    case Kind::kRmdir:
      execute_remove(operation, now, commit, want);
      break;
    case Kind::kRename:
      execute_rename(operation, now, commit, want);
      break;
    case Kind::kLink:
      execute_link(operation, now, commit, want);
      break;
    case Kind::kGetattr:
    case Kind::kLookup:
    case Kind::kAccess:
    case Kind::kReadlink:
    case Kind::kRead:
    case Kind::kReaddir:
    case Kind::kFsstat:
    case Kind::kCommit:
      execute_look(operation, want);
      break;
  }
  return want;
}

void Tree::execute_setattr(const Operation& operation, std::int64_t now, bool commit,
                           Expected& want) {
  Object* const node = find_mutable(operation.handle, want);
  if (node == nullptr) {
    return;
  }
  want.first = node->id;
  want.first_before = pre(*node);
  const filer::SetAttributes& changes = operation.changes;
  if (operation.guard.has_value() && static_cast<std::int64_t>(*operation.guard) != node->ctime) {
    want.error = Errc::kOutOfSync;
    return;
  }
  if (changes.size_bytes.has_value()) {
    want.error = not_a_file(*node);
    if (want.error.has_value()) {
      return;
    }
  }
  const bool atime = changes.set_atime != filer::SetTime::kDontChange;
  const bool mtime = changes.set_mtime != filer::SetTime::kDontChange;
  want.changed = changes.mode || changes.uid || changes.gid || changes.size_bytes || atime || mtime;
  if (!commit || !want.changed) {
    return;
  }
  node->mode = changes.mode.value_or(node->mode) & 07777U;
  if (node->type != FileType::kDirectory && (changes.uid || changes.gid)) {
    node->mode &= ~kSetUid;
    node->mode &= (node->mode & 010U) != 0 ? ~kSetGid : ~0U;
  }
  node->uid = changes.uid.value_or(node->uid);
  node->gid = changes.gid.value_or(node->gid);
  if (changes.size_bytes) {
    resize(*node, *changes.size_bytes);
    node->mtime = now;
  }
  if (mtime) {
    node->mtime = changes.set_mtime == filer::SetTime::kServerTime
                      ? now
                      : static_cast<std::int64_t>(changes.mtime);
  }
  if (atime || mtime || changes.size_bytes) {
    node->verifier.reset();
  }
  node->ctime = now;
}

void Tree::execute_write(const Operation& operation, std::int64_t now, bool commit,
                         Expected& want) {
  Object* const node = find_mutable(operation.handle, want);
  if (node == nullptr) {
    return;
  }
  want.first = node->id;
  want.first_before = pre(*node);
  want.error = not_a_file(*node);
  if (want.error.has_value() || operation.data.empty()) {
    return;
  }
  want.changed = true;
  if (!commit) {
    return;
  }
  const std::uint64_t end = operation.offset + operation.data.size();
  for (std::uint64_t at = operation.offset; at < end;) {
    const std::uint64_t in_block = at % kBlock;
    const std::uint64_t bytes = std::min(kBlock - in_block, end - at);
    std::shared_ptr<const Object::Block>& present = node->blocks[at / kBlock];
    auto block = present == nullptr ? std::make_shared<Object::Block>()
                                    : std::make_shared<Object::Block>(*present);
    if (present == nullptr) {
      block->fill('\0');
    }
    std::memcpy(block->data() + in_block, operation.data.data() + (at - operation.offset), bytes);
    present = std::move(block);
    at += bytes;
  }
  node->size = std::max(node->size, end);
  node->mtime = node->ctime = now;
  node->verifier.reset();
}

bool Tree::find_place(const Operation& operation, const std::string& handle, Expected& want) {
  Object* const directory = find_mutable(handle, want);
  if (directory == nullptr) {
    return false;
  }
  want.first = directory->id;
  want.first_before = pre(*directory);
  want.error = directory->type == FileType::kDirectory ? wrong_name(operation.name, operation.kind)
                                                       : Failure(Errc::kNotDirectory);
  return !want.error.has_value();
}

Object* Tree::new_node(const Operation& operation, FileType type, Object& parent, std::int64_t now) {
  const filer::SetAttributes& changes = operation.changes;
  const bool exclusive = operation.kind == Kind::kCreate &&
                         operation.mode == filer::CreateMode::kExclusive;
  const filer::SetAttributes wanted = exclusive ? filer::SetAttributes{} : changes;
  const bool directory = type == FileType::kDirectory;
  const ObjectId id{next_node_++};
  Object& node = nodes_[id];
  node.id = id;
  node.type = type;
  node.mode = wanted.mode.value_or(directory ? 0700 : 0600) & 07777U;
  node.uid = wanted.uid.value_or(0);
  node.gid = wanted.gid.value_or((parent.mode & kSetGid) != 0 ? parent.gid : 0);
  if (directory && (parent.mode & kSetGid) != 0) {
    node.mode |= kSetGid;
  }
  node.mtime = node.ctime = now;
  if (wanted.set_mtime == filer::SetTime::kClientTime) {
    node.mtime = static_cast<std::int64_t>(wanted.mtime);
  }
  if (exclusive) {
    node.verifier = operation.verifier;
    node.mtime = verifier_mtime(operation.verifier);
  }
  if (type == FileType::kRegular) {
    node.size = wanted.size_bytes.value_or(0);
  }
  if (directory) {
    node.links = 2;
    node.parent = parent.id;
    ++parent.links;
  }
  parent.names[operation.name] = {id, std::nullopt};
  changed(parent, now);
  return &node;
}

void Tree::execute_create(const Operation& operation, std::int64_t now, bool commit,
                          Expected& want) {
  if (!find_place(operation, operation.handle, want)) {
    return;
  }
  Object& directory = *find_mutable(want.first);
  const auto present = directory.names.find(operation.name);
  if (present == directory.names.end()) {
    want.changed = want.handle = true;
    if (commit) {
      want.object = new_node(operation, FileType::kRegular, directory, now)->id;
    }
    return;
  }
  Object& node = *find_mutable(present->second.node);
  const bool exclusive = operation.mode == filer::CreateMode::kExclusive;
  const bool repeated = exclusive && node.verifier == operation.verifier && node.size == 0;
  if (operation.mode == filer::CreateMode::kGuarded || node.type != FileType::kRegular ||
      (exclusive && !repeated)) {
    want.error = Errc::kExists;
    return;
  }
  want.handle = true;
  want.object = node.id;
  const std::optional<std::uint64_t> size =
      exclusive ? std::nullopt : operation.changes.size_bytes;
  if (!size.has_value()) {
    // The directory is not touched, and the answer need not say anything of it.
    return;
  }
  want.changed = *size != 0 || node.size != 0;
  if (commit && want.changed) {
    resize(node, *size);
    node.mtime = node.ctime = now;
    node.verifier.reset();
  }
}

void Tree::execute_make(const Operation& operation, std::int64_t now, bool commit,
                        Expected& want) {
  if (!find_place(operation, operation.handle, want)) {
    return;
  }
  Object& directory = *find_mutable(want.first);
  if (directory.names.contains(operation.name)) {
    want.error = Errc::kExists;
    return;
  }
  want.changed = want.handle = true;
  if (!commit) {
    return;
  }
  Object& node = *new_node(operation, operation.type, directory, now);
  want.object = node.id;
  if (operation.type == FileType::kSymlink) {
    node.mode = 0777;
    node.target = operation.name2;
  } else if (operation.type == FileType::kBlockDevice ||
             operation.type == FileType::kCharacterDevice) {
    node.device = operation.device;
  }
}

void Tree::execute_remove(const Operation& operation, std::int64_t now, bool commit,
                          Expected& want) {
  Object* const directory = find_mutable(operation.handle, want);
  if (directory == nullptr) {
    return;
  }
  want.first = directory->id;
  want.first_before = pre(*directory);
  want.error = wrong_name(operation.name, operation.kind);
  if (want.error.has_value()) {
    return;
  }
  if (directory->type != FileType::kDirectory) {
    want.error = Errc::kNotDirectory;
    return;
  }
  const auto entry = directory->names.find(operation.name);
  if (entry == directory->names.end()) {
    want.error = Errc::kNotFound;
    return;
  }
  Object& node = *find_mutable(entry->second.node);
  const bool is_directory = node.type == FileType::kDirectory;
  if (is_directory != (operation.kind == Kind::kRmdir)) {
    want.error = is_directory ? Errc::kIsDirectory : Errc::kNotDirectory;
    return;
  }
  if (is_directory && !node.names.empty()) {
    want.error = Errc::kNotEmpty;
    return;
  }
  want.changed = true;
  if (!commit) {
    return;
  }
  directory->names.erase(entry);
  directory->links -= is_directory ? 1 : 0;
  changed(*directory, now);
  drop(node, now);
}

void Tree::execute_rename(const Operation& operation, std::int64_t now, bool commit,
                          Expected& want) {
  Object* const from = find_mutable(operation.handle, want);
  if (from == nullptr) {
    return;
  }
  want.first = from->id;
  want.first_before = pre(*from);
  Object* const to = find_mutable(operation.handle2, want);
  if (to == nullptr) {
    return;
  }
  want.second = to->id;
  want.second_before = pre(*to);
  for (const std::string* name : {&operation.name, &operation.name2}) {
    want.error = wrong_name(*name, operation.kind);
    if (want.error.has_value()) {
      return;
    }
  }
  if (from->type != FileType::kDirectory || to->type != FileType::kDirectory) {
    want.error = Errc::kNotDirectory;
    return;
  }
  const auto old = from->names.find(operation.name);
  if (old == from->names.end()) {
    want.error = Errc::kNotFound;
    return;
  }
  Object& moved = *find_mutable(old->second.node);
  const auto present = to->names.find(operation.name2);
  Object* const replaced = present == to->names.end() ? nullptr : find_mutable(present->second.node);
  if (replaced == &moved) {
    return;
  }
  const bool directory = moved.type == FileType::kDirectory;
  if (directory && is_below(to->id, moved.id)) {
    want.error = Errc::kInvalid;
  } else if (replaced != nullptr && directory && replaced->type != FileType::kDirectory) {
    want.error = Errc::kNotDirectory;
  } else if (replaced != nullptr && !directory && replaced->type == FileType::kDirectory) {
    want.error = Errc::kIsDirectory;
  } else if (replaced != nullptr && directory && !replaced->names.empty()) {
    want.error = Errc::kNotEmpty;
  }
  if (want.error.has_value()) {
    return;
  }
  want.changed = true;
  if (!commit) {
    return;
  }
  from->names.erase(old);
  to->names[operation.name2] = {moved.id, std::nullopt};
  if (directory) {
    --from->links;
    to->links += replaced == nullptr ? 1 : 0;
    moved.parent = to->id;
  }
  changed(*from, now);
  changed(*to, now);
  moved.ctime = now;
  if (replaced != nullptr) {
    drop(*replaced, now);
  }
}

void Tree::execute_link(const Operation& operation, std::int64_t now, bool commit,
                        Expected& want) {
  Object* const file = find_mutable(operation.handle, want);
  if (file == nullptr) {
    return;
  }
  want.object = file->id;
  if (!find_place(operation, operation.handle2, want)) {
    return;
  }
  Object& directory = *find_mutable(want.first);
  if (directory.names.contains(operation.name)) {
    want.error = Errc::kExists;
  } else if (file->type == FileType::kDirectory) {
    want.error = Errc::kIsDirectory;
  }
  if (want.error.has_value()) {
    return;
  }
  want.changed = true;
  if (!commit) {
    return;
  }
  directory.names[operation.name] = {file->id, std::nullopt};
  changed(directory, now);
  ++file->links;
  file->ctime = now;
}

void Tree::execute_look(const Operation& operation, Expected& want) {
  const Object* const node = find(operation.handle);
  if (node == nullptr) {
    want.error = Errc::kStaleHandle;
    return;
  }
  const bool directory = node->type == FileType::kDirectory;
  switch (operation.kind) {
    case Kind::kLookup: {
      want.directory = node->id;
      const auto entry = node->names.find(operation.name);
      if (!directory) {
        want.error = Errc::kNotDirectory;
      } else if (operation.name == "." || operation.name == "..") {
        want.handle = true;
        want.object = operation.name == "." ? node->id : node->parent;
      } else if (entry == node->names.end()) {
        want.error = Errc::kNotFound;
      } else {
        want.handle = true;
        want.object = entry->second.node;
      }
      return;
    }
    case Kind::kReaddir:
      want.directory = node->id;
      want.error = directory ? std::nullopt : Failure(Errc::kNotDirectory);
      return;
    case Kind::kReadlink:
      want.object = node->id;
      want.error =
          node->type == FileType::kSymlink ? std::nullopt : Failure(Errc::kInvalid);
      return;
    case Kind::kRead:
      want.object = node->id;
      want.error = not_a_file(*node);
      return;
    case Kind::kCommit:
      want.error = snapshot_ ? Failure(Errc::kReadOnly) : not_a_file(*node);
      want.first = snapshot_ ? kNone : node->id;
      want.first_before = snapshot_ ? std::nullopt : std::optional(pre(*node));
      return;
    case Kind::kGetattr:
    case Kind::kAccess:
    case Kind::kFsstat:
    case Kind::kSetattr:
    case Kind::kWrite:
    case Kind::kCreate:
    case Kind::kMake:
    case Kind::kRemove:
    case Kind::kRmdir:
    case Kind::kRename:
    case Kind::kLink:
      want.object = node->id;
      return;
  }
}

}  // namespace duet::world
