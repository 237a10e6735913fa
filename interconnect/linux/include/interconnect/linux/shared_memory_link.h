// SharedMemoryLink: the partner link of two nodes on one host.
//
//   remote writes   straight into the partner's memory file, mapped here: its processor does
//                   nothing for them, and they are durable when write() returns
//   messages        through the partner's inbox, a ring in a file that both map
//   life            a Unix socket: closed by the kernel when the other process ends, whatever
//                   the way; and a byte on it wakes a partner that sleeps
//
//   connect or accept -> hello both ways -> each maps the other's inbox and memory -> ready
//   both ways -> session, until the socket ends
//
// Each session has inboxes of its own, so an older partner that still runs writes into files
// that nobody reads.  Its mapping of this node's memory cannot be taken away: not revocable.
// A partner that is stopped stays connected, and does not slow the writes; its beat says so.
//
// Ownership: borrows everything it is given.  Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <memory>
#include <string>

#include "interconnect/link_base.h"
#include "platform/entropy.h"
#include "platform/linux/persistent_memory.h"
#include "platform/linux/tcp.h"
#include "platform/task.h"
#include "platform/task_scope.h"

namespace duet::interconnect {

struct SharedMemoryLinkOptions {
  bool connects = false;    // exactly one of the two ends does
  std::string socket_path;  // where the other one listens
  std::string inbox_path;   // of this node; made anew for each session
  std::string partner_inbox_path;
  std::string partner_memory_path;  // the file that the partner's link grants windows of
  bool accept_volatile = false;     // the partner's memory may be an ordinary file
  Duration retry = std::chrono::milliseconds(20);  // between tries to connect
};

class Inbox;
class SharedWindow;
struct InboxHello;

class SharedMemoryLink final : public LinkBase {
 public:
  // `memory`: this node's, of which windows are granted.
  SharedMemoryLink(os::EpollScheduler& scheduler, PersistentMemory& memory, Entropy& entropy,
                   const LinkIdentity& identity, SharedMemoryLinkOptions options);
  ~SharedMemoryLink() override;

  // Of the end that listens: why it does not, if so.
  [[nodiscard]] Status listening() const { return listening_; }

  // Kills the process that the last session was with, and before it the one above it if that is the
  // same program (its supervisor, which may hold its listeners), and waits until both are gone: for
  // who fences it.
  // Ok too when it was gone already.  Error: kIo: it does not end; kAccess: it is not ours to kill.
  Status kill_partner();

  // Whether the process of the last session, which was `peer`, has ended.
  [[nodiscard]] bool partner_gone(Incarnation peer) const;

  [[nodiscard]] LinkStatus status() const override;
  Status send(Channel channel, ConstBytes message) override;
  void beat() override;
  void grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
             std::uint64_t epoch) override;
  void revoke(WindowId window) override;
  [[nodiscard]] bool revocable() const override { return false; }
  [[nodiscard]] bool one_sided() const override { return true; }
  std::unique_ptr<RemoteWindow> open_window(WindowId window, std::uint64_t epoch,
                                            RemoteWindowUser& user) override;

 private:
  friend class SharedWindow;
  // One connection: its socket, and what is mapped for it.
  struct Session;
  struct Flush final : Continuation {
    explicit Flush(SharedMemoryLink& link) : owner(link) {}
    void run() override { owner.flush(); }
    SharedMemoryLink& owner;
  };

  Task<void> connect_for_ever();
  Task<void> accept_for_ever();
  Task<void> serve(std::unique_ptr<os::TcpStream> stream);
  Task<Status> shake_hands(Session& session);
  Task<Status> read_exactly(Session& session, MutableBytes into);
  Task<Status> say(Session& session, ConstBytes what);
  Task<Status> hear_hello(Session& session, InboxHello& hello);
  Task<Status> say_hello(Session& session);
  Task<Status> say_who(Session& session);
  Task<void> hear_bells(Session& session);
  [[nodiscard]] Status check(const InboxHello& hello);
  Status make_inbox(Session& session);
  Status map_partner(Session& session, const InboxHello& hello);
  // False: what is there is damaged.
  bool drain(Session& session);
  void flush();
  void ring_bell(Session& session);
  void end(Session& session, std::string_view reason);
  void close_both();
  void watch_process(int process);

  os::EpollScheduler& epoll_;
  Entropy& entropy_;
  const SharedMemoryLinkOptions options_;
  std::unique_ptr<os::TcpListener> listener_;
  Status listening_ = Ok{};
  Session* session_ = nullptr;  // the one that is up; its serve() owns it
  // Pidfds of the process of the last session, and of the same program above it; -1: none.
  int partner_ = -1;
  int partner_parent_ = -1;
  std::uint64_t beat_ = 0;
  mutable std::uint64_t seen_beat_ = 0;
  mutable Instant seen_beat_at_{};
  std::array<SharedWindow*, kWindows> windows_{};
  std::array<std::byte, kMessageBytesMax> message_{};
  Flush flush_;
  TaskScope scope_;
};

}  // namespace duet::interconnect
