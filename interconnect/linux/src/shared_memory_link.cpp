#include "interconnect/linux/shared_memory_link.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

extern "C" {  // glibc 2.36 forgets it
#include <sys/pidfd.h>
}

#include "base/check.h"
#include "inbox.h"
#include "platform/linux/connect.h"

namespace duet::interconnect {

namespace {

constexpr Error kNoSession{Errc::kClosed, "link: no session"};
constexpr Error kBroke{Errc::kIo, "the partner's process is gone"};
constexpr Error kNotPartner{Errc::kForeign, "a connection was not our partner's"};
constexpr Duration kHandshakeWithin = std::chrono::seconds(5);

// The parent of `process` if it runs the same program; 0: it does not.
int same_program_above(int process) {
  const std::string place = "/proc/" + std::to_string(process);
  std::ifstream status(place + "/status");
  std::string key;
  int parent = 0;
  while (status >> key) {
    if (key == "PPid:") {
      status >> parent;
      break;
    }
  }
  std::error_code failed;
  const auto program = std::filesystem::read_symlink(place + "/exe", failed);
  const auto above =
      std::filesystem::read_symlink("/proc/" + std::to_string(parent) + "/exe", failed);
  return !failed && program == above ? parent : 0;
}

Status kill_process(int process) {
  if (process < 0) {
    return Ok{};
  }
  if (pidfd_send_signal(process, SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
    return Error{Errc::kAccess, "the partner's process may not be killed by this user"};
  }
  pollfd gone{.fd = process, .events = POLLIN, .revents = 0};
  constexpr int kPatienceMs = 1000;
  int ended = 0;
  do {
    ended = poll(&gone, 1, kPatienceMs);
  } while (ended < 0 && errno == EINTR);
  if (ended != 1) {
    return Error{Errc::kIo, "the partner's process was killed and does not end"};
  }
  return Ok{};
}

// The process that holds the lock (flock) of `file`; 0: none.
int lock_holder(const std::string& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) {
    return 0;
  }
  std::ifstream locks("/proc/locks");
  std::string line;
  while (std::getline(locks, line)) {
    int process = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(), "%*s FLOCK %*s %*s %d %x:%x:%lu", &process, &major_number,
                    &minor_number, &inode) == 4 &&
        inode == status.st_ino && major_number == major(status.st_dev) &&
        minor_number == minor(status.st_dev)) {
      return process;
    }
  }
  return 0;
}

// Closes a connection that does not become a session.
struct Limit final : Continuation {
  explicit Limit(ByteStream& stream) : to(stream) {}
  void run() override { to.close(); }
  ByteStream& to;
};

}  // namespace

struct SharedMemoryLink::Session {
  explicit Session(std::unique_ptr<ByteStream> connected) : stream(std::move(connected)) {}

  struct Bell final : WriteOperation {
    void run() override { under_way = false; }
    bool under_way = false;
    ConstBytes part{&kDoorbell, 1};
  };
  const std::unique_ptr<ByteStream> stream;
  std::uint64_t nonce = 0;
  std::unique_ptr<Inbox> mine;
  std::unique_ptr<Inbox> theirs;
  std::unique_ptr<os::MappedMemory> memory;  // the partner's
  Incarnation peer{};
  Bell bell;
  bool ended = false;
};

class SharedWindow final : public WindowBase {
 public:
  SharedWindow(Scheduler& scheduler, SharedMemoryLink* link, std::size_t id, std::uint64_t epoch,
               RemoteWindowUser& user)
      : WindowBase(scheduler, user), link_(link), id_(id), epoch_(epoch) {
    if (link_ == nullptr) {
      fail_at_once(kNoSession);
    }
  }
  ~SharedWindow() override {
    if (link_ != nullptr) {
      link_->windows_[id_] = nullptr;
    }
  }
  [[nodiscard]] bool has_room(std::size_t /*bytes*/) override { return true; }

  std::uint64_t write(std::uint64_t offset, std::span<const ConstBytes> parts) override {
    ++written_;
    if (link_ == nullptr || !status().ok()) {
      return written_;
    }
    LinkCounters& counters = link_->counters_;
    const WriteRefusal refusal = store(offset, parts);
    if (refusal != WriteRefusal::kNone) {
      ++counters.writes_fenced;
      fail_at_once(status_of(refusal).error());
    } else {
      ++counters.writes_sent;
      ++counters.writes_durable;
      reach_at_once(written_);
    }
    return written_;
  }

 private:
  friend class SharedMemoryLink;
  void session_ended() {
    link_ = nullptr;
    fail(kNoSession);
  }

