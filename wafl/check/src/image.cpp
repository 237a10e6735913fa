#include "image.h"

namespace duet::wafl {

namespace {

constexpr std::uint64_t kOwnersPerBlock = kBlockBytes / sizeof(OwnerEntry);
constexpr std::uint64_t kProgressBlocks = 4096;

}  // namespace

std::string_view problem_name(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::kUnreadable:
      return "unreadable";
    case ProblemKind::kChecksum:
      return "checksum";
    case ProblemKind::kLabel:
      return "label";
    case ProblemKind::kRoot:
      return "root";
    case ProblemKind::kPointer:
      return "pointer";
    case ProblemKind::kBirth:
      return "birth";
    case ProblemKind::kDoubleUse:
      return "double-use";
    case ProblemKind::kOwner:
      return "owner";
    case ProblemKind::kLeak:
      return "leak";
    case ProblemKind::kNotAllocated:
      return "not-allocated";
    case ProblemKind::kFreeCount:
      return "free-count";
    case ProblemKind::kDataset:
      return "dataset";
    case ProblemKind::kInode:
      return "inode";
    case ProblemKind::kInodeMap:
      return "inode-map";
    case ProblemKind::kSize:
      return "size";
    case ProblemKind::kSymlink:
      return "symlink";
    case ProblemKind::kDirectory:
      return "directory";
    case ProblemKind::kLinks:
      return "links";
    case ProblemKind::kOrphan:
      return "orphan";
    case ProblemKind::kDeadList:
      return "dead-list";
    case ProblemKind::kZombie:
      return "zombie";
    case ProblemKind::kVolumeUsed:
      return "volume-used";
  }
  return "unknown";
}

void Image::problem(ProblemKind kind, std::uint64_t block, std::string text) {
  ++report.problem_count;
  if (report.problems.size() < options.problems_max) {
    report.problems.push_back({kind, block, std::move(text)});
  }
}

void Image::unreadable(Error error, const BlockPointer& pointer, const std::string& where) {
  const bool bytes_came = error.code == Errc::kCorrupt;
  problem(bytes_came ? ProblemKind::kChecksum : ProblemKind::kUnreadable, pointer.block(),
          text_of(where, ": block ", pointer.block(), ": ",
                  bytes_came ? error.context : "the disk failed the read"));
}

void Image::progressed() {
  if (++done_ % kProgressBlocks == 0 && options.progress) {
    options.progress({reached.count(), root.block_count - root.free_blocks, stage});
  }
}

Task<OwnerEntry> Image::owner(std::uint64_t block) {
  const Result<CheckBlockRef> leaf = co_await reader.leaf(root.owner_map, block / kOwnersPerBlock);
  if (!leaf.ok() || leaf.value() == nullptr) {
    co_return OwnerEntry{};
  }
  co_return load<OwnerEntry>(leaf.value()->bytes, block % kOwnersPerBlock * sizeof(OwnerEntry));
}

// Ends: an origin's number is less than its clone's.
std::uint32_t Image::owner_volume(std::uint32_t volume, std::uint32_t birth) const {
  for (auto it = origins.find(volume); it != origins.end() && birth <= it->second.cp;
       it = origins.find(volume)) {
    volume = it->second.volume;
  }
  return volume;
}

}  // namespace duet::wafl
