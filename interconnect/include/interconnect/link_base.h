// LinkBase: what all transports do alike; for implementations of PartnerLink.
//
// State and its announcement, channels, beats, the table of granted windows.  Users are told
// in turns of their own, never inside a call of theirs.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "interconnect/partner_link.h"
#include "interconnect/wire_format.h"
#include "platform/persistent_memory.h"

namespace duet::interconnect {

// Who this node is, and whom it expects.
struct LinkIdentity {
  std::array<std::uint64_t, 2> pair{};
  Node node = Node::kA;
  Incarnation incarnation{};
};

// An area of this node's memory that the partner may write.
struct Grant {
  std::uint64_t offset = 0;  // in the memory
  std::uint64_t bytes = 0;
  std::uint64_t epoch = 0;
  friend bool operator==(const Grant&, const Grant&) = default;
};
using Grants = std::array<std::optional<Grant>, kWindows>;

// Why a write must not land; kNone: it may.  Trusts nothing in the arguments.
[[nodiscard]] WriteRefusal check_write(const Grants& grants, std::size_t window,
                                       std::uint64_t epoch, std::uint64_t offset,
                                       std::uint64_t bytes);
[[nodiscard]] Status status_of(WriteRefusal refusal);

class LinkBase : public PartnerLink {
 public:
  [[nodiscard]] LinkStatus status() const override { return status_; }
  [[nodiscard]] const LinkCounters& counters() const override { return counters_; }
  void attach(Channel channel, ChannelUser* user) override;
  void grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
             std::uint64_t epoch) override;
  void revoke(WindowId window) override;

 protected:
  LinkBase(Scheduler& scheduler, PersistentMemory& memory, const LinkIdentity& identity);
  ~LinkBase() override = default;

  // A session begins; users are told.
  void begin_session(Incarnation peer);
  // The session, if there is one, has ended.  `reason` is a literal.
  void end_session(std::string_view reason);
  void saw_beat(std::uint64_t beat);
  // Gives a message to its user, after all that happened before it was announced.
  void deliver(Channel channel, ConstBytes message);

  Scheduler& scheduler_;
  PersistentMemory& memory_;
  const LinkIdentity identity_;
  LinkStatus status_;
  LinkCounters counters_;
  Grants grants_;

 private:
  struct Announcer final : Continuation {
    explicit Announcer(LinkBase& link) : owner(link) {}
    void run() override { owner.announce(); }
    LinkBase& owner;
  };
  void announce();

  std::array<ChannelUser*, kChannels> users_{};
  Announcer announcer_;
};

// The common part of a RemoteWindow: its numbers, and the turn in which the user is told.
class WindowBase : public RemoteWindow {
 public:
  [[nodiscard]] std::uint64_t durable() const final { return durable_; }
  [[nodiscard]] Status status() const final { return window_status_; }

 protected:
  WindowBase(Scheduler& scheduler, RemoteWindowUser& user) : scheduler_(scheduler), teller_(user) {}
  ~WindowBase() override = default;

  void reach(std::uint64_t number);
  void fail(const Error& error);
  void tell();  // in a turn to come, once
  void reach_at_once(std::uint64_t number) { durable_ = number; }
  void fail_at_once(const Error& error) { window_status_ = error; }

 private:
  struct Teller final : Continuation {
    explicit Teller(RemoteWindowUser& user) : to(user) {}
    void run() override { to.on_window(); }
    RemoteWindowUser& to;
  };
  Scheduler& scheduler_;
  Teller teller_;
  std::uint64_t durable_ = 0;
  Status window_status_ = Ok{};
};

}  // namespace duet::interconnect
