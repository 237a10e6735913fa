#include "rights.h"

#include <algorithm>

namespace duet::filer {

bool Identity::in_group(std::uint32_t group) const {
  return group == gid || std::find(groups.begin(), groups.begin() + group_count, group) !=
                             groups.begin() + group_count;
}

Identity identify(const Credentials& credentials, const ExportRule& rule) {
  Identity who;
  if (credentials.anonymous || rule.squash == Squash::kAll) {
    who.uid = rule.anonymous_uid;
    who.gid = rule.anonymous_gid;
    return who;
  }
  const bool squash_root = rule.squash == Squash::kRoot;
  const auto group_of = [&](std::uint32_t group) {
    return squash_root && group == 0 ? rule.anonymous_gid : group;
  };
  who.uid = squash_root && credentials.uid == 0 ? rule.anonymous_uid : credentials.uid;
  who.gid = group_of(credentials.gid);
  who.group_count = std::min<std::uint32_t>(credentials.group_count, Credentials::kGroupsMax);
  for (std::uint32_t i = 0; i < who.group_count; ++i) {
    who.groups[i] = group_of(credentials.groups[i]);
  }
  return who;
}

bool may(const Identity& who, const wafl::Attributes& attributes, std::uint32_t wanted) {
  if (who.root()) {
    return (wanted & kMayExecute) == 0 || attributes.type == wafl::FileType::kDirectory ||
           (attributes.mode & 0111) != 0;
  }
  std::uint32_t granted = attributes.mode;
  if (who.uid == attributes.uid) {
    granted >>= 6U;
  } else if (who.in_group(attributes.gid)) {
    granted >>= 3U;
  }
  return (wanted & ~granted) == 0;
}

bool may_read_contents(const Identity& who, const wafl::Attributes& attributes) {
  return who.uid == attributes.uid || may(who, attributes, kMayRead) ||
         may(who, attributes, kMayExecute);
}

bool may_write_contents(const Identity& who, const wafl::Attributes& attributes) {
  return who.uid == attributes.uid || may(who, attributes, kMayWrite);
}

bool sticky_allows(const Identity& who, const wafl::Attributes& directory,
                   const wafl::Attributes& file) {
  return (directory.mode & kSticky) == 0 || who.root() || who.uid == file.uid ||
         who.uid == directory.uid;
}

std::uint32_t access_bits(const Identity& who, const wafl::Attributes& attributes, bool writable) {
  std::uint32_t bits = may(who, attributes, kMayRead) ? kAccessRead : 0;
  const bool execute = may(who, attributes, kMayExecute);
  const bool write = writable && may(who, attributes, kMayWrite);
  if (attributes.type == wafl::FileType::kDirectory) {
    bits |= execute ? kAccessLookup : 0;
    bits |= write && execute ? kAccessModify | kAccessExtend | kAccessDelete : 0;
    return bits;
  }
  bits |= execute && attributes.type == wafl::FileType::kRegular ? kAccessExecute : 0;
  bits |= write ? kAccessModify | kAccessExtend : 0;
  return bits;
}

}  // namespace duet::filer
