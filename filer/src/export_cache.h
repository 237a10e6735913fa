// ExportCache: which rule a client of a volume has, found without searching the table each
// time.  Every request asks; a table changes rarely.
//
// Thread-safety: the filer's strand.

#pragma once

#include <array>
#include <cstdint>

#include "filer/exports.h"
#include "wafl/types.h"
#include "wafl/volume.h"

namespace duet::filer {

class ExportCache {
 public:
  // Null: this client has no rule for this volume.  Valid until the next call of a member.
  const ExportRule* find(const ExportTable& table, const wafl::Volume& volume,
                         const Address& client);
  // The table or a volume's name changed.
  void clear() { entries_ = {}; }

 private:
  struct Entry {
    wafl::VolumeId volume{};  // the system volume is never asked for: an empty entry
    bool allowed = false;
    Address client{};
    ExportRule rule;
  };
  static constexpr std::size_t kEntries = 256;
  std::array<Entry, kEntries> entries_;
};

}  // namespace duet::filer
