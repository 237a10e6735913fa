// Filer: one served identity.  Executes each request once, and answers only what is durable.
//
//   decode handle -> export and rights -> try in memory (Attempt; load and try again) ->
//   apply + log in one turn -> wait until durable -> reply
//
// Invariants (tests name them): I4-I8 and I11 of docs/DESIGN.md.
//
// Ownership: owns its aggregate and log; borrows scheduler, clock and memory.
// Thread-safety: the strand: every function on the scheduler's thread.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "filer/exports.h"
#include "filer/request.h"
#include "nvlog/mirrored_log.h"
#include "nvlog/request_log.h"
#include "platform/clock.h"
#include "platform/entropy.h"
#include "platform/scheduler.h"
#include "platform/task.h"
#include "platform/wait.h"
#include "wafl/aggregate.h"
#include "wafl/send.h"

namespace duet::filer {

struct FilerOptions {
  std::uint64_t cache_bytes = 256U << 20U;  // of blocks in memory, dirty ones included
  Duration cp_interval = std::chrono::seconds(10);
  std::uint64_t log_entries_max = 200'000;      // a CP starts at this many: bounds replay
  std::uint64_t dirty_bytes_max = 128U << 20U;  // a CP starts at this much dirty memory
  std::uint32_t reply_cache_entries = 4096;
  std::function<void()> on_failure;  // called once, when the filer fails (see failed())
};

struct FilerStatistics {
  std::uint64_t requests = 0;
  std::uint64_t logged_records = 0;
  std::uint64_t logged_bytes = 0;
  std::uint64_t replayed_records = 0;
  Duration replay{};
  std::uint64_t reply_cache_hits = 0;
  std::uint64_t back_to_back_cps = 0;
  std::uint64_t cps_by_timer = 0, cps_by_log = 0, cps_by_memory = 0, cps_by_operator = 0;
  std::uint64_t loads = 0;  // requests that waited for disk
};

// Whether this node may answer for the filer now (rule 5 of docs/DESIGN.md, section 5).
class AnswerGate {
 public:
  // Asked last of all before each reply.
  [[nodiscard]] virtual bool may_answer() const = 0;
  // Woken when that may have become true.
  virtual WaitList& resumed() = 0;

 protected:
  ~AnswerGate() = default;
};

// How a filer of a pair is opened.  All of it is borrowed; `copy` until open() completes.
struct PairOpening {
  std::uint64_t epoch = 0;                 // as the owner record says
  const PersistentMemory* copy = nullptr;  // of the partner's log, if it may be replayed
  bool forced = false;                     // without a log the last CP alone serves (rule 13)
  nvlog::MirrorPort& port;
  nvlog::MirrorDuties& duties;
  AnswerGate& gate;
  nvlog::MirrorOptions mirror;
};

class FilerState;  // src/filer_state.h

class Filer {
 public:
  // Opens the aggregate, replays the log (which must be its own: see nvlog), runs a CP with
  // epoch + 1, and starts the log.  Error: as Aggregate::open and RequestLog::recover.
  static Task<Result<std::unique_ptr<Filer>>> open(Scheduler& scheduler, WallClock& clock,
                                                   Entropy& entropy,
                                                   std::vector<BlockDevice*> disks,
                                                   PersistentMemory& memory, FilerOptions options);
  // The same for a filer of a pair: in the epoch that the owner record gives, with a log that is
  // mirrored.  Error: as open() and MirroredLog::recover().
  static Task<Result<std::unique_ptr<Filer>>> open_in_pair(Scheduler& scheduler, WallClock& clock,
                                                           Entropy& entropy,
                                                           std::vector<BlockDevice*> disks,
                                                           PersistentMemory& memory,
                                                           FilerOptions options, PairOpening pair);
  // REQUIRES: stopped or crashed on purpose (tests): no request is running.
  ~Filer();
  Filer(const Filer&) = delete;
  Filer& operator=(const Filer&) = delete;

  // Finishes what runs, refuses what is new (kClosed), CP with "log empty".
  Task<Status> stop();

  // --- Of a pair: the filer comes to rest, and goes on or ends.

  // From now on new requests wait, and no administrative change begins (kTryAgain).
  void pause();
  void unpause();
  // What runs has ended and is durable; then a CP with "log empty".  Until resume() nothing of it
  // is under way.  REQUIRES: paused.
  // Error: kTryAgain: not by `deadline`; kIo: the filer has failed.
  Task<Status> settle(Instant deadline);
  // Requests go on.  Error: kIo.  REQUIRES: paused.
  Task<Status> resume();
  // The filer is not this node's any more: nothing is flushed, all that waits ends without an
  // answer that counts.  REQUIRES: no reply can leave; the disks end what they were given.
  // Completes when nothing of it is under way; then it may be destroyed.
  Task<void> abandon();
  // A CP soon; any number of times.
  void want_consistency_point();

