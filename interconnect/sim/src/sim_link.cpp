#include "interconnect/sim/sim_link.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"

namespace duet::interconnect {

namespace {

constexpr Error kNoSession{Errc::kClosed, "link: no session"};
constexpr std::uint64_t kDelaySteps = 8;  // few, so that arrivals coincide and their order is drawn

std::vector<std::byte> gather(std::span<const ConstBytes> parts) {
  std::vector<std::byte> bytes;
  for (const ConstBytes part : parts) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

}  // namespace

struct SimMessage {
  Channel channel;
  std::vector<std::byte> bytes;
};
struct SimWrite {
  std::size_t window;
  std::uint64_t right;
  std::uint64_t number;  // as the window counts
  std::uint64_t epoch;
  std::uint64_t offset;
  std::vector<std::byte> bytes;
};
struct SimDone {
  std::size_t window;
  std::uint64_t right;
  std::uint64_t number;
  std::size_t bytes;
  WriteRefusal refusal;
};

struct SimWire::Packet {
  std::uint64_t session = 0;
  std::uint64_t beat = 0;
  bool close = false;  // the sender's end of the session
  std::vector<std::variant<SimMessage, SimWrite, SimDone>> items;
};

struct SimWire::Direction {
  struct Arrival final : Continuation {
    explicit Arrival(Direction& direction) : owner(direction) {}
    void run() override { owner.wire.deliver(owner); }
    Direction& owner;
  };
  struct Silence final : Continuation {
    explicit Silence(Direction& direction) : owner(direction) {}
    void run() override { owner.wire.notice_silence(owner); }
    Direction& owner;
  };
  Direction(SimWire& owner, Node sender)
      : wire(owner), from(sender), arrival(*this), silence(*this) {}

  SimWire& wire;
  const Node from;
  std::deque<Packet> under_way;
  bool is_cut = false;
  Arrival arrival;
  Silence silence;
};

class SimWindow final : public WindowBase {
 public:
  SimWindow(Scheduler& scheduler, SimLink* link, std::size_t id, std::uint64_t epoch,
            std::uint64_t right, RemoteWindowUser& user)
      : WindowBase(scheduler, user), link_(link), id_(id), epoch_(epoch), right_(right) {
    if (link_ == nullptr) {
      fail_at_once(kNoSession);
    }
  }
  ~SimWindow() override {
    if (link_ != nullptr) {
      link_->windows_[id_] = nullptr;
    }
  }
  [[nodiscard]] bool has_room(std::size_t bytes) override {
    wants_room_ = link_ != nullptr && status().ok() && link_->under_way_ > 0 &&
                  link_->under_way_ + bytes > link_->wire_.options_.queued_bytes_max;
    return !wants_room_;
  }
  std::uint64_t write(std::uint64_t offset, std::span<const ConstBytes> parts) override {
    ++written_;
    if (link_ != nullptr && status().ok()) {
      link_->one_sided() ? link_->write_at_once(*this, offset, parts)
                         : link_->write_later(*this, offset, parts);
    }
    return written_;
  }

