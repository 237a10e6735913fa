// PartnerLink: what one node of a pair says to the other, and writes into the other's memory.
//
//                    +-------- messages (8 channels, ordered) --------+
//   this node -------+                                                +------- partner
//                    +-------- remote writes into its windows --------+
//
//   state:   kLost --session--> kUp (the process we knew, or the first one)
//              ^        +-----> kReset (up, and the partner is another process than last time)
//              +---- broken, silent, refused: everything under way is lost ----+
//
// A session is one unbroken time of being connected.
//
// What holds on every transport:
//   (1) Order.  Within a session messages and remote writes arrive in the order in which they
//       were given to the link, over all channels and windows, at most once, without gaps: a
//       message that follows a write arrives when the write is durable there.
//   (2) Durable.  durable() of a RemoteWindow has reached a write: its bytes survive a power loss
//       of the partner.  It does not prove that the partner's process lives, still owns
//       anything, or will use them.
//   (3) Loss.  When a session ends nothing more completes.  Of what had not completed, each
//       message has arrived or not, and each write is there, not there, or torn anywhere, but
//       none is missing before one that is whole.  None of it arrives in, or after the start of, a
//       later session.
//   (4) Epochs.  A write lands only in a window that its owner has granted for the write's
//       epoch; else the RemoteWindow fails with kFenced and nothing of this write or a later one
//       lands.  After revoke() returned no write of the partner lands, if revocable().
//   (5) A turned bit on the way never arrives: it ends the session, and is counted.
//   (6) What is given to the link in one turn goes as one packet.
//
// A link that cannot revoke() is shared memory: the partner may be stopped between its look at
// the grant and its last store, and go on at any later time.  Whoever needs a still area copies it
// once, uses the copy, and grants that memory to no other process before the old one is gone.
//
// Not promised: that a send arrives (ask the partner to answer), or any delay.
//
// Ownership: borrows the scheduler and the memory that it grants.  Handlers, windows and their
// users end before the link.
// Thread-safety: the scheduler's thread, for everything here.  The memory of the windows is
// written in turns of that thread (streams), or at any time by the partner's processor (shared
// memory): only the partner writes inside a granted window.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/scheduler.h"

namespace duet::interconnect {

// Drawn at random when a process starts; never zero.
enum class Incarnation : std::uint64_t {};

// The two nodes of a pair.
enum class Node : std::uint8_t { kA = 0, kB = 1 };
constexpr Node partner_of(Node node) { return node == Node::kA ? Node::kB : Node::kA; }

// Who talks.  The numbers stand in the wire format.
enum class Channel : std::uint8_t { kFailover = 0, kLog = 1, kRaid = 2, kClients = 3 };
inline constexpr std::size_t kChannels = 8;
inline constexpr std::size_t kMessageBytesMax = 16U << 10U;

// An area of a node's memory, as both nodes call it: of the log, the filer's number.
enum class WindowId : std::uint8_t {};
inline constexpr std::size_t kWindows = 8;
// Of one remote write: a log record, its header included, and some more.
inline constexpr std::size_t kWriteBytesMax = (1U << 20U) + (128U << 10U);

enum class LinkState : std::uint8_t { kLost, kUp, kReset };
constexpr bool connected(LinkState state) { return state != LinkState::kLost; }

struct LinkStatus {
  LinkState state = LinkState::kLost;
  std::uint64_t session = 0;    // the present one, or the last; grows by one
  Incarnation peer{};           // of that session; zero before the first
  std::uint64_t peer_beat = 0;  // what the partner's application said last
  Instant beat_changed{};       // when that was seen to change, by this node's clock
  Instant since{};              // of `state`
  std::string_view reason;      // why it is lost; a literal
};

// Since the link was made.  Each is shown in status and metrics.
struct LinkCounters {
  std::uint64_t sessions = 0;
  std::uint64_t losses = 0;
  std::uint64_t resets = 0;         // sessions with another incarnation than the one before
  std::uint64_t attempts = 0;       // connections tried or taken
  std::uint64_t refused_peers = 0;  // connections that were not our partner, or not its build
  std::uint64_t refused_here = 0;   // of those, refused by the partner
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t packets_sent = 0;  // groups of messages and writes
  std::uint64_t packets_received = 0;
  std::uint64_t bytes_sent = 0;  // before encryption
  std::uint64_t bytes_received = 0;
  std::uint64_t writes_sent = 0;
  std::uint64_t write_bytes_sent = 0;
  std::uint64_t writes_durable = 0;   // at the partner
  std::uint64_t writes_fenced = 0;    // refused by the partner
  std::uint64_t writes_received = 0;  // none with shared memory: this processor does not see them
  std::uint64_t write_bytes_received = 0;
  std::uint64_t writes_refused = 0;   // stale epoch, no window, outside of it
  std::uint64_t damaged_packets = 0;  // checksum or shape wrong
  std::uint64_t silences = 0;         // sessions ended because nothing came
  std::uint64_t wakeups = 0;          // times the partner had to be woken (shared memory)
};

// What the user of a channel is told, in turns of its own.
class ChannelUser {
 public:
  // REQUIRES: does not destroy the link.  `message` is valid during the call.
  virtual void on_message(ConstBytes message) = 0;
  // A session began or ended.  What is sent in here belongs to the new session.
  virtual void on_link(const LinkStatus& status) = 0;

