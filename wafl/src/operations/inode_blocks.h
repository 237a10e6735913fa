// InodeBlocks: the blocks of a directory's inode, for one attempt in one turn.

#pragma once

#include <cstdint>
#include <vector>

#include "operations/directory_blocks.h"
#include "wafl/attempt.h"
#include "wafl/inode.h"

namespace duet::wafl {

class InodeBlocks final : public DirectoryBlocks {
 public:
  InodeBlocks(Attempt& attempt, Inode& inode) : attempt_(attempt), inode_(inode) {}

  [[nodiscard]] std::uint64_t count() const override {
    return inode_.attributes().size_bytes / kBlockBytes;
  }
  [[nodiscard]] std::uint64_t free_head() const override;
  Result<ConstBytes> read(std::uint64_t index) override;
  [[nodiscard]] bool held(std::uint64_t index) const override { return find(index) != nullptr; }
  void forget() override { held_.clear(); }
  MutableBytes modify(std::uint64_t index) override;
  MutableBytes append() override;
  void cut_to_root() override;
  void set_free_head(std::uint64_t index) override;

 private:
  struct Held {
    std::uint64_t index = 0;
    BufferRef present;     // as it was before a change
    MutableBytes changed;  // empty: not changed yet
  };
  [[nodiscard]] const Held* find(std::uint64_t index) const;
  void set_blocks(std::uint64_t count);

  Attempt& attempt_;
  Inode& inode_;
  std::vector<Held> held_;
};

}  // namespace duet::wafl
