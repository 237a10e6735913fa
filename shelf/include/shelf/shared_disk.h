// SharedDisk: a disk that both nodes reach, and the means to shut one of them out.
//
// A node's process has one SharedDisk per disk, and a key that names {node, incarnation}.
// The target keeps the registered keys, one reservation and one epoch, durably:
//
//   keys         who may write; register_key() adds mine, preempt_and_abort() removes another's
//   reservation  what those without a key may not do; without one everybody may do everything
//   epoch        the newest that raise_epoch() told it of; I/O of an older one is refused
//
// Who holds the reservation loses it by release(), unregister_key(), clear(), or to the one who
// preempts its key.  Any registrant may write whoever holds it ("registrants only").
//
// What callers may rely on, and which of DESIGN's rules does (section 5):
//   (1) A write is checked when the target starts it.  Of a key that is not registered (under a
//       reservation), or of an epoch below the target's, it completes with kFenced and has changed
//       nothing.  (rules 9, 10; I10)
//   (2) When a preempt_and_abort() or raise_epoch() has completed, every write that it shuts out
//   has
//       ended or never will begin: nothing lands late.  (rules 3, 8)
//   (3) A command that completed with Ok is durable, as far as features() says.  (rule 10)
//   (4) When a process with a newer incarnation, or a newer connection of this one, has been let
//       in, everything of the older has ended.  (rule 10)
//   (5) A compare-and-swap is atomic against every other and against writes of its block; of two
//       that expect the same exactly one succeeds.  (rule 3, rule 8 "swap ownership")
//   (6) Everything may be repeated: commands that find their work done succeed.
//   (7) I/O completes in no order, except that what was started before a register_key() reaches the
//       target before it.  The caller still waits until all its I/O has ended before it registers
//       a key that was removed.  (rule 10)
//
// Implementations: ShelfDisk (a shelf), later iSCSI and kernel block devices with persistent
// reservations; SimInitiator in shelf/testing.
//
// Ownership, completion and lifetime as BlockDevice: the caller owns commands and their bytes until
// run() is called, once, in a later turn.  Thread-safety: the scheduler's thread only.

#pragma once

#include <coroutine>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/block_device.h"

namespace duet::shelf {

// The registration of one process: node in the highest byte (plus one, so never zero),
// incarnation below.  A target of other makers may hold keys that mean nothing to us.
enum class DiskKey : std::uint64_t {};

inline constexpr DiskKey kNoKey{0};
inline constexpr std::uint64_t kIncarnationMax = (std::uint64_t{1} << 56U) - 1;
inline constexpr std::uint8_t kNodeMax = 0xFD;

// REQUIRES: node <= kNodeMax; incarnation <= kIncarnationMax, and greater than that of any earlier
// process of the node.
[[nodiscard]] constexpr DiskKey make_key(std::uint8_t node, std::uint64_t incarnation) {
  DUET_CHECK(node <= kNodeMax && incarnation <= kIncarnationMax);
  return DiskKey{(std::uint64_t{node} + 1) << 56U | incarnation};
}
[[nodiscard]] constexpr std::uint64_t incarnation_of(DiskKey key) {
  return static_cast<std::uint64_t>(key) & kIncarnationMax;
}
// 255 for a key that make_key() does not make.
[[nodiscard]] constexpr std::uint8_t node_of(DiskKey key) {
  return static_cast<std::uint8_t>((static_cast<std::uint64_t>(key) >> 56U) - 1);
}

// What those without a registered key are refused.
enum class Reservation : std::uint8_t {
  kNone = 0,
  kWriteExclusive = 1,   // writes
  kExclusiveAccess = 2,  // reads as well
};

// What the target holds for this disk.
struct DiskState {
  std::vector<DiskKey> keys;  // registered, ascending
  Reservation reservation = Reservation::kNone;
  DiskKey holder = kNoKey;       // of the reservation; one of `keys`
  std::uint64_t generation = 0;  // grows with each change of `keys`
  std::uint64_t epoch = 0;       // I/O that carries an older one is refused; 0: none yet

