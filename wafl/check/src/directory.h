// The blocks of one directory: a B+-tree by cookie and a chain of free blocks.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "image.h"

namespace duet::wafl {

struct FoundName {
  std::string_view name;  // valid during the call
  std::uint64_t inode = 0;
  FileType type = FileType::kFree;
};

// Calls `found` for each entry that can be read.
Task<void> check_directory(Image& image, std::string where, DiskInode inode,
                           std::function<void(const FoundName&)> found);

}  // namespace duet::wafl
