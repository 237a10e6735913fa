#include "intent_log.h"

#include <algorithm>

namespace duet::raid {

std::optional<std::uint32_t> IntentLog::find_pages(std::uint32_t count) const {
  std::uint32_t run = 0;
  for (std::uint32_t at = 0; at < pages_.size(); ++at) {
    run = pages_[at] ? 0 : run + 1;
    if (run >= count) {
      return at + 1 - run;
    }
  }
  return count == 0 ? std::optional<std::uint32_t>(0) : std::nullopt;
}

bool IntentLog::has_room(std::uint32_t pages) const {
  return std::ranges::find(slots_, false) != slots_.end() && find_pages(pages).has_value();
}

Result<IntentLog::Handle> IntentLog::begin(const Intent& intent,
                                           std::span<const ConstBytes> pages) {
  const std::uint32_t count = intent.page_count();
  DUET_CHECK(!overlaps(intent.stripe, intent.first_row, intent.row_count));
  const auto free = std::ranges::find(slots_, false);
  const std::optional<std::uint32_t> first_page = find_pages(count);
  DUET_CHECK(free != slots_.end() && first_page.has_value());
  *free = true;
  for (std::uint32_t i = 0; i < count; ++i) {
    pages_[*first_page + i] = true;
  }
  pages_used_ += count;
  const Handle live = live_.insert(live_.end(), Live());
  live->intent = intent;
  live->slot = static_cast<std::uint32_t>(free - slots_.begin());
  live->first_page = *first_page;

  const MemoryLayout& layout = memory_.layout();
  PersistentMemory& memory = memory_.memory();
  std::uint32_t checksum = crc32c({});
  std::uint64_t stored = 0;
  for (const ConstBytes part : pages) {
    checksum = crc32c(part, checksum);
    memory.store(layout.page(self_, *first_page) + stored, part);
    stored += part.size();
  }
  DUET_CHECK(stored == count * kBlockBytes);
  const IntentHeader header = encode_intent(intent, ++last_number_, *first_page, checksum);
  memory.store(layout.slot(self_, live->slot), bytes_of(header));
  if (const Status persisted = memory.persist(); !persisted.ok()) {
    return persisted.error();
  }
  return live;
}

void IntentLog::send(Handle live) {
  for_each_node(targets_, [&](NodeId target) { send(*live, target); });
}

// What this node's memory holds of it: pages first, the slot makes them count.
void IntentLog::send(Live& live, NodeId target) {
  if (!in_session(target)) {
    send_all(target);  // this one is among them
    return;
  }
  const MemoryLayout& layout = memory_.layout();
  const ConstBytes memory = memory_.memory().bytes();
  if (const std::uint32_t count = live.intent.page_count(); count > 0 && !live.ending) {
    const std::uint64_t at = layout.page(self_, live.first_page);
    const std::array<ConstBytes, 1> parts = {memory.subspan(at, count * kBlockBytes)};
    peers_.store(target, at, parts);
  }
  const std::uint64_t at = layout.slot(self_, live.slot);
  const std::array<ConstBytes, 1> parts = {memory.subspan(at, sizeof(IntentHeader))};
  const std::uint64_t sent = peers_.store(target, at, parts);
  if (sent == 0) {
    session_[number(target)] = 0;
    return;
  }
  live.sent[number(target)] = last_sent_[number(target)] = sent;
}

void IntentLog::set_targets(NodeSet targets) {
  const NodeSet added = targets & ~targets_;
  targets_ = targets;
  for_each_node(added, [this](NodeId target) { send_all(target); });
  wake();
}

void IntentLog::send_all(NodeId target) {
  session_[number(target)] = contains(targets_, target) ? peers_.session(target) : 0;
  if (session_[number(target)] == 0) {
    return;  // again when a session begins
  }
  // Pages before the table: a slot never counts before its pages.
  const MemoryLayout& layout = memory_.layout();
  const ConstBytes memory = memory_.memory().bytes();
  for (const Live& live : live_) {
    if (const std::uint32_t count = live.intent.page_count(); count > 0 && !live.ending) {
      const std::uint64_t at = layout.page(self_, live.first_page);
      const std::array<ConstBytes, 1> parts = {memory.subspan(at, count * kBlockBytes)};
      peers_.store(target, at, parts);
    }
  }
  const std::array<ConstBytes, 1> table = {
      memory.subspan(layout.area(self_), layout.table_bytes())};
  const std::uint64_t sent = peers_.store(target, layout.area(self_), table);
  if (sent == 0) {
    session_[number(target)] = 0;
    return;
  }
  last_sent_[number(target)] = sent;
  for (Live& live : live_) {
    live.sent[number(target)] = sent;
  }
}

bool IntentLog::reached_all(const Live& live) const {
  bool all = true;
  for_each_node(targets_, [&](NodeId target) {
    all = all && in_session(target) && peers_.stored(target) >= live.sent[number(target)];
  });
  return all;
}

Task<void> IntentLog::reach_targets(Handle live) {
  for (;;) {
    if (stopped_ || reached_all(*live)) {
      co_return;
    }
    co_await changed_.wait();
  }
}

bool IntentLog::overlaps(Stripe stripe, std::uint32_t first_row, std::uint32_t rows) const {
  return std::ranges::any_of(live_, [&](const Live& live) {
    return live.intent.stripe == stripe && live.intent.first_row < first_row + rows &&
           first_row < live.intent.first_row + live.intent.row_count;
  });
}

bool IntentLog::any_in(Stripe from, Stripe to) const {
  return std::ranges::any_of(live_, [&](const Live& live) {
    return from <= live.intent.stripe && live.intent.stripe < to;
  });
}

std::vector<Stripe> IntentLog::stripes() const {
  std::vector<Stripe> result;
  for (const Live& live : live_) {
    result.push_back(live.intent.stripe);
  }
  return result;
}

std::vector<IntentLog::Handle> IntentLog::completed() {
  std::vector<Handle> result;
  for (Handle at = live_.begin(); at != live_.end(); ++at) {
    if (at->completed && !at->ending) {
      result.push_back(at);
    }
  }
  return result;
}

Task<Status> IntentLog::end(std::vector<Handle> lives) {
  const MemoryLayout& layout = memory_.layout();
  PersistentMemory& memory = memory_.memory();
  constexpr std::array<std::byte, sizeof(IntentHeader)> kFree{};
  for (const Handle live : lives) {
    live->ending = true;
    memory.store(layout.slot(self_, live->slot), kFree);
  }
  const Status persisted = memory.persist();
  if (!persisted.ok()) {
    co_return persisted;
  }
  for (const Handle live : lives) {
    for_each_node(targets_, [&](NodeId target) { send(*live, target); });
  }
  for (const Handle live : lives) {
    co_await reach_targets(live);
  }
  if (stopped_) {
    co_return Error{Errc::kClosed, "the redundancy group has ended"};
  }
  for (const Handle live : lives) {
    slots_[live->slot] = false;
    const std::uint32_t count = live->intent.page_count();
    for (std::uint32_t i = 0; i < count; ++i) {
      pages_[live->first_page + i] = false;
    }
    pages_used_ -= count;
    live_.erase(live);
  }
  wake();
  co_return Ok{};
}

}  // namespace duet::raid
