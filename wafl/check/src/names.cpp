// Names against inodes: every inode has as many names as links, every directory one, and all
// lead back to the root.

#include <array>
#include <memory>
#include <unordered_map>

#include "directory.h"
#include "stages.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kRoot = static_cast<std::uint64_t>(kRootInode);

struct InodeNote {
  std::uint64_t parent = 0;  // of a directory, as it says itself
  std::uint32_t links = 0;   // as the inode says
  std::uint32_t names = 0;   // found in directories
  std::uint32_t subdirectories = 0;
  FileType type = FileType::kFree;
  enum class Way : std::uint8_t { kUnknown, kOnPath, kToRoot, kLost } way = Way::kUnknown;
};

class Names {
 public:
  Names(Image& image, const CheckDataset& dataset) : image_(image), dataset_(dataset) {}

  Task<void> run() {
    co_await note_inodes();
    co_await read_directories();
    check_root();
    for (const auto& [block, notes] : notes_) {
      for (std::uint64_t i = 0; i < kInodesPerBlock; ++i) {
        if ((*notes)[i].type != FileType::kFree) {
          check_inode_note(block * kInodesPerBlock + i, (*notes)[i]);
        }
      }
    }
  }

 private:
  using Notes = std::array<InodeNote, kInodesPerBlock>;

  void bad(ProblemKind kind, std::uint64_t inode, std::string_view what) {
    image_.problem(kind, kNoBlock, text_of(dataset_.name(), ": inode ", inode, " ", what));
  }

  InodeNote* find(std::uint64_t inode) {
    const auto it = notes_.find(inode / kInodesPerBlock);
    if (it == notes_.end()) {
      return nullptr;
    }
    InodeNote& note = (*it->second)[inode % kInodesPerBlock];
    return note.type == FileType::kFree ? nullptr : &note;
  }

  Task<void> note_inodes() {
    const WalkRules rules = look_rules(TreeKind::kInodeFile, dataset_, LeafReads::kAll);
    TreeWalk walk(image_, dataset_.record.inode_file, rules, std::string());
    for (;;) {
      const std::optional<Leaf> leaf = co_await walk.next();
      if (!leaf) {
        co_return;
      }
      if (!leaf->bytes.empty()) {
        note_block(*leaf);
      }
    }
  }

  void note_block(const Leaf& leaf) {
    auto notes = std::make_unique<Notes>();
    for (std::uint64_t i = 0; i < kInodesPerBlock; ++i) {
      const auto inode = load<DiskInode>(leaf.bytes, i * sizeof(DiskInode));
      if (inode.type != 0 && inode.type <= static_cast<std::uint8_t>(FileType::kSocket)) {
        (*notes)[i].type = static_cast<FileType>(inode.type);
        (*notes)[i].links = inode.links;
        (*notes)[i].parent = inode.user_words[0];
      }
    }
    notes_[leaf.index] = std::move(notes);
  }

  Task<void> read_directories() {
    const WalkRules rules = look_rules(TreeKind::kInodeFile, dataset_, LeafReads::kAll);
    TreeWalk walk(image_, dataset_.record.inode_file, rules, std::string());
    for (;;) {
      const std::optional<Leaf> leaf = co_await walk.next();
      if (!leaf) {
        co_return;
      }
      for (std::uint64_t i = 0; !leaf->bytes.empty() && i < kInodesPerBlock; ++i) {
        const auto inode = load<DiskInode>(leaf->bytes, i * sizeof(DiskInode));
        if (inode.type == static_cast<std::uint8_t>(FileType::kDirectory)) {
          const std::uint64_t number = leaf->index * kInodesPerBlock + i;
          std::string where = text_of(dataset_.name(), ": inode ", number);
          std::function<void(const FoundName&)> found = [this, number](const FoundName& name) {
            note_name(number, name);
          };
          co_await check_directory(image_, std::move(where), inode, std::move(found));
        }
      }
    }
  }

  void note_name(std::uint64_t directory, const FoundName& name) {
    InodeNote* note = find(name.inode);
    if (note == nullptr) {
      bad(ProblemKind::kLinks, directory,
          text_of("has a name for inode ", name.inode, ", which is free: ", name.name));
      return;
    }
    if (note->type != name.type) {
      bad(ProblemKind::kDirectory, directory, text_of("has the wrong type for ", name.name));
    }
    ++note->names;
    if (note->type == FileType::kDirectory) {
      if (note->parent != directory) {
        bad(ProblemKind::kDirectory, name.inode,
            text_of("says that its parent is ", note->parent, "; it is ", directory));
      }
      if (InodeNote* parent = find(directory); parent != nullptr) {
        ++parent->subdirectories;
      }
    }
  }

  void check_root() {
    InodeNote* root = find(kRoot);
    if (root == nullptr || root->type != FileType::kDirectory) {
      bad(ProblemKind::kInode, kRoot, "should be the root directory");
      return;
    }
    if (root->names != 0 || root->parent != kRoot) {
      bad(ProblemKind::kDirectory, kRoot, "is the root and below something");
    }
    root->way = InodeNote::Way::kToRoot;
  }

  void check_inode_note(std::uint64_t number, InodeNote& note) {
    const bool directory = note.type == FileType::kDirectory;
    const std::uint32_t links = directory ? 2 + note.subdirectories : note.names;
    // A tree that is being received gets its inodes before their names.
    const bool whole = dataset_.record.receiving == 0;
    if (number != kRoot && note.names == 0 && whole) {
      bad(ProblemKind::kOrphan, number, "is in use and has no name");
    } else if (note.links != links) {
      bad(ProblemKind::kLinks, number, text_of("says ", note.links, " links and has ", links));
    }
    if (directory && note.names > 1) {
      bad(ProblemKind::kDirectory, number, text_of("has ", note.names, " names"));
    }
    if (directory && note.names > 0 && whole && !leads_to_root(number)) {
      bad(ProblemKind::kOrphan, number, "is a directory that is not below the root");
    }
  }

  // Follows the parents until somebody's way is known.
  bool leads_to_root(std::uint64_t number) {
    using Way = InodeNote::Way;
    std::vector<InodeNote*> path;
    InodeNote* note = find(number);
    while (note != nullptr && note->type == FileType::kDirectory && note->way == Way::kUnknown) {
      note->way = Way::kOnPath;
      path.push_back(note);
      note = find(note->parent);
    }
    const bool found = note != nullptr && note->way == Way::kToRoot;
    for (InodeNote* on_path : path) {
      on_path->way = found ? Way::kToRoot : Way::kLost;
    }
    return found;
  }

  Image& image_;
  const CheckDataset& dataset_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Notes>> notes_;  // by block of the inode file
};

}  // namespace

Task<void> check_names(Image& image, const CheckDataset& dataset) {
  if (dataset.record.state == kDatasetDying) {
    co_return;
  }
  Names names(image, dataset);
  co_await names.run();
}

}  // namespace duet::wafl