  friend bool operator==(const DiskState&, const DiskState&) = default;
};

// What the target was found to do, by asking and trying, never by its name.  Final once
// register_key() has succeeded: some tries need a key.
struct DiskFeatures {
  // Keys and reservation outlive a restart and a loss of power of the target.  Without it the
  // target cannot be the only fence (rule 10).
  bool survives_power_loss = false;
  // preempt_and_abort() itself ends what the key has under way; false: it was emulated (removal,
  // then a reset), and guarantee (2) is as good as that reset.
  bool drains_on_abort = false;
  bool exclusive_access = false;  // Reservation::kExclusiveAccess
  bool compare_and_swap = false;  // false: swap_block() of shelf/fence.h uses the keys
  bool epochs = false;  // false: raise_epoch() is kNotSupported, use_epoch() has no effect

  friend bool operator==(const DiskFeatures&, const DiskFeatures&) = default;
};

// How the connection to the target is.  While it is down I/O waits, and fails with kIo once that
// has lasted as long as the disk was told.
struct DiskHealth {
  bool connected = true;
  Instant since{};                // when `connected` became so
  std::uint64_t reconnects = 0;   // sessions after the first
  std::uint64_t operations = 0;   // I/O and commands that wait for the target now
  std::string_view last_error{};  // a literal: why the connection was lost or refused; or empty
};

// What a command asks for; which fields count depends on `kind`.
struct DiskRequest {
  enum class Kind : std::uint8_t {
    kRegister = 1,
    kUnregister,
    kReserve,
    kRelease,
    kPreemptAndAbort,
    kClear,
    kReadState,
    kRaiseEpoch,
    kCompareAndSwap,
    kWriteDurable,
  };
  Kind kind = Kind::kReadState;
  Reservation reservation = Reservation::kNone;  // kReserve, kPreemptAndAbort
  DiskKey victim = kNoKey;                       // kPreemptAndAbort
  std::uint64_t epoch = 0;                       // kRaiseEpoch
  std::uint64_t block = 0;                       // kCompareAndSwap, kWriteDurable
  std::span<const MutableBytes> parts{};         // kWriteDurable, as BlockOperation's
  ConstBytes expected{};                         // kCompareAndSwap: kBlockBytes each
  ConstBytes desired{};
};

// One command; the caller owns it and what it views until run() is called, once, in a later turn.
struct DiskCommand : Continuation {
  DiskRequest request;
  DiskState state{};  // kReadState gives it
  Status result = Ok{};

 protected:
  explicit DiskCommand(const DiskRequest& what) : request(what) {}
  ~DiskCommand() = default;
};

class SharedDisk : public BlockDevice {
 public:
  class Command;
  class StateCommand;

  // Mine.
  [[nodiscard]] virtual DiskKey key() const = 0;
  [[nodiscard]] virtual DiskFeatures features() const = 0;
  [[nodiscard]] virtual DiskHealth health() const = 0;

  // I/O started from now on carries this epoch, that of the filer whose blocks they are; 0, the
  // value to begin with: none, and only the key counts (mailbox of a node that hosts nothing here).
  // Commands never carry one: they are about ownership, and decide it.
  virtual void use_epoch(std::uint64_t epoch) = 0;

  // Starts `command`; its run() is called in a later turn, once `result` is set.
  // Errors of all: kIo, kClosed; kFenced where noted; kNotSupported as features() says.
  virtual void start_command(DiskCommand& command) = 0;

  // co_await forms.  What they view outlives the wait.

