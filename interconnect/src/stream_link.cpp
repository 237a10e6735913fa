#include "interconnect/stream_link.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "stream_session.h"
#include "stream_window.h"

namespace duet::interconnect {

namespace {

// Connections that have not proven to be the partner; more are not taken until one has failed.
constexpr unsigned kGreetingMax = 4;

constexpr Error kNoSession{Errc::kClosed, "link: no session"};

template <typename Frame>
bool is_exactly(ConstBytes body) {
  return body.size() == sizeof(Frame);
}

}  // namespace

// Which calls back into a link that is not itself a StreamSessionUser to the world.
class StreamLink::Sessions final : public StreamSessionUser {
 public:
  explicit Sessions(StreamLink& link) : link_(link) {}
  void on_frame(StreamSession& session, const FrameHead& head, ConstBytes body) override {
    link_.on_frame(session, head, body);
  }
  void on_packet(StreamSession& session, std::uint64_t beat) override {
    link_.on_packet(session, beat);
  }
  void on_written(StreamSession& /*session*/) override { link_.on_written(); }
  void on_end(StreamSession& session, std::string_view reason) override {
    link_.on_end(session, reason);
  }

 private:
  StreamLink& link_;
};

StreamLink::StreamLink(Scheduler& scheduler, PersistentMemory& memory, Entropy& entropy,
                       StreamSource& source, const LinkIdentity& identity,
                       const StreamLinkOptions& options)
    : LinkBase(scheduler, memory, identity),
      entropy_(entropy),
      source_(source),
      options_(options),
      sessions_(std::make_unique<Sessions>(*this)),
      backoff_(options.backoff_min),
      greeted_(scheduler),
      scope_(scheduler) {
  scope_.spawn(options.connects ? connect_for_ever() : accept_for_ever());
}

StreamLink::~StreamLink() {
  scope_.cancel();
  forget_session();
}

// ---- connections

Duration StreamLink::next_backoff() {
  // Up to a half more, so that many pairs do not knock in step.
  const Duration now = backoff_;
  backoff_ = std::min(2 * backoff_, options_.backoff_max);
  const auto spread = static_cast<std::uint64_t>(now.count() / 2 + 1);
  return now + Duration(static_cast<std::int64_t>(entropy_.next() % spread));
}

Task<void> StreamLink::connect_for_ever() {
  for (;;) {
    ++counters_.attempts;
    Result<std::unique_ptr<ByteStream>> stream = co_await source_.next();
    if (stream.ok()) {
      std::unique_ptr<ByteStream> taken = std::move(stream.value());
      co_await serve(std::move(taken));
    } else if (!connected(status_.state)) {
      status_.reason = stream.error().context;
    }
    const Duration pause = next_backoff();
    co_await sleep(scheduler_, pause);
  }
}

Task<void> StreamLink::accept_for_ever() {
  for (;;) {
    while (greeting_ >= kGreetingMax) {
      co_await greeted_.wait();
    }
    Result<std::unique_ptr<ByteStream>> stream = co_await source_.next();
    ++counters_.attempts;
    if (stream.ok()) {
      ++greeting_;
      scope_.spawn(serve(std::move(stream.value())));
    } else {
      ++counters_.refused_peers;
      if (!connected(status_.state)) {
        status_.reason = stream.error().context;
      }
      const Duration pause = options_.backoff_min;
      co_await sleep(scheduler_, pause);  // a source that fails at once does not spin
    }
  }
}

Task<void> StreamLink::serve(std::unique_ptr<ByteStream> stream) {
  const StreamSession::Options options = {options_.keepalive, options_.silence};
  StreamSession session(scheduler_, std::move(stream), options, counters_, *sessions_);
  if (options_.connects) {
    say_hello(session);
  }
  co_await session.read();
}

void StreamLink::greeted(StreamSession& session) {
  if (!std::exchange(session.greeted, true) && !options_.connects) {
    --greeting_;
    greeted_.wake_all();
  }
}

// ---- hello

void StreamLink::say_hello(StreamSession& session) {
  HelloFrame hello;
  hello.node = static_cast<std::uint8_t>(identity_.node);
  hello.pair = identity_.pair;
  hello.incarnation = static_cast<std::uint64_t>(identity_.incarnation);
  const ConstBytes body = bytes_of(hello);
  session.set_beat(beat_);
  session.add(FrameKind::kHello, 0, std::span(&body, 1));
}

void StreamLink::on_hello(StreamSession& session, const HelloFrame& hello) {
  Refusal refusal{};
  if (hello.version != kWireVersion || hello.features != 0) {
    refusal = Refusal::kVersion;
  } else if (hello.pair != identity_.pair) {
    refusal = Refusal::kPair;
  } else if (hello.node != static_cast<std::uint8_t>(partner_of(identity_.node)) ||
             hello.incarnation == 0) {
    refusal = Refusal::kNode;
  }
  if (refusal != Refusal{}) {
    ++counters_.refused_peers;
    RefuseFrame refuse;
    refuse.refusal = static_cast<std::uint32_t>(refusal);
    const ConstBytes body = bytes_of(refuse);
    session.add(FrameKind::kRefuse, 0, std::span(&body, 1));
    session.end_after_writing("a connection was not our partner's");
    return;
  }
  if (session_ != nullptr) {
    session_->end("the partner connected again");
  }
  DUET_CHECK(session_ == nullptr);
  session_ = &session;
  greeted(session);
  backoff_ = options_.backoff_min;
  if (!options_.connects) {
    say_hello(session);
  }
  begin_session(Incarnation{hello.incarnation});
}

void StreamLink::on_refused(StreamSession& session, const RefuseFrame& refused) {
  ++counters_.refused_here;
  std::string_view reason = "the partner refused us";
  if (refused.refusal == static_cast<std::uint32_t>(Refusal::kVersion)) {
    reason = "the partner's build speaks another link version";
  } else if (refused.refusal == static_cast<std::uint32_t>(Refusal::kPair)) {
    reason = "the partner belongs to another pair";
  } else if (refused.refusal == static_cast<std::uint32_t>(Refusal::kNode)) {
    reason = "the partner is configured as the same node";
  }
  session.end(reason);
}

// ---- frames

void StreamLink::on_frame(StreamSession& session, const FrameHead& head, ConstBytes body) {
  const bool up = &session == session_;
  switch (FrameKind{head.kind}) {
    case FrameKind::kHello:
      if (!up && is_exactly<HelloFrame>(body)) {
        on_hello(session, load<HelloFrame>(body, 0));
        return;
      }
      break;
    case FrameKind::kRefuse:
      if (!up && is_exactly<RefuseFrame>(body)) {
        on_refused(session, load<RefuseFrame>(body, 0));
        return;
      }
      break;
    case FrameKind::kMessage:
      if (up && head.channel < kChannels && body.size() <= kMessageBytesMax) {
        deliver(Channel{head.channel}, body);
        return;
      }
      break;
    case FrameKind::kWrite:
      if (up && body.size() > sizeof(WriteFrame) &&
          body.size() <= sizeof(WriteFrame) + kWriteBytesMax) {
        on_write(session, body);
        return;
      }
      break;
    case FrameKind::kDone:
      if (up && is_exactly<DoneFrame>(body)) {
        on_done(session, load<DoneFrame>(body, 0));
        return;
      }
      break;
    default:
      break;
  }
  ++counters_.damaged_packets;
  session.end("the partner sent a frame that has no place here");
}

void StreamLink::on_packet(StreamSession& session, std::uint64_t beat) {
  if (&session != session_) {
    return;
  }
  saw_beat(beat);
  if (writes_in_ > writes_answered_) {
    say_done(session, 0, WriteRefusal::kNone);
  }
}

void StreamLink::on_write(StreamSession& session, ConstBytes body) {
  const auto write = load<WriteFrame>(body, 0);
  if (write.number != writes_in_ + 1 || write.window >= kWindows || write.right == 0) {
    ++counters_.damaged_packets;
    session.end("the partner sent a write out of order");
    return;
  }
  ++writes_in_;
  ++counters_.writes_received;
  if (write.right <= refused_rights_[write.window]) {
    ++counters_.writes_refused;  // sent before the partner knew
    return;
  }
  const WriteRefusal refusal = land(write, body.subspan(sizeof(WriteFrame)));
  if (refusal != WriteRefusal::kNone) {
    ++counters_.writes_refused;
    refused_rights_[write.window] = write.right;
    say_done(session, write.right, refusal);
  }
}

WriteRefusal StreamLink::land(const WriteFrame& write, ConstBytes bytes) {
  const WriteRefusal refusal =
      check_write(grants_, write.window, write.epoch, write.offset, bytes.size());
  if (refusal != WriteRefusal::kNone) {
    return refusal;
  }
  counters_.write_bytes_received += bytes.size();
  memory_.store(grants_[write.window]->offset + write.offset, bytes);
  // Each by itself: a write that is whole there proves that all before it are.
  return memory_.persist().ok() ? WriteRefusal::kNone : WriteRefusal::kIo;
}

void StreamLink::say_done(StreamSession& session, std::uint32_t refused_right,
                          WriteRefusal refusal) {
  DoneFrame done;
  done.number = writes_answered_ = writes_in_;
  done.refused_right = refused_right;
  done.error = static_cast<std::uint32_t>(refusal);
  const ConstBytes body = bytes_of(done);
  session.add(FrameKind::kDone, 0, std::span(&body, 1));
}

void StreamLink::on_done(StreamSession& session, const DoneFrame& done) {
  if (done.number > writes_out_ || done.number < writes_done_) {
    ++counters_.damaged_packets;
    session.end("the partner answered a write that was not sent");
    return;
  }
  writes_done_ = done.number;
  for (; !under_way_.empty() && under_way_.front().number <= done.number; under_way_.pop_front()) {
    const UnderWay& write = under_way_.front();
    StreamWindow* const window = windows_[write.window];
    if (window == nullptr || window->right_ != write.right) {
      continue;
    }
    if (write.right == done.refused_right && write.number == done.number) {
      ++counters_.writes_fenced;
      const bool known = done.error >= 1 && done.error <= 3;
      window->fail(status_of(known ? WriteRefusal{done.error} : WriteRefusal::kIo).error());
    } else if (window->status().ok()) {
      ++counters_.writes_durable;
      window->reach(write.window_number);
    }
  }
}

// ---- the session's end

void StreamLink::on_end(StreamSession& session, std::string_view reason) {
  greeted(session);
  if (&session == session_) {
    forget_session();
    end_session(reason);
  } else if (!connected(status_.state)) {
    status_.reason = reason;
  }
}

void StreamLink::forget_session() {
  session_ = nullptr;
  under_way_.clear();
  writes_out_ = writes_done_ = writes_in_ = writes_answered_ = 0;
  last_right_ = 0;
  refused_rights_ = {};
  for (StreamWindow*& window : windows_) {
    if (window != nullptr) {
      std::exchange(window, nullptr)->session_ended();
    }
  }
}

// ---- users

Status StreamLink::send(Channel channel, ConstBytes message) {
  DUET_CHECK(message.size() <= kMessageBytesMax);
  if (session_ == nullptr) {
    return kNoSession;
  }
  if (queued_bytes() + message.size() > options_.queued_bytes_max) {
    return Error{Errc::kTryAgain, "link: too much waits to be sent"};
  }
  ++counters_.messages_sent;
  session_->add(FrameKind::kMessage, static_cast<std::uint8_t>(channel), std::span(&message, 1));
  return Ok{};
}

void StreamLink::beat() {
  ++beat_;
  if (session_ != nullptr) {
    session_->set_beat(beat_);
  }
}

std::size_t StreamLink::queued_bytes() const {
  return session_ == nullptr ? 0 : session_->queued_bytes();
}

void StreamLink::on_written() {
  for (StreamWindow* const window : windows_) {
    if (window != nullptr && std::exchange(window->wants_room_, false)) {
      window->tell();
    }
  }
}

std::unique_ptr<RemoteWindow> StreamLink::open_window(WindowId window, std::uint64_t epoch,
                                                      RemoteWindowUser& user) {
  const auto index = static_cast<std::size_t>(window);
  DUET_CHECK(index < kWindows);
  DUET_CHECK(windows_[index] == nullptr);
  StreamLink* const link = session_ == nullptr ? nullptr : this;
  auto opened =
      std::make_unique<StreamWindow>(scheduler_, link, window, epoch, ++last_right_, user);
  windows_[index] = link == nullptr ? nullptr : opened.get();
  return opened;
}

StreamWindow::StreamWindow(Scheduler& scheduler, StreamLink* link, WindowId id, std::uint64_t epoch,
                           std::uint32_t right, RemoteWindowUser& user)
    : WindowBase(scheduler, user),
      link_(link),
      id_(static_cast<std::size_t>(id)),
      epoch_(epoch),
      right_(right) {
  if (link_ == nullptr) {
    fail_at_once(kNoSession);
  }
}

StreamWindow::~StreamWindow() {
  if (link_ != nullptr) {
    link_->windows_[id_] = nullptr;
  }
}

void StreamWindow::session_ended() {
  link_ = nullptr;
  fail(kNoSession);
}

bool StreamWindow::has_room(std::size_t bytes) {
  if (link_ == nullptr || !status().ok()) {
    return true;
  }
  const std::size_t queued = link_->queued_bytes();
  wants_room_ = queued > 0 && queued + bytes > link_->options_.queued_bytes_max;
  return !wants_room_;
}

std::uint64_t StreamWindow::write(std::uint64_t offset, std::span<const ConstBytes> parts) {
  ++written_;
  if (link_ == nullptr || !status().ok()) {
    return written_;
  }
  WriteFrame frame;
  frame.number = ++link_->writes_out_;
  frame.epoch = epoch_;
  frame.offset = offset;
  frame.right = right_;
  frame.window = static_cast<std::uint8_t>(id_);
  std::vector<ConstBytes> body;
  body.reserve(parts.size() + 1);
  body.push_back(bytes_of(frame));
  std::size_t bytes = 0;
  for (const ConstBytes part : parts) {
    body.push_back(part);
    bytes += part.size();
  }
  DUET_CHECK(bytes > 0 && bytes <= kWriteBytesMax);
  link_->under_way_.push_back({frame.number, written_, right_, frame.window});
  ++link_->counters_.writes_sent;
  link_->counters_.write_bytes_sent += bytes;
  link_->session_->add(FrameKind::kWrite, 0, body);
  return written_;
}

}  // namespace duet::interconnect
