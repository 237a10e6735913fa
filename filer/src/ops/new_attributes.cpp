#include "ops/new_attributes.h"

namespace duet::filer {

namespace {

constexpr std::uint32_t kModeBits = 07777;
// When the client does not say: its owner's alone, until he says.
constexpr std::uint32_t kDefaultFileMode = 0600;
constexpr std::uint32_t kDefaultDirectoryMode = 0700;

}  // namespace

wafl::AttributeChanges resolve_changes(const SetAttributes& wanted, wafl::Timestamp now) {
  wafl::AttributeChanges changes;
  if (wanted.mode.has_value()) {
    changes.mode = *wanted.mode & kModeBits;
  }
  changes.uid = wanted.uid;
  changes.gid = wanted.gid;
  changes.size_bytes = wanted.size_bytes;
  if (wanted.set_atime != SetTime::kDontChange) {
    changes.atime = wanted.set_atime == SetTime::kServerTime ? now : wanted.atime;
  }
  if (wanted.set_mtime != SetTime::kDontChange) {
    changes.mtime = wanted.set_mtime == SetTime::kServerTime ? now : wanted.mtime;
  }
  return changes;
}

wafl::AttributeChanges changes_of_new(const SetAttributes& wanted, const Identity& who,
                                      const wafl::Attributes& directory, wafl::FileType type,
                                      wafl::Timestamp now) {
  wafl::AttributeChanges changes = resolve_changes(wanted, now);
  const bool is_directory = type == wafl::FileType::kDirectory;
  std::uint32_t mode =
      changes.mode.value_or(is_directory ? kDefaultDirectoryMode : kDefaultFileMode);
  if (!who.root() || !changes.uid.has_value()) {
    changes.uid = who.uid;
  }
  const bool inherit = (directory.mode & kSetGid) != 0;
  const bool may_give = changes.gid.has_value() && (who.root() || who.in_group(*changes.gid));
  if (!may_give) {
    changes.gid = inherit ? directory.gid : who.gid;
  }
  if (inherit && is_directory) {
    mode |= kSetGid;
  } else if (!who.root() && !who.in_group(*changes.gid)) {
    mode &= ~kSetGid;  // nobody makes a program of a group that he is not in
  }
  changes.mode = mode;
  if (type != wafl::FileType::kRegular) {
    changes.size_bytes.reset();
  }
  return changes;
}

}  // namespace duet::filer