  WriteRefusal store(std::uint64_t offset, std::span<const ConstBytes> parts) {
    std::uint64_t bytes = 0;
    for (const ConstBytes part : parts) {
      bytes += part.size();
    }
    SharedMemoryLink::Session& session = *link_->session_;
    Grants grants;
    grants[id_] = session.theirs->grant(id_);
    if (const WriteRefusal refusal = check_write(grants, id_, epoch_, offset, bytes);
        refusal != WriteRefusal::kNone) {
      return refusal;
    }
    const Grant& grant = *grants[id_];
    const std::uint64_t memory_bytes = session.memory->bytes().size();
    if (grant.offset > memory_bytes || grant.bytes > memory_bytes - grant.offset) {
      return WriteRefusal::kOutside;
    }
    std::uint64_t at = grant.offset + offset;
    for (const ConstBytes part : parts) {
      session.memory->store(at, part);
      at += part.size();
    }
    link_->counters_.write_bytes_sent += bytes;
    return session.memory->persist().ok() ? WriteRefusal::kNone : WriteRefusal::kIo;
  }

  SharedMemoryLink* link_;
  const std::size_t id_;
  const std::uint64_t epoch_;
  std::uint64_t written_ = 0;
};

SharedMemoryLink::SharedMemoryLink(os::EpollScheduler& scheduler, PersistentMemory& memory,
                                   Entropy& entropy, const LinkIdentity& identity,
                                   SharedMemoryLinkOptions options)
    : LinkBase(scheduler, memory, identity),
      epoll_(scheduler),
      entropy_(entropy),
      options_(std::move(options)),
      flush_(*this),
      scope_(scheduler) {
  if (options_.connects) {
    scope_.spawn(connect_for_ever());
    return;
  }
  Result<std::unique_ptr<os::TcpListener>> listener =
      os::listen_unix(scheduler, options_.socket_path);
  if (!listener.ok()) {
    listening_ = listener.error();
    status_.reason = listener.error().context;
    return;
  }
  listener_ = std::move(listener.value());
  scope_.spawn(accept_for_ever());
}

SharedMemoryLink::~SharedMemoryLink() {
  if (session_ != nullptr) {
    end(*session_, "closed here");
  }
  scope_.cancel();
  close_both();
}

bool SharedMemoryLink::partner_gone(Incarnation peer) const {
  pollfd gone{.fd = partner_, .events = POLLIN, .revents = 0};
  return partner_ >= 0 && status_.peer == peer && poll(&gone, 1, 0) == 1;
}

void SharedMemoryLink::close_both() {
  for (int* const process : {&partner_, &partner_parent_}) {
    if (*process >= 0) {
      close(*process);
    }
    *process = -1;
  }
}

// Whoever holds the lock of the partner's memory is the partner, also when it was never heard of
// here: it may have been stopped before this process began.
Status SharedMemoryLink::kill_partner() {
  if (partner_ < 0) {
    watch_process(lock_holder(options_.partner_memory_path));
  }
  for (const int process : {partner_parent_, partner_}) {
    if (Status killed = kill_process(process); !killed.ok()) {
      return killed;
    }
  }
  return Ok{};
}

void SharedMemoryLink::watch_process(int process) {
  close_both();
  partner_ = process > 0 ? pidfd_open(process, 0) : -1;
  const int above = process > 0 ? same_program_above(process) : 0;
  partner_parent_ = above > 0 ? pidfd_open(above, 0) : -1;
}

// ---- connections

Task<void> SharedMemoryLink::connect_for_ever() {
  for (;;) {
    ++counters_.attempts;
    Result<std::unique_ptr<os::TcpStream>> stream =
        co_await os::connect_unix(epoll_, options_.socket_path);
    if (stream.ok()) {
      std::unique_ptr<os::TcpStream> connected = std::move(stream.value());
      co_await serve(std::move(connected));
    } else {
      status_.reason = stream.error().context;
    }
    co_await sleep(scheduler_, options_.retry);
  }
}

Task<void> SharedMemoryLink::accept_for_ever() {
  for (;;) {
    std::unique_ptr<os::TcpStream> stream = listener_->try_accept();
    if (stream == nullptr) {
      co_await listener_->wait();
      continue;
    }
    ++counters_.attempts;
    scope_.spawn(serve(std::move(stream)));
  }
}

Task<void> SharedMemoryLink::serve(std::unique_ptr<os::TcpStream> stream) {
  const int process = stream->peer_process();
  Session session(std::move(stream));
  Limit limit(*session.stream);
  scheduler_.post_at(limit, scheduler_.now() + kHandshakeWithin);
  const Status shaken = co_await shake_hands(session);
  limit.unlink();
  if (!shaken.ok()) {
    session.stream->close();
    counters_.refused_peers += shaken.error().code == Errc::kForeign ? 1 : 0;
    if (!connected(status_.state)) {
      status_.reason = shaken.error().context;
    }
    co_return;
  }
  watch_process(process);
  co_await hear_bells(session);
}

