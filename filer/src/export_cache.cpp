#include "export_cache.h"

#include <string>

#include "base/bytes.h"

namespace duet::filer {

const ExportRule* ExportCache::find(const ExportTable& table, const wafl::Volume& volume,
                                    const Address& client) {
  const wafl::VolumeId id = volume.id();
  std::uint64_t hash = load<std::uint64_t>(bytes_of(client), 0) * 31 +
                       load<std::uint64_t>(bytes_of(client), 8) + static_cast<std::uint64_t>(id);
  hash *= 0x9E37'79B9'7F4A'7C15U;
  Entry& entry = entries_[hash >> 56U];
  static_assert(kEntries == 256);
  if (entry.volume != id || entry.client != client) {
    const ExportRule* rule = table.find("/" + volume.name(), client);
    entry = {id, rule != nullptr, client, rule != nullptr ? *rule : ExportRule{}};
  }
  return entry.allowed ? &entry.rule : nullptr;
}

}  // namespace duet::filer
