// ReplyCache: the replies of the last non-idempotent requests, so that a retry of one gets
// its first reply and is not executed again (I7).
//
// A ring: a new reply takes the slot of the oldest.  A reply is put in the turn in which its
// request changed the file system, so one CP holds both or neither; replay puts those
// of the requests after that CP.
//
// Thread-safety: the filer's strand.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "filer/reply_format.h"
#include "mutation_reply.h"
#include "nvlog/request_log.h"
#include "platform/wait.h"
#include "record.h"

namespace duet::filer {

class ReplyCache {
 public:
  static constexpr std::size_t kSlotsPerBlock = kBlockBytes / sizeof(ReplySlot);

  // `slots` is rounded up to whole blocks.
  ReplyCache(Scheduler& scheduler, std::uint32_t slots);

  struct Known {
    MutationReply reply;
    nvlog::Sequence sequence{};  // durable before the reply may leave
  };
  [[nodiscard]] std::optional<Known> find(const ReplyKey& key) const;
  void put(const ReplyKey& key, const MutationReply& reply, nvlog::Sequence sequence);

  // --- Requests under way.

  // Marks `key` as under way while it lives.
  class Running {
   public:
    Running(ReplyCache& cache, const ReplyKey& key);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    friend class ReplyCache;
    ReplyCache& cache_;
    const ReplyKey key_;
    Running* next_;
  };
  [[nodiscard]] bool running(const ReplyKey& key) const;
  // Wakes when a request that was under way has ended; check in a loop.
  [[nodiscard]] WaitList& run_ended() { return run_ended_; }

  // --- The file.

  [[nodiscard]] std::size_t block_count() const { return dirty_.size(); }
  [[nodiscard]] ConstBytes block(std::size_t index) const;
  // The blocks that changed since the last call, in order.
  [[nodiscard]] std::vector<std::size_t> take_dirty();
  // Takes what a file holds, whatever its size; slots that make no sense are left out.
  void restore(const std::vector<ReplySlot>& slots);

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr std::size_t kRunningBuckets = 1024;

  [[nodiscard]] std::size_t bucket_of(const ReplyKey& key) const;
  void place(const ReplySlot& slot, nvlog::Sequence sequence);
  void unlink(std::uint32_t index);

  std::vector<ReplySlot> slots_;
  std::vector<nvlog::Sequence> sequences_;  // by slot
  std::vector<std::uint32_t> chains_;       // by slot: the next of the same bucket
  std::vector<std::uint32_t> buckets_;      // the first slot
  std::vector<bool> dirty_;                 // by block
  std::uint64_t next_order_ = 0;
  std::array<Running*, kRunningBuckets> running_{};
  WaitList run_ended_;
};

}  // namespace duet::filer
