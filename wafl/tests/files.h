// The files of a volume's root directory, by their names.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>
#include <string>

#include "world.h"

namespace duet::wafl::testing {

using Contents = std::map<std::string, std::string>;

class Files {
 public:
  Files(World& world, std::string_view volume) : world_(world), volume_(volume) {
    world.volume(volume);
  }

  Volume& volume() { return world_.volume(volume_); }

  Status put(const std::string& name, std::uint64_t offset, const std::string& data) {
    return world_.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> root = volume().find_inode(attempt, kLive, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      Result<Entry> entry = lookup(attempt, *root.value(), name);
      if (!entry.ok() && entry.error().code == Errc::kNotFound) {
        Result<InodeRef> made = create(attempt, *root.value(), name, {.mode = 0644}, world_.now());
        if (!made.ok()) {
          return made.error();
        }
        entry = lookup(attempt, *root.value(), name);
      }
      if (!entry.ok()) {
        return entry.error();
      }
      Result<InodeRef> inode = volume().find_inode(attempt, kLive, entry.value().inode);
      if (!inode.ok()) {
        return inode.error();
      }
      const std::array<ConstBytes, 1> parts{std::as_bytes(std::span(data))};
      return write(attempt, *inode.value(), offset, parts, false, world_.now());
    });
  }

  Status truncate(const std::string& name, std::uint64_t size) {
    return world_.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> inode = find(attempt, kLive, name);
      if (!inode.ok()) {
        return inode.error();
      }
      return set_attributes(attempt, *inode.value(), {.size_bytes = size}, world_.now());
    });
  }

  Status erase(const std::string& name) {
    return world_.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> root = volume().find_inode(attempt, kLive, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      return remove(attempt, *root.value(), name, world_.now());
    });
  }

  Contents all(SnapshotId snapshot = kLive) {
    std::set<std::string> names;
    const Result<bool> listed = world_.attempt([&](Attempt& attempt) -> Result<bool> {
      names.clear();
      Result<InodeRef> root = volume().find_inode(attempt, snapshot, kRootInode);
      if (!root.ok()) {
        return root.error();
      }
      return list(attempt, *root.value(), Cookie{2}, [&](const ListedEntry& entry) {
        names.insert(std::string(entry.name));
        return true;
      });
    });
    EXPECT_TRUE(listed.ok());
    Contents contents;
    for (const std::string& name : names) {
      contents[name] = get(snapshot, name);
    }
    return contents;
  }

  std::string get(SnapshotId snapshot, const std::string& name) {
    std::string text;
    const Result<ReadResult> got = world_.attempt([&](Attempt& attempt) -> Result<ReadResult> {
      Result<InodeRef> inode = find(attempt, snapshot, name);
      if (!inode.ok()) {
        return inode.error();
      }
      return read(attempt, *inode.value(), 0, 64U << 20U);
    });
    EXPECT_TRUE(got.ok()) << got.error().context;
    for (const Extent& extent : got.value().extents) {
      if (extent.buffer) {
        text.append(reinterpret_cast<const char*>(extent.buffer.bytes().data()) + extent.offset,
                    extent.bytes);
      } else {
        text.append(extent.bytes, '\0');
      }
    }
    return text;
  }

 private:
  Result<InodeRef> find(Attempt& attempt, SnapshotId snapshot, const std::string& name) {
    Result<InodeRef> root = volume().find_inode(attempt, snapshot, kRootInode);
    if (!root.ok()) {
      return root.error();
    }
    Result<Entry> entry = lookup(attempt, *root.value(), name);
    if (!entry.ok()) {
      return entry.error();
    }
    return volume().find_inode(attempt, snapshot, entry.value().inode);
  }

  World& world_;
  std::string volume_;
};

}  // namespace duet::wafl::testing
