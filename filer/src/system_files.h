// SystemFiles: what the filer itself keeps in the aggregate's system volume, so that it is
// part of every CP: the reply cache and the exports.
//
// Both are written block by block in the turn of the freeze, without reading anything, so
// freezing never waits and never fails.

#pragma once

#include <string>

#include "base/result.h"
#include "filer/exports.h"
#include "platform/task.h"
#include "reply_cache.h"
#include "wafl/aggregate.h"
#include "wafl/inode.h"

namespace duet::filer {

class SystemFiles {
 public:
  // Makes the files where they are missing and takes what they hold.  `now` is for new ones.
  // Error: kIo, kCorrupt.
  Task<Status> load(wafl::Aggregate& aggregate, ReplyCache& replies, ExportTable& exports,
                    wafl::Timestamp now);

  // The newest time that the filer had given out at the last freeze.
  [[nodiscard]] wafl::Timestamp last_time() const;

  // --- In the turn of a freeze.  REQUIRES: load() was ok.
  void write_replies(ReplyCache& replies, wafl::Timestamp last_time);
  void write_exports(const ExportTable& exports, wafl::Timestamp now);

 private:
  // Pinned: what is needed at the freeze is in memory.
  wafl::InodeRef replies_;
  wafl::InodeRef exports_;
};

}  // namespace duet::filer