// The end that listens answers; it has ended its older session before, so that its inbox's name is
// free and no older write follows a newer session's beginning in what it believes.
Task<Status> SharedMemoryLink::shake_hands(Session& session) {
  InboxHello theirs;
  if (options_.connects) {
    const Status said = co_await say_hello(session);
    if (!said.ok()) {
      co_return said;
    }
  }
  const Status heard = co_await hear_hello(session, theirs);
  if (!heard.ok()) {
    if (heard.error().code == Errc::kForeign && !options_.connects) {
      const Status said = co_await say_who(session);  // so that it knows why
      co_return said.ok() ? heard : said;
    }
    co_return heard;
  }
  if (session_ != nullptr) {
    end(*session_, "the partner connected again");
  }
  if (!options_.connects) {
    const Status said = co_await say_hello(session);
    if (!said.ok()) {
      co_return said;
    }
  }
  const Status mapped = map_partner(session, theirs);
  if (!mapped.ok()) {
    co_return mapped;
  }
  const ConstBytes ready(&kReady, 1);
  const Status told = co_await say(session, ready);
  if (!told.ok()) {
    co_return told;
  }
  std::byte answer{};
  const MutableBytes into(&answer, 1);
  const Status answered = co_await read_exactly(session, into);
  if (!answered.ok()) {
    co_return answered;
  }
  if (answer != kReady || session_ != nullptr) {
    co_return kNotPartner;
  }
  session_ = &session;
  session.peer = Incarnation{theirs.incarnation};
  seen_beat_ = session.theirs->beat();
  seen_beat_at_ = scheduler_.now();
  // What was granted while hands were shaken.
  session.mine->set_grants(grants_);
  session.mine->set_beat(beat_);
  begin_session(session.peer);
  co_return Ok();
}

Task<Status> SharedMemoryLink::read_exactly(Session& session, MutableBytes into) {
  while (!into.empty()) {
    const Result<std::size_t> got = co_await session.stream->read_some(into);
    if (!got.ok() || got.value() == 0) {
      co_return kBroke;
    }
    into = into.subspan(got.value());
  }
  co_return Ok();
}

Task<Status> SharedMemoryLink::say(Session& session, ConstBytes what) {
  const std::span<ConstBytes> parts(&what, 1);
  const Status written = co_await session.stream->write_all(parts);
  co_return written.ok() ? Status(Ok{}) : Status(kBroke);
}

Status SharedMemoryLink::make_inbox(Session& session) {
  session.nonce = entropy_.next();
  Result<std::unique_ptr<Inbox>> inbox =
      Inbox::create(options_.inbox_path, identity_, session.nonce, memory_.bytes().size());
  if (!inbox.ok()) {
    return inbox.error();
  }
  session.mine = std::move(inbox.value());
  session.mine->set_beat(beat_);
  session.mine->set_grants(grants_);
  return Ok{};
}

Task<Status> SharedMemoryLink::say_hello(Session& session) {
  const Status made = make_inbox(session);
  if (!made.ok()) {
    co_return made;
  }
  const Status said = co_await say_who(session);
  co_return said;
}

Task<Status> SharedMemoryLink::say_who(Session& session) {
  InboxHello hello;
  hello.node = static_cast<std::uint32_t>(identity_.node);
  hello.pair = identity_.pair;
  hello.incarnation = static_cast<std::uint64_t>(identity_.incarnation);
  hello.nonce = session.nonce;
  const ConstBytes body = bytes_of(hello);
  const Status said = co_await say(session, body);
  co_return said;
}

Task<Status> SharedMemoryLink::hear_hello(Session& session, InboxHello& hello) {
  const MutableBytes into = std::as_writable_bytes(std::span(&hello, 1));
  const Status read = co_await read_exactly(session, into);
  if (!read.ok()) {
    co_return read;
  }
  co_return check(hello);
}

Status SharedMemoryLink::check(const InboxHello& hello) {
  if (hello.magic != kInboxMagic) {
    return kNotPartner;
  }
  if (hello.version != kInboxVersion) {
    return Error{Errc::kForeign, "the partner's build speaks another link version"};
  }
  if (hello.pair != identity_.pair) {
    return Error{Errc::kForeign, "the partner belongs to another pair"};
  }
  if (hello.node != static_cast<std::uint32_t>(partner_of(identity_.node)) ||
      hello.incarnation == 0) {
    return Error{Errc::kForeign, "the partner is configured as the same node"};
  }
  return Ok{};
}

