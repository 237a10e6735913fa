#include "reply_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace duet::filer {

namespace {

ReplyKey slot_key(const ReplySlot& slot) {
  return {slot.address, slot.xid, slot.procedure, slot.checksum};
}

// The checksum of the arguments spreads well already; an attacker who makes it collide
// slows down only the search for his own retries' bucket.
std::size_t hash_of(const ReplyKey& key) {
  std::uint64_t hash = (std::uint64_t{key.xid} << 32U) | key.checksum;
  hash ^= load<std::uint64_t>(bytes_of(key.address), 8) ^ key.procedure;
  hash *= 0x9E37'79B9'7F4A'7C15U;
  return static_cast<std::size_t>(hash ^ (hash >> 32U));
}

std::size_t whole_blocks(std::size_t slots) {
  return std::max<std::size_t>(
      (slots + ReplyCache::kSlotsPerBlock - 1) / ReplyCache::kSlotsPerBlock, 1);
}

}  // namespace

ReplyCache::ReplyCache(Scheduler& scheduler, std::uint32_t slots)
    : slots_(whole_blocks(slots) * kSlotsPerBlock),
      sequences_(slots_.size()),
      chains_(slots_.size(), kNone),
      buckets_(std::bit_ceil(2 * slots_.size()), kNone),
      dirty_(whole_blocks(slots), false),
      run_ended_(scheduler) {}

std::size_t ReplyCache::bucket_of(const ReplyKey& key) const {
  return hash_of(key) & (buckets_.size() - 1);
}

std::optional<ReplyCache::Known> ReplyCache::find(const ReplyKey& key) const {
  for (std::uint32_t i = buckets_[bucket_of(key)]; i != kNone; i = chains_[i]) {
    if (slot_key(slots_[i]) == key) {
      Result<MutationReply> reply = decode_reply(slots_[i]);
      DUET_CHECK(reply.ok());  // place() took only such
      return Known{reply.value(), sequences_[i]};
    }
  }
  return std::nullopt;
}

void ReplyCache::put(const ReplyKey& key, const MutationReply& reply, nvlog::Sequence sequence) {
  ReplySlot slot = encode_reply(reply);
  slot.order = next_order_;
  slot.address = key.address;
  slot.xid = key.xid;
  slot.procedure = key.procedure;
  slot.checksum = key.checksum;
  place(slot, sequence);
}

void ReplyCache::place(const ReplySlot& slot, nvlog::Sequence sequence) {
  const auto index = static_cast<std::uint32_t>(slot.order % slots_.size());
  if (slots_[index].flags != 0) {
    unlink(index);
  }
  slots_[index] = slot;
  sequences_[index] = sequence;
  std::uint32_t& first = buckets_[bucket_of(slot_key(slot))];
  chains_[index] = first;
  first = index;
  dirty_[index / kSlotsPerBlock] = true;
  next_order_ = slot.order + 1;
}

void ReplyCache::unlink(std::uint32_t index) {
  std::uint32_t* link = &buckets_[bucket_of(slot_key(slots_[index]))];
  while (*link != index) {
    DUET_CHECK(*link != kNone);
    link = &chains_[*link];
  }
  *link = chains_[index];
}

ReplyCache::Running::Running(ReplyCache& cache, const ReplyKey& key)
    : cache_(cache), key_(key), next_(cache.running_[hash_of(key) % kRunningBuckets]) {
  cache.running_[hash_of(key) % kRunningBuckets] = this;
}

ReplyCache::Running::~Running() {
  Running** link = &cache_.running_[hash_of(key_) % kRunningBuckets];
  while (*link != this) {
    link = &(*link)->next_;
  }
  *link = next_;
  if (!cache_.run_ended_.empty()) {
    cache_.run_ended_.wake_all();
  }
}

bool ReplyCache::running(const ReplyKey& key) const {
  for (const Running* r = running_[hash_of(key) % kRunningBuckets]; r != nullptr; r = r->next_) {
    if (r->key_ == key) {
      return true;
    }
  }
  return false;
}

ConstBytes ReplyCache::block(std::size_t index) const {
  return std::as_bytes(std::span(slots_).subspan(index * kSlotsPerBlock, kSlotsPerBlock));
}

std::vector<std::size_t> ReplyCache::take_dirty() {
  std::vector<std::size_t> blocks;
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    if (dirty_[i]) {
      blocks.push_back(i);
      dirty_[i] = false;
    }
  }
  return blocks;
}

void ReplyCache::restore(const std::vector<ReplySlot>& slots) {
  std::vector<const ReplySlot*> used;
  for (const ReplySlot& slot : slots) {
    if (slot.flags != 0 && decode_reply(slot).ok()) {
      used.push_back(&slot);
    }
  }
  std::sort(used.begin(), used.end(),
            [](const ReplySlot* a, const ReplySlot* b) { return a->order < b->order; });
  const std::size_t skipped = used.size() - std::min(used.size(), slots_.size());
  for (std::size_t i = skipped; i < used.size(); ++i) {
    place(*used[i], nvlog::Sequence{0});
  }
  // Another size of the cache, or one in between, had them in other places.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    const ConstBytes here = block(i);
    const ConstBytes file = std::as_bytes(std::span(slots));
    const std::size_t at = i * here.size();
    dirty_[i] = at + here.size() > file.size() || !same_bytes(here, file.subspan(at, here.size()));
  }
}

}  // namespace duet::filer
