#include "link_peers.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace duet::raid {

namespace {

constexpr auto kChannel = interconnect::Channel::kRaid;
constexpr Duration kTryAgain = std::chrono::milliseconds(1);
constexpr std::size_t kWriteBytes = 1U << 20U;
static_assert(kWriteBytes <= interconnect::kWriteBytesMax);
static_assert(sizeof(PeersHead) + Peers::kPacketBytesMax <= interconnect::kMessageBytesMax);

std::uint16_t number(interconnect::WindowId window) { return static_cast<std::uint16_t>(window); }

}  // namespace

LinkPeers::LinkPeers(PeersPort& port, const GroupId& group, interconnect::WindowId window,
                     const PeersPort::Region& region, NodeId partner)
    : port_(port),
      group_(group),
      window_id_(window),
      region_(region),
      partner_(partner),
      later_(*this) {
  port_.peers_[number(window)] = this;
  on_link();
}

LinkPeers::~LinkPeers() {
  if (mine_ != 0) {
    static_cast<void>(say(PeersVerb::kBye, {}));
  }
  window_.reset();
  port_.link_.revoke(window_id_);
  port_.peers_[number(window_id_)] = nullptr;
}

std::uint64_t LinkPeers::session(NodeId node) const {
  return node == partner_ && theirs_ != 0 ? sessions_ : 0;
}

std::uint64_t LinkPeers::stored(NodeId node) const { return session(node) != 0 ? stored_ : 0; }

Status LinkPeers::say(PeersVerb verb, ConstBytes body) {
  const PeersHead head{.verb = static_cast<std::uint16_t>(verb),
                       .window = number(window_id_),
                       .epoch = mine_,
                       .to = theirs_};
  std::vector<std::byte> message(sizeof(head) + body.size());
  duet::store(MutableBytes(message), 0, head);
  copy_bytes(body, MutableBytes(message).subspan(sizeof(head)));
  return port_.link_.send(kChannel, message);
}

// ---- sessions

void LinkPeers::on_link() {
  end();
  mine_ = 0;
  port_.link_.revoke(window_id_);
  if (port_.reaches_partner()) {
    offer();
  }
}

void LinkPeers::offer() {
  mine_ = ++port_.epochs_;
  port_.link_.grant(window_id_, region_.offset, region_.bytes, mine_);
  say_hello();
}

void LinkPeers::say_hello() {
  const PeersHello hello{.group = group_, .region_bytes = region_.bytes};
  if (!say(PeersVerb::kHello, bytes_of(hello)).ok()) {
    // Too much waits to be sent, or the link is about to be lost: again soon.
    wake(kTryAgain);
  }
}

void LinkPeers::say_seen() {
  const PeersSeen seen{handled_};
  if (!say(PeersVerb::kSeen, bytes_of(seen)).ok()) {
    wake(kTryAgain);
  }
}

void LinkPeers::wake(Duration in) {
  if (in == Duration(0)) {
    later_.unlink();
    port_.scheduler_.post(later_);
  } else if (!later_.linked()) {
    port_.scheduler_.post_at(later_, port_.scheduler_.now() + in);
  }
}

void LinkPeers::begin(std::uint64_t theirs) {
  end();
  window_ = port_.link_.open_window(window_id_, theirs, *this);
  theirs_ = theirs;
  ++sessions_;
  stores_ = stored_ = packets_ = seen_ = handled_ = 0;
  if (user_ != nullptr) {
    user_->on_session(partner_);
  }
}

void LinkPeers::end() {
  if (theirs_ == 0) {
    return;
  }
  theirs_ = 0;
  window_.reset();
  waiting_.clear();
  under_way_.clear();
  if (user_ != nullptr) {
    user_->on_session(partner_);
  }
}

void LinkPeers::on_message(const PeersHead& head, ConstBytes body) {
  switch (static_cast<PeersVerb>(head.verb)) {
    case PeersVerb::kHello: {
      if (body.size() != sizeof(PeersHello) || head.epoch == 0) {
        return;
      }
      const auto hello = load<PeersHello>(body, 0);
      if (hello.group != group_ || hello.region_bytes != region_.bytes || mine_ == 0) {
        return;
      }
      if (head.to != mine_ && head.to != 0) {
        return;  // an answer to an offer of before; it will hear the present one
      }
      if (head.epoch != theirs_) {
        begin(head.epoch);
      }
      if (head.to != mine_) {
        say_hello();
      }
      return;
    }
    case PeersVerb::kPacket:
      if (!of_session(head) || body.size() > kPacketBytesMax) {
        return;
      }
      ++handled_;
      if (user_ != nullptr) {
        user_->on_packet(partner_, body);
      }
      if (of_session(head) && port_.link_.one_sided()) {
        say_seen();
      }
      return;
    case PeersVerb::kSeen:
      if (of_session(head) && body.size() == sizeof(PeersSeen)) {
        seen_ = std::max(seen_, std::min(packets_, load<PeersSeen>(body, 0).packets));
        pump();
      }
      return;
    case PeersVerb::kBye:
      if (of_session(head)) {
        end();
      }
      return;
  }
}

