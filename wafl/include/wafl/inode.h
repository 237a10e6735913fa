// Inode: one file's attributes and blocks, as everybody sees them now.
//
// A live inode has up to three layers: what changed since the last freeze
// (current), what the running CP is writing (frozen), and the tree on disk.
// Reading looks through them in that order; changes go to the current layer only
// and never touch an indirect block: the CP does.
//
// Ownership: the aggregate's inode cache; InodeRef pins one in it.
// Thread-safety: the aggregate's strand.

#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "base/result.h"
#include "wafl/attempt.h"
#include "wafl/block_table.h"
#include "wafl/buffer.h"
#include "wafl/tree_format.h"
#include "wafl/types.h"

namespace duet::wafl {

class Volume;

// Changes of one file within one CP.
struct Layer {
  DiskInode frozen;  // the inode as it was at the freeze; meaningful from then on
  // Blocks of older layers at or behind this index are gone; ~0: none are.
  std::uint64_t cut_blocks = ~std::uint64_t{0};
  BlockTable blocks;
};

class Inode {
 public:
  Inode(Volume& volume, FileId id) : volume_(volume), id_(id) {}
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  [[nodiscard]] const FileId& id() const { return id_; }
  [[nodiscard]] Volume& volume() const { return volume_; }
  [[nodiscard]] const Attributes& attributes() const { return attributes_; }
  [[nodiscard]] bool writable() const { return id_.snapshot == kLive; }

  // --- Reading.  Both may add misses to the attempt.

  // The block at `index`; an empty reference is a hole (zeros).  Error: kMiss.
  Result<BufferRef> block(Attempt& attempt, std::uint64_t index);
  // Whether there is a block at `index`, without reading it.  Error: kMiss.
  Result<bool> exists(Attempt& attempt, std::uint64_t index);
  // How many blocks there are at or behind `index`.  Error: kMiss.
  Result<std::uint64_t> count_from(Attempt& attempt, std::uint64_t index);

  // --- Changing.  These never miss and never fail: what they need was prepared in
  // the same turn.  REQUIRES: writable().

  // A buffer of the current layer to be filled whole; its content is undefined.
  // Does not change attributes.
  BufferRef replace_block(std::uint64_t index);
  // The same with its present content (zeros for a hole).
  // REQUIRES: block(attempt, index) was ok in this turn; pass what it gave.
  MutableBytes modify_block(std::uint64_t index, const BufferRef& present);
  // Removes every block at or behind `index`.  Does not change attributes.
  void cut(std::uint64_t index);
  // Attributes of the current layer.
  Attributes& change_attributes();

  // Where the inode's words for its own use are kept (directories: see directory_format.h).
  [[nodiscard]] std::uint64_t user_word(int i) const { return user_words_[i]; }
  void set_user_word(int i, std::uint64_t value);

 private:
  friend class AggregateState;
  friend class Volume;
  friend class CpWriter;
  friend class InodeRef;

  Layer& current();
  BufferRef fresh_block(Layer& layer, std::uint64_t index, const std::byte* content);

  Volume& volume_;
  FileId id_;
  Attributes attributes_;
  std::uint64_t user_words_[2] = {0, 0};
  TreeRoot tree_;  // as of the last CP that wrote this inode
  std::unique_ptr<Layer> current_;
  std::unique_ptr<Layer> frozen_;
  std::uint64_t last_dirty_ = ~std::uint64_t{0};  // for the estimate of indirect blocks
  std::uint32_t pins_ = 0;
};

// Pins an inode in the cache.
class InodeRef {
 public:
  InodeRef() = default;
  explicit InodeRef(Inode* inode) : inode_(inode) {
    if (inode_ != nullptr) {
      ++inode_->pins_;
    }
  }
  InodeRef(const InodeRef& other) : InodeRef(other.inode_) {}
  InodeRef(InodeRef&& other) noexcept : inode_(std::exchange(other.inode_, nullptr)) {}
  InodeRef& operator=(InodeRef other) noexcept {
    std::swap(inode_, other.inode_);
    return *this;
  }
  ~InodeRef() {
    if (inode_ != nullptr) {
      --inode_->pins_;
    }
  }
  explicit operator bool() const { return inode_ != nullptr; }
  Inode& operator*() const { return *inode_; }
  Inode* operator->() const { return inode_; }
  [[nodiscard]] Inode* get() const { return inode_; }

 private:
  Inode* inode_ = nullptr;
};

}  // namespace duet::wafl