Status SharedMemoryLink::map_partner(Session& session, const InboxHello& hello) {
  Result<std::unique_ptr<Inbox>> inbox = Inbox::open(options_.partner_inbox_path, hello);
  if (!inbox.ok()) {
    return inbox.error();
  }
  session.theirs = std::move(inbox.value());
  const os::PersistentMemoryOptions how{.accept_volatile = options_.accept_volatile,
                                        .of_another = true};
  Result<std::unique_ptr<os::MappedMemory>> memory =
      os::map_persistent_memory(options_.partner_memory_path, session.theirs->memory_bytes(), how);
  if (!memory.ok()) {
    return memory.error();
  }
  session.memory = std::move(memory.value());
  return Ok{};
}

// ---- a session

Task<void> SharedMemoryLink::hear_bells(Session& session) {
  std::array<std::byte, 16> bells{};
  const MutableBytes into(bells);
  while (!session.ended) {
    if (!drain(session)) {
      break;
    }
    const Result<std::size_t> got = co_await session.stream->read_some(into);
    if (!session.ended && (!got.ok() || got.value() == 0)) {
      end(session, kBroke.context);
    }
  }
}

bool SharedMemoryLink::drain(Session& session) {
  for (;;) {
    Channel channel{};
    std::size_t bytes = 0;
    const Inbox::Taken taken = session.mine->take(channel, message_, bytes);
    if (taken == Inbox::Taken::kDamaged) {
      ++counters_.damaged_packets;
      end(session, "the inbox is damaged");
      return false;
    }
    if (taken == Inbox::Taken::kMessage) {
      counters_.bytes_received += bytes;
      deliver(channel, ConstBytes(message_).first(bytes));
      if (session.ended) {
        return false;
      }
    } else if (session.mine->fall_asleep()) {
      return true;
    }
  }
}

void SharedMemoryLink::flush() {
  if (session_ == nullptr) {
    return;
  }
  ++counters_.packets_sent;
  if (session_->theirs->publish()) {
    ring_bell(*session_);
  }
}

void SharedMemoryLink::ring_bell(Session& session) {
  ++counters_.wakeups;
  if (!session.bell.under_way) {  // else a byte is on its way that was not yet heard
    session.bell.part = ConstBytes(&kDoorbell, 1);
    session.bell.parts = std::span(&session.bell.part, 1);
    session.bell.under_way = !session.stream->start_write(session.bell);
  }
}

void SharedMemoryLink::end(Session& session, std::string_view reason) {
  if (std::exchange(session.ended, true)) {
    return;
  }
  DUET_CHECK(session_ == &session);
  session_ = nullptr;
  session.stream->close();
  session.mine.reset();  // frees the name for the next
  for (SharedWindow*& window : windows_) {
    if (window != nullptr) {
      std::exchange(window, nullptr)->session_ended();
    }
  }
  end_session(reason);
}

// ---- users

LinkStatus SharedMemoryLink::status() const {
  LinkStatus now = LinkBase::status();
  if (session_ != nullptr) {
    const std::uint64_t beat = session_->theirs->beat();
    if (beat != seen_beat_) {
      seen_beat_ = beat;
      seen_beat_at_ = scheduler_.now();
    }
  }
  now.peer_beat = seen_beat_;
  now.beat_changed = seen_beat_at_;
  return now;
}

Status SharedMemoryLink::send(Channel channel, ConstBytes message) {
  DUET_CHECK(message.size() <= kMessageBytesMax);
  if (session_ == nullptr) {
    return kNoSession;
  }
  if (!session_->theirs->put(channel, message)) {
    return Error{Errc::kTryAgain, "link: the partner's inbox is full"};
  }
  ++counters_.messages_sent;
  counters_.bytes_sent += message.size();
  if (!flush_.linked()) {
    scheduler_.post_last(flush_);
  }
  return Ok{};
}

void SharedMemoryLink::beat() {
  ++beat_;
  if (session_ != nullptr) {
    session_->mine->set_beat(beat_);
  }
}

void SharedMemoryLink::grant(WindowId window, std::uint64_t offset, std::uint64_t bytes,
                             std::uint64_t epoch) {
  LinkBase::grant(window, offset, bytes, epoch);
  if (session_ != nullptr) {
    session_->mine->set_grants(grants_);
  }
}

void SharedMemoryLink::revoke(WindowId window) {
  LinkBase::revoke(window);
  if (session_ != nullptr) {
    session_->mine->set_grants(grants_);
  }
}

std::unique_ptr<RemoteWindow> SharedMemoryLink::open_window(WindowId window, std::uint64_t epoch,
                                                            RemoteWindowUser& user) {
  const auto id = static_cast<std::size_t>(window);
  DUET_CHECK(id < kWindows && windows_[id] == nullptr);
  SharedMemoryLink* const link = session_ == nullptr ? nullptr : this;
  auto opened = std::make_unique<SharedWindow>(scheduler_, link, id, epoch, user);
  windows_[id] = link == nullptr ? nullptr : opened.get();
  return opened;
}

}  // namespace duet::interconnect
