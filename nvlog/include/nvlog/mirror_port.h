// MirrorPort: where the logs of both filers and the partner link meet, on one node.
//
// As host it keeps the copies of the partner's logs in this node's mirror memory: a region as
// that of the node's own logs, but only the partner writes records into it.  A node never logs
// into its mirror memory, so a partner that wakes after a takeover and still has it mapped
// (shared memory) harms nobody.
//
//   copy of a filer:  closed --admit()--> open --kPrepare--> granted --take()--> closed
//                       ^-------------------- close() ---------------------'
//
// As owner it carries the questions of the MirroredLogs of this node.
//
// Invariants:
//   (1) Nothing is granted for a filer unless admit() was called, and for no older epoch than it
//       named or than was granted before.
//   (2) After take() the bytes that were given never change again.
//
// Ownership: borrows link and memory; the memory is the one whose windows the link grants.
// MirroredLogs end before it.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "interconnect/partner_link.h"
#include "nvlog/mirror_format.h"
#include "nvlog/request_log.h"
#include "platform/persistent_memory.h"

namespace duet::nvlog {

class MirroredLog;

class MirrorPort final : private interconnect::ChannelUser {
 public:
  MirrorPort(interconnect::PartnerLink& link, PersistentMemory& mirror,
             const std::array<std::uint64_t, 2>& pair);
  ~MirrorPort();
  MirrorPort(const MirrorPort&) = delete;
  MirrorPort& operator=(const MirrorPort&) = delete;

  // The partner owns `filer` in `epoch` or a later one, and may keep its copy here.
  void admit(std::uint32_t filer, std::uint64_t epoch);
  // It may not any more; ends its right to write.  What is there stays.
  void close(std::uint32_t filer);

  // For a takeover, after the fence and the waits: close(), and the copy as it is now.  If the
  // link can revoke, a view of the memory, else a private copy made here and now.
  // Nothing is said of its worth: recover() looks at generation, epoch and records.
  // REQUIRES: a view ends before the filer is admitted again.
  [[nodiscard]] std::unique_ptr<PersistentMemory> take(std::uint32_t filer);

  struct Copy {
    bool admitted = false;
    bool granted = false;  // a partner writes, or wrote, since this process began
    std::uint64_t epoch = 0;
    std::uint64_t mirror_generation = 0;  // 0: not complete
  };
  [[nodiscard]] Copy copy(std::uint32_t filer) const;

  [[nodiscard]] interconnect::PartnerLink& link() { return link_; }

 private:
  friend class MirroredLog;
  struct Hosted {
    bool admitted = false;
    bool granted = false;
    std::uint64_t epoch_min = 0;
  };

  void on_message(ConstBytes message) override;
  void on_link(const interconnect::LinkStatus& status) override;
  [[nodiscard]] MirrorAnswer prepare(const MirrorMessage& asked);
  [[nodiscard]] MirrorAnswer prove(const MirrorMessage& asked) const;
  [[nodiscard]] MirrorAnswer check(const MirrorMessage& asked) const;

  void enter(std::uint32_t filer, MirroredLog& log);
  void leave(std::uint32_t filer);
  std::uint64_t next_attempt() { return ++attempts_; }

  interconnect::PartnerLink& link_;
  PersistentMemory& mirror_;
  const std::array<std::uint64_t, 2> pair_;
  std::array<Hosted, kAreas> hosted_{};
  std::array<MirroredLog*, kAreas> logs_{};
  std::uint64_t attempts_ = 0;
};

}  // namespace duet::nvlog
