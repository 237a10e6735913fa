// What the operations have in common.

#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "operations/directory_tree.h"
#include "operations/inode_blocks.h"
#include "wafl/aggregate.h"
#include "wafl/attempt.h"
#include "wafl/inode.h"
#include "wafl/operations.h"
#include "wafl/volume.h"

namespace duet::wafl {

// A directory's names, for one attempt in one turn.
class Names {
 public:
  Names(Attempt& attempt, Inode& directory)
      : blocks_(attempt, directory),
        tree_(blocks_, NameHash{attempt.aggregate().root().directory_key}) {}
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;
  DirectoryTree* operator->() { return &tree_; }

 private:
  InodeBlocks blocks_;
  DirectoryTree tree_;
};

[[nodiscard]] constexpr std::uint64_t raw(InodeNumber number) {
  return static_cast<std::uint64_t>(number);
}
[[nodiscard]] constexpr std::uint8_t raw(FileType type) { return static_cast<std::uint8_t>(type); }

[[nodiscard]] inline bool is_directory(const Inode& inode) {
  return inode.attributes().type == FileType::kDirectory;
}
[[nodiscard]] inline bool is_miss(const Error& error) { return error.code == Errc::kMiss; }
template <typename T>
[[nodiscard]] bool is_miss(const Result<T>& result) {
  return !result.ok() && is_miss(result.error());
}

// Blocks that a file of this size has when it is dense.
[[nodiscard]] constexpr std::uint64_t blocks_of(std::uint64_t size_bytes) {
  return size_bytes / kBlockBytes + (size_bytes % kBlockBytes != 0 ? 1 : 0);
}

// Whether `name` in `directory` may be changed, as far as that is seen without looking it up.
// Error: kNotDirectory, kInvalid, kNameTooLong, kReadOnly.
Status check_change(const Inode& directory, std::string_view name);

// The inode that an entry names.  Error: kMiss; kCorrupt: it is free, or of another type.
Result<InodeRef> inode_of(Attempt& attempt, Inode& directory,
                          const DirectoryTree::Position& position);

// Error: kMiss, kNotEmpty, kCorrupt.
Status check_empty(Attempt& attempt, Inode& directory);

// What became of `directory`'s names counts as its modification.
void touch_directory(Inode& directory, Timestamp now);

// --- The last link to an inode goes, or one of several.

// Error: kMiss.
Status prepare_unlink(Attempt& attempt, Inode& inode);
void unlink(Inode& inode, Timestamp now);

}  // namespace duet::wafl
