// write_last_words: what a supervisor tells the partner of its dead child, on the node's mailbox
// members (rule 6).
//
// It enters the disks under the dead process's own key, as a newer session of it: a target lets
// that in when everything of the dead one has ended.  So
//   - it may write as long as the dead process might have, and not once the partner has fenced it;
//   - a next process of the node, with a greater incarnation, replaces it as it would the dead one.
// It registers nothing and reserves nothing.
//
// Thread-safety: the calling thread, which it blocks.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "mailbox/sector.h"
#include "shelf/linux/disk_url.h"
#include "supervisor/supervisor.h"

namespace duet::supervisor {

struct WordsPlace {
  std::array<std::uint64_t, 2> pair{};
  mailbox::Node node{};
  std::vector<shelf::DiskUrl> members;  // the node's mailbox disks
};

// Ok: a member has them.  kFenced: the partner has removed the dead one's key, and needs no words;
// kTryAgain: no member answered within `patience`; kInvalid: the child never had an incarnation.
// Others as the members fail.
// REQUIRES: the process of that incarnation is gone.
[[nodiscard]] Status write_last_words(const WordsPlace& place, const Death& death,
                                      Duration patience);

}  // namespace duet::supervisor