  // Adds my key.  Keys of older incarnations of my node stay: remove them (rule 3), for they
  // may have writes under way.
  // kFenced: a newer incarnation of my node is registered, or connected.
  Command register_key();
  // Removes my key, and the reservation if I hold it.
  Command unregister_key();
  // kFenced: my key is not registered.  kRefused: another holds one, or I hold the other kind.
  Command reserve(Reservation kind);
  // Ends the reservation that I hold; nothing happens when I hold none.
  Command release();
  // Removes `victim`; when it held the reservation I hold it now, as `kind`.  Completes when the
  // removal is durable and nothing of that key is under way any more.  A key that is not there is
  // drained all the same.
  // kFenced: my key is not registered: of two that preempt each other exactly one wins.
  // REQUIRES: victim != key(); kind != kNone.
  Command preempt_and_abort(DiskKey victim, Reservation kind);
  // Removes all keys, mine as well, and the reservation, and drains.  For formatting, and for
  // operators. kFenced: my key is not registered.
  Command clear();
  // Needs no key.
  StateCommand read_state();
  // Completes when I/O of epochs below `epoch` is refused, durably, and none is under way.
  // kFenced: my key is not registered, or the target knows a newer epoch.
  Command raise_epoch(std::uint64_t epoch);
  // Writes `desired` if the block holds `expected`; durable when it completes.  Power loss keeps or
  // loses it whole when they differ in one 512-byte sector only.  `desired` must be unlike any
  // other value ever swapped in (a record with incarnation and epoch is): that tells a repeated
  // swap whose answer was lost from one that came too late. kOutOfSync: the block holds something
  // else; nothing was changed.  kFenced as a write.
  Command compare_and_swap(std::uint64_t block, ConstBytes expected, ConstBytes desired);
  // A write that is durable when it completes (FUA), without the others that a flush covers.
  // Carries the epoch, as a write does.
  Command write_durable(std::uint64_t block, std::span<const MutableBytes> parts);
};

class [[nodiscard]] SharedDisk::Command final : public DiskCommand {
 public:
  Command(SharedDisk& disk, const DiskRequest& what) : DiskCommand(what), disk_(disk) {}
  void run() override { coroutine_.resume(); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    disk_.start_command(*this);
  }
  Status await_resume() const { return result; }

 private:
  SharedDisk& disk_;
  std::coroutine_handle<> coroutine_;
};

class [[nodiscard]] SharedDisk::StateCommand final : public DiskCommand {
 public:
  explicit StateCommand(SharedDisk& disk) : DiskCommand(DiskRequest{}), disk_(disk) {}
  void run() override { coroutine_.resume(); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    disk_.start_command(*this);
  }
  Result<DiskState> await_resume() {
    if (!result.ok()) {
      return result.error();
    }
    return std::move(state);
  }

 private:
  SharedDisk& disk_;
  std::coroutine_handle<> coroutine_;
};

inline SharedDisk::Command SharedDisk::register_key() {
  return {*this, {.kind = DiskRequest::Kind::kRegister}};
}
inline SharedDisk::Command SharedDisk::unregister_key() {
  return {*this, {.kind = DiskRequest::Kind::kUnregister}};
}
inline SharedDisk::Command SharedDisk::reserve(Reservation kind) {
  return {*this, {.kind = DiskRequest::Kind::kReserve, .reservation = kind}};
}
inline SharedDisk::Command SharedDisk::release() {
  return {*this, {.kind = DiskRequest::Kind::kRelease}};
}
inline SharedDisk::Command SharedDisk::preempt_and_abort(DiskKey victim, Reservation kind) {
  return {*this,
          {.kind = DiskRequest::Kind::kPreemptAndAbort, .reservation = kind, .victim = victim}};
}
inline SharedDisk::Command SharedDisk::clear() {
  return {*this, {.kind = DiskRequest::Kind::kClear}};
}
inline SharedDisk::StateCommand SharedDisk::read_state() { return StateCommand(*this); }
inline SharedDisk::Command SharedDisk::raise_epoch(std::uint64_t epoch) {
  return {*this, {.kind = DiskRequest::Kind::kRaiseEpoch, .epoch = epoch}};
}
inline SharedDisk::Command SharedDisk::compare_and_swap(std::uint64_t block, ConstBytes expected,
                                                        ConstBytes desired) {
  return {*this,
          {.kind = DiskRequest::Kind::kCompareAndSwap,
           .block = block,
           .expected = expected,
           .desired = desired}};
}
inline SharedDisk::Command SharedDisk::write_durable(std::uint64_t block,
                                                     std::span<const MutableBytes> parts) {
  return {*this, {.kind = DiskRequest::Kind::kWriteDurable, .block = block, .parts = parts}};
}

}  // namespace duet::shelf