// ---- what goes out

void LinkPeers::send(NodeId to, ConstBytes packet) {
  DUET_CHECK(packet.size() <= kPacketBytesMax);
  if (session(to) == 0) {
    return;
  }
  ++packets_;
  if (waiting_.empty() && say(PeersVerb::kPacket, packet).ok()) {
    return;
  }
  waiting_.push_back({.bytes = {packet.begin(), packet.end()}});
  pump();
}

std::uint64_t LinkPeers::store(NodeId to, std::uint64_t offset, std::span<const ConstBytes> parts) {
  if (session(to) == 0) {
    return 0;
  }
  ++stores_;
  if (put_now(offset, parts)) {
    pump();
    return stores_;
  }
  Item item{.store = stores_, .offset = offset, .behind = packets_};
  for (const ConstBytes part : parts) {
    item.bytes.insert(item.bytes.end(), part.begin(), part.end());
  }
  waiting_.push_back(std::move(item));
  pump();
  return stores_;
}

// As most go: without a copy.  False: it has to wait, or is too long for one write.
bool LinkPeers::put_now(std::uint64_t offset, std::span<const ConstBytes> parts) {
  std::size_t bytes = 0;
  for (const ConstBytes part : parts) {
    bytes += part.size();
  }
  DUET_CHECK(bytes > 0);
  if (!waiting_.empty() || bytes > kWriteBytes || !window_->has_room(bytes) ||
      (port_.link_.one_sided() && seen_ < packets_)) {
    return false;
  }
  under_way_.push_back({stores_, window_->write(offset, parts)});
  return true;
}

// True: all of it has gone out.
bool LinkPeers::put(Item& item) {
  if (item.store == 0) {
    return say(PeersVerb::kPacket, item.bytes).ok();
  }
  if (port_.link_.one_sided() && seen_ < item.behind) {
    return false;
  }
  std::uint64_t last = 0;
  while (item.written < item.bytes.size()) {
    const ConstBytes rest = ConstBytes(item.bytes).subspan(item.written);
    const std::array<ConstBytes, 1> piece = {rest.first(std::min(rest.size(), kWriteBytes))};
    if (!window_->has_room(piece[0].size())) {
      return false;
    }
    last = window_->write(item.offset + item.written, piece);
    item.written += piece[0].size();
  }
  under_way_.push_back({item.store, last});
  return true;
}

void LinkPeers::pump() {
  while (!waiting_.empty() && put(waiting_.front())) {
    waiting_.pop_front();
  }
  // A write is durable at once where the partner's processor does nothing: the user hears of it in
  // a turn of its own.
  const bool done = !under_way_.empty() && window_->durable() >= under_way_.front().last_write;
  const bool packet_waits = !waiting_.empty() && waiting_.front().store == 0;
  if (done || !window_->status().ok()) {
    wake(Duration(0));
  } else if (packet_waits) {
    wake(kTryAgain);
  }
}

void LinkPeers::later() {
  if (theirs_ == 0) {
    if (mine_ != 0 && port_.reaches_partner()) {
      say_hello();
    }
    return;
  }
  if (port_.link_.one_sided() && handled_ > 0) {
    say_seen();
  }
  on_window();
}

void LinkPeers::on_window() {
  if (theirs_ == 0) {
    return;
  }
  if (!window_->status().ok()) {
    // Fenced, or a store outside of the region: what was promised of this session cannot be kept.
    // The partner hears of a new one.
    end();
    if (port_.reaches_partner()) {
      offer();
    }
    return;
  }
  const std::uint64_t before = stored_;
  while (!under_way_.empty() && under_way_.front().last_write <= window_->durable()) {
    stored_ = under_way_.front().number;
    under_way_.pop_front();
  }
  const std::uint64_t session_now = sessions_;
  if (stored_ != before && user_ != nullptr) {
    user_->on_stored(partner_);
  }
  if (theirs_ != 0 && session_now == sessions_) {
    pump();
  }
}

}  // namespace duet::raid
