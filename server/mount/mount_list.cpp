#include <algorithm>

#include "server/mount.h"

namespace duet::server {

void MountList::add(Entry entry) {
  remove(entry);
  if (entries_.size() == kEntriesMax) {
    entries_.pop_front();
  }
  entries_.push_back(std::move(entry));
}

void MountList::remove(const Entry& entry) { std::erase(entries_, entry); }

void MountList::remove_host(const std::string& host) {
  std::erase_if(entries_, [&host](const Entry& entry) { return entry.host == host; });
}

}  // namespace duet::server