 protected:
  ~ChannelUser() = default;
};

class RemoteWindowUser {
 public:
  // durable() or status() of the window has changed outside of write(); once for many writes.
  virtual void on_window() = 0;

 protected:
  ~RemoteWindowUser() = default;
};

// The right to write into one window of the partner, in one session.
//
//   open --refused, revoked, session ended--> failed, for good
//
// Destroying it abandons what is under way: as (3).
class RemoteWindow {
 public:
  virtual ~RemoteWindow() = default;
  RemoteWindow(const RemoteWindow&) = delete;
  RemoteWindow& operator=(const RemoteWindow&) = delete;

  // Whether the link takes a write of that many bytes now.  When it did not, on_window() is
  // called once it may.  Always true while the window has failed: the write fails as well.
  [[nodiscard]] virtual bool has_room(std::size_t bytes) = 0;

  // Writes the concatenation of `parts` at `offset` of the window, durably.  Parts are stored
  // in order, and persisted before a later write is stored.  They are not needed after the call.
  // Returns the number of the write: 1, 2, 3, ...
  // REQUIRES: has_room(); 0 < bytes <= kWriteBytesMax.
  virtual std::uint64_t write(std::uint64_t offset, std::span<const ConstBytes> parts) = 0;

  // Every write up to this number is durable at the partner.
  [[nodiscard]] virtual std::uint64_t durable() const = 0;

  // kFenced: the partner has not granted this epoch.  kClosed: the session ended.  kInvalid: a
  // write outside of the window.  kIo: the partner's memory failed.  Writes above durable() are
  // then as (3) says.
  [[nodiscard]] virtual Status status() const = 0;

 protected:
  RemoteWindow() = default;
};

class PartnerLink {
 public:
  virtual ~PartnerLink() = default;
  PartnerLink(const PartnerLink&) = delete;
  PartnerLink& operator=(const PartnerLink&) = delete;

  [[nodiscard]] virtual LinkStatus status() const = 0;
  [[nodiscard]] virtual const LinkCounters& counters() const = 0;

  // Null: nobody.  Messages for a channel that has no user are dropped.
  // An attached user hears of the next change; ask status() for the present.
  virtual void attach(Channel channel, ChannelUser* user) = 0;

  // Sends `message`; it leaves at the end of the turn.
  // REQUIRES: message.size() <= kMessageBytesMax.
  // Error: kClosed: no session; kTryAgain: too much waits to be sent.
  virtual Status send(Channel channel, ConstBytes message) = 0;

  // The application has made progress.  The partner sees the number of calls change.
  virtual void beat() = 0;

  // Lets the partner write [offset, offset + bytes) of the memory of this link in `epoch`, in
  // place of what was granted before.  Tell it by a message: it cannot see the grant.
  // REQUIRES: inside the memory; multiples of 64.
  virtual void grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
                     std::uint64_t epoch) = 0;
  // Ends the grant: at once if revocable(), else as soon as the partner looks.
  virtual void revoke(WindowId window) = 0;
  [[nodiscard]] virtual bool revocable() const = 0;

  // A write into a window of the partner is durable when write() returns.
  [[nodiscard]] virtual bool one_sided() const = 0;

  // A right for `epoch` in the present session; without one it has failed from the start.
  // REQUIRES: at most one per window at a time; `user` outlives it.
  virtual std::unique_ptr<RemoteWindow> open_window(WindowId window, std::uint64_t epoch,
                                                    RemoteWindowUser& user) = 0;

 protected:
  PartnerLink() = default;
};

}  // namespace duet::interconnect