 private:
  friend class SimLink;
  void session_ended() {
    link_ = nullptr;
    fail(kNoSession);
  }
  SimLink* link_;
  const std::size_t id_;
  const std::uint64_t epoch_;
  const std::uint64_t right_;
  std::uint64_t written_ = 0;
  Grant seen_;  // when it last looked
  bool wants_room_ = false;
};

// ---- the wire

SimWire::SimWire(sim::SimScheduler& scheduler, const SimWireOptions& options)
    : scheduler_(scheduler),
      options_(options),
      directions_{std::make_unique<Direction>(*this, Node::kA),
                  std::make_unique<Direction>(*this, Node::kB)},
      connect_(*this) {}

SimWire::~SimWire() { DUET_CHECK(ends_[0] == nullptr && ends_[1] == nullptr); }

Duration SimWire::delay(Duration max) {
  const auto step = static_cast<std::int64_t>(scheduler_.random().below(kDelaySteps) + 1);
  return max * step / static_cast<std::int64_t>(kDelaySteps);
}

std::unique_ptr<SimLink> SimWire::open(const LinkIdentity& identity, PersistentMemory& memory) {
  SimLink*& end = ends_[index(identity.node)];
  DUET_CHECK(end == nullptr);
  std::unique_ptr<SimLink> link(new SimLink(*this, identity, memory));
  end = link.get();
  silent_[index(identity.node)] = false;
  post_connect();
  return link;
}

void SimWire::closed(Node node) {
  SimLink* const end = std::exchange(ends_[index(node)], nullptr);
  if (end->wire_session_ != 0 && !silent_[index(node)]) {
    Packet close;
    close.session = end->wire_session_;
    close.beat = end->beat_;
    close.close = true;
    send(node, std::move(close));
  }
  SimLink* const other = ends_[index(partner_of(node))];
  if (silent_[index(node)] && other != nullptr && other->wire_session_ != 0) {
    Direction& direction = *directions_[index(node)];
    direction.silence.unlink();
    scheduler_.post_at(direction.silence, scheduler_.now() + options_.silence);
  }
}

bool SimWire::up() const {
  return ends_[0] != nullptr && ends_[1] != nullptr && ends_[0]->wire_session_ != 0 &&
         ends_[0]->wire_session_ == ends_[1]->wire_session_;
}

void SimWire::post_connect() {
  if (!connect_.linked()) {
    scheduler_.post_at(connect_, scheduler_.now() + delay(options_.reconnect_max));
  }
}

// One end knocks again and again: here, whenever something changed that may let it in.
void SimWire::try_connect() {
  SimLink* const a = ends_[0];
  SimLink* const b = ends_[1];
  if (a == nullptr || b == nullptr || directions_[0]->is_cut || directions_[1]->is_cut || up()) {
    return;
  }
  // The end that still believes in an older session drops it: its partner is there again.
  const std::uint64_t session = ++sessions_;
  for (SimLink* const end : {a, b}) {
    end->stop_session("the partner connected again");
  }
  for (const auto& direction : directions_) {
    direction->silence.unlink();
  }
  a->start_session(session, b->identity_.incarnation, b->mine_);
  b->start_session(session, a->identity_.incarnation, a->mine_);
}

void SimWire::send(Node from, Packet packet) {
  Direction& direction = *directions_[index(from)];
  direction.under_way.push_back(std::move(packet));
  schedule(direction);
}

void SimWire::schedule(Direction& direction) {
  if (!direction.arrival.linked() && !direction.is_cut && !direction.under_way.empty()) {
    scheduler_.post_at(direction.arrival, scheduler_.now() + delay(options_.delay_max));
  }
}

void SimWire::deliver(Direction& direction) {
  Packet packet = std::move(direction.under_way.front());
  direction.under_way.pop_front();
  schedule(direction);
  SimLink* const end = ends_[index(partner_of(direction.from))];
  if (end != nullptr && packet.session == end->wire_session_) {
    end->receive(packet);
  }
}

void SimWire::cut(Node from) {
  Direction& direction = *directions_[index(from)];
  direction.is_cut = true;
  direction.arrival.unlink();
  if (!direction.silence.linked()) {
    scheduler_.post_at(direction.silence, scheduler_.now() + options_.silence);
  }
}

void SimWire::heal(Node from) {
  Direction& direction = *directions_[index(from)];
  direction.is_cut = false;
  if (ends_[index(from)] != nullptr) {
    direction.silence.unlink();
  }
  schedule(direction);
  post_connect();
}

void SimWire::notice_silence(Direction& direction) {
  SimLink* const end = ends_[index(partner_of(direction.from))];
  if (end != nullptr && end->wire_session_ != 0) {
    ++end->counters_.silences;
    Packet close;
    close.session = end->wire_session_;
    close.beat = end->beat_;
    close.close = true;
    send(end->identity_.node, std::move(close));
    end->stop_session("the partner is silent");
    post_connect();
  }
}

void SimWire::reset() {
  for (const std::size_t node : {std::size_t{0}, std::size_t{1}}) {
    if (ends_[node] != nullptr && ends_[node]->wire_session_ != 0) {
      Packet close;
      close.session = ends_[node]->wire_session_;
      close.close = true;
      // What is under way is lost.
      directions_[node]->under_way.clear();
      directions_[node]->arrival.unlink();
      send(Node{static_cast<std::uint8_t>(node)}, std::move(close));
    }
  }
}

// ---- an end

SimLink::SimLink(SimWire& wire, const LinkIdentity& identity, PersistentMemory& memory)
    : LinkBase(wire.scheduler_, memory, identity),
      wire_(wire),
      mine_(std::make_shared<SimGrants>()),
      flush_(*this) {
  mine_->memory = &memory;
}

SimLink::~SimLink() {
  wire_.closed(identity_.node);
  for (SimWindow*& window : windows_) {
    if (window != nullptr) {
      std::exchange(window, nullptr)->session_ended();
    }
  }
}

void SimLink::start_session(std::uint64_t wire_session, Incarnation peer,
                            std::shared_ptr<SimGrants> theirs) {
  wire_session_ = wire_session;
  theirs_ = std::move(theirs);
  ++counters_.attempts;
  begin_session(peer);
}

void SimLink::stop_session(std::string_view reason) {
  if (wire_session_ == 0) {
    return;
  }
  wire_session_ = 0;
  theirs_.reset();
  filling_.reset();
  refused_ = {};
  under_way_ = 0;
  for (SimWindow*& window : windows_) {
    if (window != nullptr) {
      std::exchange(window, nullptr)->session_ended();
    }
  }
  end_session(reason);
  wire_.post_connect();
}

void SimLink::want_flush() {
  if (filling_ == nullptr) {
    filling_ = std::make_unique<SimWire::Packet>();
  }
  if (!flush_.linked()) {
    scheduler_.post_last(flush_);
  }
}

void SimLink::flush() {
  if (wire_session_ == 0 || filling_ == nullptr) {
    return;
  }
  SimWire::Packet packet = std::move(*std::exchange(filling_, nullptr));
  packet.session = wire_session_;
  packet.beat = beat_;
  ++counters_.packets_sent;
  wire_.send(identity_.node, std::move(packet));
}

void SimLink::receive(SimWire::Packet& packet) {
  if (packet.close) {
    stop_session("the partner closed the connection");
    return;
  }
  ++counters_.packets_received;
  saw_beat(packet.beat);
  const std::uint64_t session = wire_session_;
  for (const auto& item : packet.items) {
    if (wire_session_ != session) {
      return;
    }
    if (const auto* message = std::get_if<SimMessage>(&item)) {
      deliver(message->channel, message->bytes);
    } else if (const auto* write = std::get_if<SimWrite>(&item)) {
      on_write(*write);
    } else {
      on_done(std::get<SimDone>(item));
    }
  }
}

void SimLink::on_write(const SimWrite& write) {
  ++counters_.writes_received;
  if (write.right <= refused_[write.window]) {
    ++counters_.writes_refused;
    return;
  }
  WriteRefusal refusal =
      check_write(grants_, write.window, write.epoch, write.offset, write.bytes.size());
  if (refusal == WriteRefusal::kNone) {
    counters_.write_bytes_received += write.bytes.size();
    memory_.store(grants_[write.window]->offset + write.offset, write.bytes);
    refusal = memory_.persist().ok() ? WriteRefusal::kNone : WriteRefusal::kIo;
  }
  if (refusal != WriteRefusal::kNone) {
    ++counters_.writes_refused;
    refused_[write.window] = write.right;
  }
  want_flush();
  filling_->items.emplace_back(
      SimDone{write.window, write.right, write.number, write.bytes.size(), refusal});
}

void SimLink::on_done(const SimDone& done) {
  under_way_ -= std::min(under_way_, done.bytes);
  for (SimWindow* const waiting : windows_) {
    if (waiting != nullptr && std::exchange(waiting->wants_room_, false)) {
      waiting->tell();
    }
  }
  SimWindow* const window = windows_[done.window];
  if (window == nullptr || window->right_ != done.right || !window->status().ok()) {
    return;
  }
  if (done.refusal == WriteRefusal::kNone) {
    ++counters_.writes_durable;
    window->reach(done.number);
  } else {
    ++counters_.writes_fenced;
    window->fail(status_of(done.refusal).error());
  }
}

// ---- users

Status SimLink::send(Channel channel, ConstBytes message) {
  DUET_CHECK(message.size() <= kMessageBytesMax);
  if (wire_session_ == 0) {
    return kNoSession;
  }
  ++counters_.messages_sent;
  want_flush();
  filling_->items.emplace_back(SimMessage{channel, {message.begin(), message.end()}});
  return Ok{};
}

void SimLink::beat() {
  ++beat_;
  if (wire_session_ != 0) {
    want_flush();
  }
}

void SimLink::grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
                    std::uint64_t epoch) {
  LinkBase::grant(window, offset, bytes, epoch);
  mine_->grants = grants_;
}

void SimLink::revoke(WindowId window) {
  LinkBase::revoke(window);
  mine_->grants = grants_;
}

std::unique_ptr<RemoteWindow> SimLink::open_window(WindowId window, std::uint64_t epoch,
                                                   RemoteWindowUser& user) {
  const auto id = static_cast<std::size_t>(window);
  DUET_CHECK(id < kWindows && windows_[id] == nullptr);
  SimLink* const link = wire_session_ == 0 ? nullptr : this;
  auto opened = std::make_unique<SimWindow>(scheduler_, link, id, epoch, ++last_right_, user);
  windows_[id] = link == nullptr ? nullptr : opened.get();
  return opened;
}

void SimLink::write_at_once(SimWindow& window, std::uint64_t offset,
                            std::span<const ConstBytes> parts) {
  std::uint64_t bytes = 0;
  for (const ConstBytes part : parts) {
    bytes += part.size();
  }
  const bool stale = wire_.stale_[SimWire::index(identity_.node)] && window.seen_.bytes > 0;
  if (!stale) {
    const WriteRefusal refusal =
        check_write(theirs_->grants, window.id_, window.epoch_, offset, bytes);
    if (refusal != WriteRefusal::kNone) {
      ++counters_.writes_fenced;
      window.fail_at_once(status_of(refusal).error());
      return;
    }
    window.seen_ = *theirs_->grants[window.id_];
  }
  ++counters_.writes_sent;
  counters_.write_bytes_sent += bytes;
  std::uint64_t at = window.seen_.offset + offset;
  for (const ConstBytes part : parts) {
    theirs_->memory->store(at, part);
    at += part.size();
  }
  if (!theirs_->memory->persist().ok()) {
    window.fail_at_once(status_of(WriteRefusal::kIo).error());
    return;
  }
  ++counters_.writes_durable;
  window.reach_at_once(window.written_);
}

void SimLink::write_later(SimWindow& window, std::uint64_t offset,
                          std::span<const ConstBytes> parts) {
  ++counters_.writes_sent;
  want_flush();
  filling_->items.emplace_back(
      SimWrite{window.id_, window.right_, window.written_, window.epoch_, offset, gather(parts)});
  const std::size_t bytes = std::get<SimWrite>(filling_->items.back()).bytes.size();
  counters_.write_bytes_sent += bytes;
  under_way_ += bytes;
}

}  // namespace duet::interconnect
