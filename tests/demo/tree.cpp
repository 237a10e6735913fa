#include "tree.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace demo {

namespace fs = std::filesystem;

Tree read_tree(const std::string& root, std::size_t files_max) {
  Tree tree;
  tree.root = root;
  const auto options = fs::directory_options::skip_permission_denied;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root, options)) {
    const bool link = entry.is_symlink();
    if (link || entry.is_regular_file()) {
      tree.files.push_back(entry.path().lexically_relative(root).string());
    }
  }
  std::sort(tree.files.begin(), tree.files.end());
  tree.files.resize(std::min(tree.files.size(), files_max));
  std::set<std::string> directories;
  for (const std::string& file : tree.files) {
    for (fs::path at = fs::path(file).parent_path(); !at.empty(); at = at.parent_path()) {
      directories.insert(at.string());
    }
  }
  tree.directories.assign(directories.begin(), directories.end());  // "a" sorts before "a/b"
  return tree;
}

Contents read_local(const std::string& path) {
  if (fs::is_symlink(path)) {
    return {true, fs::read_symlink(path).string()};
  }
  std::ifstream stream(path, std::ios::binary);
  return {false, std::string(std::istreambuf_iterator<char>(stream), {})};
}

std::vector<std::string> read_lines(const std::string& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

}  // namespace demo
