// A local tree: the files, links and directories that the demo copies and compares.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace demo {

struct Tree {
  std::string root;
  std::vector<std::string> directories;  // relative, parents first
  std::vector<std::string> files;        // regular files and symbolic links, relative
};

// At most `files_max` files; sorted, so that each run sees the same.
Tree read_tree(const std::string& root, std::size_t files_max);

// A file's bytes, or a link's target.
struct Contents {
  bool link = false;
  std::string bytes;
  friend bool operator==(const Contents&, const Contents&) = default;
};
Contents read_local(const std::string& path);

// The lines of a file.
std::vector<std::string> read_lines(const std::string& file);

}  // namespace demo
