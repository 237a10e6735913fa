// SmallFiler: a real aggregate with one volume on a disk in memory, for tests of operations.

#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string_view>

#include "../world.h"

namespace duet::wafl {

class SmallFiler : public ::testing::Test {
 protected:
  void SetUp() override { world.volume("vol"); }

  void cp() { world.cp(); }
  // As after a clean restart: nothing is in memory.
  void restart() {
    world.cp();
    world.reopen();
  }

  // Again and again until nothing is missing.
  template <typename Operation>
  auto attempt(Operation operation) {
    Attempt attempt(*world.aggregate);
    for (;;) {
      auto result = operation(attempt);
      if (result.ok() ||
          (result.error().code != Errc::kMiss && result.error().code != Errc::kTryAgain)) {
        return result;
      }
      if (result.error().code == Errc::kTryAgain) {
        cp();
      }
      EXPECT_EQ(result.error().code == Errc::kMiss, attempt.missed());
      ++rounds;
      const Status loaded = world.run(attempt.load());
      EXPECT_TRUE(loaded.ok());
    }
  }

  Volume& volume() { return *world.aggregate->find_volume("vol"); }
  Result<InodeRef> find(Attempt& at, InodeNumber number, SnapshotId snapshot = kLive) {
    return volume().find_inode(at, snapshot, number);
  }

  // --- Operations by inode number, at time `now`.
  Result<InodeNumber> make(InodeNumber directory, std::string_view name, NewNode node = {}) {
    return attempt([&](Attempt& at) -> Result<InodeNumber> {
      Result<InodeRef> parent = find(at, directory);
      if (!parent.ok()) {
        return parent.error();
      }
      Result<InodeRef> inode = create(at, *parent.value(), name, node, Timestamp{now});
      return inode.ok() ? Result<InodeNumber>(inode.value()->id().inode)
                        : Result<InodeNumber>(inode.error());
    });
  }
  Result<InodeNumber> make_directory(InodeNumber directory, std::string_view name) {
    NewNode node;
    node.type = FileType::kDirectory;
    return make(directory, name, node);
  }
  // Calls `operation(attempt, inode of each number...)`.
  template <typename Operation, typename... Numbers>
  auto with(Operation operation, Numbers... numbers) {
    return attempt([&](Attempt& at) -> decltype(operation(at, inode_for(numbers)...)) {
      for (const InodeNumber number : {numbers...}) {
        Result<InodeRef> inode = find(at, number);
        if (!inode.ok()) {
          return inode.error();
        }
      }
      return operation(at, *find(at, numbers).value()...);
    });
  }
  Status remove_name(InodeNumber directory, std::string_view name) {
    return with([&](Attempt& at, Inode& d) { return remove(at, d, name, Timestamp{now}); },
                directory);
  }
  Status remove_dir(InodeNumber directory, std::string_view name) {
    return with(
        [&](Attempt& at, Inode& d) { return remove_directory(at, d, name, Timestamp{now}); },
        directory);
  }
  Status move(InodeNumber from, std::string_view from_name, InodeNumber to,
              std::string_view to_name) {
    return with([&](Attempt& at, Inode& a,
                    Inode& b) { return rename(at, a, from_name, b, to_name, Timestamp{now}); },
                from, to);
  }
  Status add_link(InodeNumber directory, std::string_view name, InodeNumber file) {
    return with(
        [&](Attempt& at, Inode& d, Inode& f) { return link(at, d, name, f, Timestamp{now}); },
        directory, file);
  }
  Result<Entry> look(InodeNumber directory, std::string_view name) {
    return with([&](Attempt& at, Inode& d) { return lookup(at, d, name); }, directory);
  }
  Result<Attributes> attributes(InodeNumber number) {
    return with([](Attempt&, Inode& inode) -> Result<Attributes> { return inode.attributes(); },
                number);
  }
  // Blocks that there are, counted: what used_bytes must say.
  std::uint64_t counted_bytes(InodeNumber number) {
    return with([](Attempt& at, Inode& inode) { return inode.count_from(at, 0); }, number).value() *
           kBlockBytes;
  }

  testing::World world{1, 1U << 18U, 1};
  std::int64_t now = 100;
  std::uint64_t rounds = 0;

 private:
  static Inode& inode_for(InodeNumber);  // only for decltype
};

[[nodiscard]] inline std::optional<Errc> code(const Status& status) {
  return status.ok() ? std::nullopt : std::optional(status.error().code);
}
template <typename T>
[[nodiscard]] std::optional<Errc> code(const Result<T>& result) {
  return result.ok() ? std::nullopt : std::optional(result.error().code);
}

}  // namespace duet::wafl