  // --- NFSv3.  Every reply is durable when it is given, with all it depends on.
  // Caller, request and the bytes that they view are borrowed until the task is done.
  // Errors beside those of the procedure (RFC 1813): kBadHandle, kStaleHandle, kAccess (not
  // exported to this caller), kIo (also once the filer has failed), kClosed (it stops).
  Task<GetattrReply> getattr(const Caller& caller, ConstBytes handle);
  Task<WccReply> setattr(const Caller& caller, const SetattrRequest& request);
  Task<LookupReply> lookup(const Caller& caller, const NameRequest& request);
  Task<AccessReply> access(const Caller& caller, ConstBytes handle, std::uint32_t wanted);
  Task<ReadlinkReply> readlink(const Caller& caller, ConstBytes handle);
  Task<ReadReply> read(const Caller& caller, const ReadRequest& request);
  Task<WriteReply> write(const Caller& caller, const WriteRequest& request);
  Task<CreateReply> create(const Caller& caller, const CreateRequest& request);
  Task<CreateReply> make(const Caller& caller, const MakeRequest& request);
  Task<WccReply> remove(const Caller& caller, const NameRequest& request);
  Task<WccReply> rmdir(const Caller& caller, const NameRequest& request);
  Task<RenameReply> rename(const Caller& caller, const RenameRequest& request);
  Task<LinkReply> link(const Caller& caller, const LinkRequest& request);
  Task<ReaddirReply> readdir(const Caller& caller, const ReaddirRequest& request);
  Task<FsstatReply> fsstat(const Caller& caller, ConstBytes handle);
  Task<FsinfoReply> fsinfo(const Caller& caller, ConstBytes handle);
  Task<PathconfReply> pathconf(const Caller& caller, ConstBytes handle);
  Task<CommitReply> commit(const Caller& caller, const CommitRequest& request);
  // The write verifier: changes when unstable writes could be lost, so never here; kept by the
  // filer.
  [[nodiscard]] std::uint64_t write_verifier() const;

  // --- MOUNT.
  Task<MountReply> mount(const Caller& caller, std::string_view path);
  [[nodiscard]] std::vector<ExportLine> export_lines() const;

  // --- Administration; each completes when its CP is durable.
  Task<Status> create_volume(std::string name, std::uint64_t limit_bytes);
  // A writable volume that begins as the snapshot; see wafl::Aggregate::clone_volume.
  Task<Status> clone_volume(std::string origin, std::string snapshot, std::string name,
                            std::uint64_t limit_bytes);
  Task<Status> destroy_volume(std::string name);
  Task<Status> rename_volume(std::string from, std::string to);
  Task<Status> set_volume_limit(std::string name, std::uint64_t limit_bytes);
  Task<Status> create_snapshot(std::string volume, std::string name);
  Task<Status> delete_snapshot(std::string volume, std::string name);
  Task<Status> rename_snapshot(std::string volume, std::string from, std::string to);
  // Newer snapshots are deleted first; refused (kRefused) unless `newer` names them all, and
  // while one of them has clones.
  Task<Status> restore_snapshot(std::string volume, std::string name,
                                std::vector<std::string> newer);
  // --- Snapshots as streams (wafl/FORMAT-stream.md).

  // `from`: an older snapshot of the volume; empty: all is sent.  Error: kNotFound, kInvalid.
  Result<std::unique_ptr<wafl::SnapshotSender>> send_snapshot(const std::string& volume,
                                                              const std::string& snapshot,
                                                              const std::string& from);
  // Gives a number for receive().  A whole snapshot makes the volume; an increment goes onto one
  // whose newest snapshot is its base, and which was not changed since, unless `rollback` says that
  // this may go.  Until it ends clients cannot use the volume.  A stream that was begun on it and
  // rests is given up.  Error: kInvalid, kNotSupported (the header); kExists, kNotFound, kRefused.
  Task<Result<std::uint64_t>> begin_receive(std::string volume, std::vector<std::byte> header,
                                            bool rollback);
  // The next bytes of the stream; true: the snapshot is complete and durable.  On an error the
  // volume is what it was before, or gone if it was new.  Error: kNotFound (no such number),
  // kRefused (one piece at a time); kInvalid (the stream), kNoSpace, kOverLimit, kIo, kCorrupt.
  Task<Result<bool>> receive(std::uint64_t id, std::vector<std::byte> piece);
  Task<Status> cancel_receive(std::string volume);

  // Error: kInvalid: cannot be stored; kFileTooBig: more than kExportTableBytesMax.
  Task<Status> set_exports(ExportTable exports);
  // `change` edits the table as it is in the turn of the change, so that of two changes at once
  // neither undoes the other.  Error: what `change` gives, and then nothing changes; as above.
  Task<Status> change_exports(std::function<Status(ExportTable&)> change);
  Task<Status> add_disk(BlockDevice& device);
  // Of a pair: puts it into the root, for whoever opens the filer next.
  Task<Status> set_membership_generation(std::uint64_t generation);
  Task<Status> consistency_point();
  [[nodiscard]] const ExportTable& exports() const;

  [[nodiscard]] wafl::Aggregate& aggregate();
  [[nodiscard]] const nvlog::RequestLog& log() const;
  // Null: the filer is not one of a pair.
  [[nodiscard]] const nvlog::MirroredLog* mirrored_log() const;
  // A CP or the log could not be written: everything is answered kIo from then on.  What was
  // acknowledged is in the last CP and the log; opening the filer again replays it.
  [[nodiscard]] bool failed() const;
  [[nodiscard]] const FilerStatistics& statistics() const;

 private:
  explicit Filer(std::unique_ptr<FilerState> state);
  std::unique_ptr<FilerState> state_;
};

}  // namespace duet::filer
