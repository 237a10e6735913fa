#include "interconnect/link_base.h"

#include "base/check.h"

namespace duet::interconnect {

WriteRefusal check_write(const Grants& grants, std::size_t window, std::uint64_t epoch,
                         std::uint64_t offset, std::uint64_t bytes) {
  if (window >= kWindows || !grants[window].has_value() || grants[window]->epoch != epoch) {
    return WriteRefusal::kFenced;
  }
  const std::uint64_t room = grants[window]->bytes;
  const bool inside =
      bytes > 0 && bytes <= kWriteBytesMax && offset <= room && bytes <= room - offset;
  return inside ? WriteRefusal::kNone : WriteRefusal::kOutside;
}

Status status_of(WriteRefusal refusal) {
  switch (refusal) {
    case WriteRefusal::kNone:
      return Ok{};
    case WriteRefusal::kFenced:
      return Error{Errc::kFenced, "link: the partner has not granted this epoch"};
    case WriteRefusal::kOutside:
      return Error{Errc::kInvalid, "link: outside of the partner's window"};
    case WriteRefusal::kIo:
      break;
  }
  return Error{Errc::kIo, "link: the partner's memory failed"};
}

LinkBase::LinkBase(Scheduler& scheduler, PersistentMemory& memory, const LinkIdentity& identity)
    : scheduler_(scheduler), memory_(memory), identity_(identity), announcer_(*this) {
  DUET_CHECK(identity.incarnation != Incarnation{});
  status_.since = scheduler.now();
  status_.reason = "not connected yet";
}

void LinkBase::attach(Channel channel, ChannelUser* user) {
  const auto index = static_cast<std::size_t>(channel);
  DUET_CHECK(index < kChannels);
  DUET_CHECK(user == nullptr || users_[index] == nullptr);
  users_[index] = user;
}

void LinkBase::grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
                     std::uint64_t epoch) {
  const std::uint64_t memory_bytes = memory_.bytes().size();
  DUET_CHECK(static_cast<std::size_t>(window) < kWindows);
  DUET_CHECK(offset <= memory_bytes && bytes <= memory_bytes - offset);
  DUET_CHECK(offset % 64 == 0 && bytes % 64 == 0);
  grants_[static_cast<std::size_t>(window)] = Grant{offset, bytes, epoch};
}

void LinkBase::revoke(WindowId window) {
  DUET_CHECK(static_cast<std::size_t>(window) < kWindows);
  grants_[static_cast<std::size_t>(window)].reset();
}

void LinkBase::begin_session(Incarnation peer) {
  DUET_CHECK(!connected(status_.state));
  const bool another = status_.session != 0 && status_.peer != peer;
  if (status_.peer != peer) {
    status_.peer_beat = 0;
  }
  status_.state = another ? LinkState::kReset : LinkState::kUp;
  status_.peer = peer;
  status_.reason = {};
  status_.since = status_.beat_changed = scheduler_.now();
  ++status_.session;
  ++counters_.sessions;
  counters_.resets += another ? 1 : 0;
  if (!announcer_.linked()) {
    scheduler_.post(announcer_);
  }
}

void LinkBase::end_session(std::string_view reason) {
  if (!connected(status_.state)) {
    return;
  }
  status_.state = LinkState::kLost;
  status_.reason = reason;
  status_.since = scheduler_.now();
  ++counters_.losses;
  if (!announcer_.linked()) {
    scheduler_.post(announcer_);
  }
}

void LinkBase::saw_beat(std::uint64_t beat) {
  if (beat != status_.peer_beat) {
    status_.peer_beat = beat;
    status_.beat_changed = scheduler_.now();
  }
}

void LinkBase::deliver(Channel channel, ConstBytes message) {
  if (announcer_.linked()) {
    announcer_.unlink();
    announce();
  }
  ++counters_.messages_received;
  const auto index = static_cast<std::size_t>(channel);
  if (index < kChannels && users_[index] != nullptr) {
    users_[index]->on_message(message);
  }
}

void LinkBase::announce() {
  const LinkStatus now = status_;
  for (std::size_t i = 0; i < kChannels; ++i) {
    if (users_[i] != nullptr) {
      users_[i]->on_link(now);
    }
  }
}

void WindowBase::reach(std::uint64_t number) {
  DUET_CHECK(number >= durable_);
  if (number > durable_ && window_status_.ok()) {
    durable_ = number;
    tell();
  }
}

void WindowBase::fail(const Error& error) {
  if (window_status_.ok()) {
    window_status_ = error;
    tell();
  }
}

void WindowBase::tell() {
  if (!teller_.linked()) {
    scheduler_.post(teller_);
  }
}

}  // namespace duet::interconnect
