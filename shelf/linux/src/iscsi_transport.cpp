#include "iscsi_transport.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>

#include <algorithm>
#include <list>
#include <utility>
#include <vector>

#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::shelf {

namespace {

// libiscsi sees timeouts when it is called.
constexpr Duration kTick = std::chrono::seconds(1);
constexpr int kServicesPerTurn = 32;

// One login, from its beginning to its loss.
class IscsiSession final : private os::SocketEvents {
 public:
  // REQUIRES: `options` and `lost` outlive it.  Wakes `lost` when it is not logged in any more.
  IscsiSession(os::EpollScheduler& scheduler, const IscsiOptions& options, WaitList& lost)
      : scheduler_(scheduler),
        options_(options),
        lost_(lost),
        context_(iscsi_create_context(options_.initiator.c_str())),
        service_(*this),
        tick_(*this),
        logged_in_(scheduler) {
    DUET_CHECK(context_ != nullptr);
  }
  ~IscsiSession() { end(); }
  IscsiSession(const IscsiSession&) = delete;
  IscsiSession& operator=(const IscsiSession&) = delete;

  Task<Status> log_in() {
    iscsi_url* const url = iscsi_parse_full_url(context_, options_.url.c_str());
    if (url == nullptr) {
      co_return Error{Errc::kInvalid, "not iscsi://[user%password@]host[:port]/target/unit"};
    }
    const int started = begin_login(*url);
    unit_ = url->lun;
    iscsi_destroy_url(url);
    if (started != 0) {
      end();
      co_return Error{Errc::kIo, "the iSCSI target cannot be reached"};
    }
    descriptor_ = iscsi_get_fd(context_);
    DUET_CHECK(scheduler_.watch(descriptor_, *this).ok());
    deadline_ = scheduler_.now() + std::chrono::seconds(options_.timeout_s);
    serve_later();
    tick_later();
    while (state_ == State::kLoggingIn) {
      co_await logged_in_.wait();
    }
    if (state_ == State::kLost) {
      co_return Error{Errc::kIo, "the iSCSI target does not let this node log in"};
    }
    co_return Ok{};
  }

  void start(ScsiCommand& command) {
    command.status = ScsiStatus::kLost;
    command.received = 0;
    if (state_ != State::kLoggedIn) {
      scheduler_.post(command);
      return;
    }
    std::size_t bytes = 0;
    Pending& pending = pending_.emplace_back(*this, command);
    pending.self = std::prev(pending_.end());
    for (const MutableBytes part : command.parts) {
      pending.vectors.push_back({part.data(), part.size()});
      bytes += part.size();
    }
    const int direction = command.data == ScsiCommand::Data::kIn    ? SCSI_XFER_READ
                          : command.data == ScsiCommand::Data::kOut ? SCSI_XFER_WRITE
                                                                    : SCSI_XFER_NONE;
    pending.task =
        scsi_create_task(command.cdb_bytes, command.cdb.data(), direction, static_cast<int>(bytes));
    DUET_CHECK(pending.task != nullptr);
    const auto count = static_cast<int>(pending.vectors.size());
    if (command.data == ScsiCommand::Data::kIn) {
      scsi_task_set_iov_in(pending.task, pending.vectors.data(), count);
    } else if (command.data == ScsiCommand::Data::kOut) {
      scsi_task_set_iov_out(pending.task, pending.vectors.data(), count);
    }
    if (iscsi_scsi_command_async(context_, unit_, pending.task, &IscsiSession::on_done, nullptr,
                                 &pending) != 0) {
      finish(pending, SCSI_STATUS_ERROR);
      return;
    }
    serve_later();
    tick_later();
  }

  void start_reset(ScsiReset& reset) {
    DUET_CHECK(reset_ == nullptr);
    reset.done = false;
    reset_ = &reset;
    if (state_ != State::kLoggedIn ||
        iscsi_task_mgmt_lun_reset_async(context_, static_cast<std::uint32_t>(unit_),
                                        &IscsiSession::on_reset, this) != 0) {
      scheduler_.post(*std::exchange(reset_, nullptr));
      return;
    }
    serve_later();
    tick_later();
  }

  [[nodiscard]] bool connected() const { return state_ == State::kLoggedIn; }

 private:
  enum class State : std::uint8_t { kLoggingIn, kLoggedIn, kLost };

  struct Pending {
    Pending(IscsiSession& owner, ScsiCommand& what) : session(owner), command(what) {}
    IscsiSession& session;
    ScsiCommand& command;
    scsi_task* task = nullptr;
    std::vector<scsi_iovec> vectors;
    std::list<Pending>::iterator self;
  };
  struct Service final : Continuation {
    explicit Service(IscsiSession& owner) : session(owner) {}
    void run() override { session.serve(); }
    IscsiSession& session;
  };
  struct Tick final : Continuation {
    explicit Tick(IscsiSession& owner) : session(owner) {}
    void run() override { session.tick(); }
    IscsiSession& session;
  };

  int begin_login(const iscsi_url& url) {
    // 40 bits: the random format of an ISID (RFC 7143, 11.12.5).
    iscsi_set_isid_random(context_, static_cast<std::uint32_t>(options_.nexus & 0xFFFFFFU),
                          static_cast<std::uint32_t>(options_.nexus >> 24U & 0xFFFFU));
    iscsi_set_targetname(context_, url.target);
    iscsi_set_session_type(context_, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(context_, ISCSI_HEADER_DIGEST_CRC32C_NONE);
    // A session that comes back by itself would be another nexus, and nobody would know.
    iscsi_set_noautoreconnect(context_, 1);
    iscsi_set_timeout(context_, options_.timeout_s);
    if (url.user[0] != '\0') {
      iscsi_set_initiator_username_pwd(context_, url.user, url.passwd);
    }
    return iscsi_full_connect_async(context_, url.portal, url.lun, &IscsiSession::on_login, this);
  }

  void on_events(std::uint32_t /*events*/) override { serve_later(); }
  void serve_later() {
    if (!service_.linked() && context_ != nullptr) {
      scheduler_.post_last(service_);
    }
  }
  void tick_later() {
    const bool needed = state_ == State::kLoggingIn || !pending_.empty() || reset_ != nullptr;
    if (needed && !tick_.linked()) {
      scheduler_.post_at(tick_, scheduler_.now() + kTick);
    }
  }
  void tick() {
    if (state_ == State::kLoggingIn && scheduler_.now() > deadline_) {
      lose();
      return;
    }
    if (context_ != nullptr && iscsi_service(context_, 0) != 0) {
      lose();
      return;
    }
    serve_later();
    tick_later();
  }

  // The edges of epoll are all used up when poll() has nothing more to say.
  void serve() {
    for (int i = 0; i < kServicesPerTurn && context_ != nullptr; ++i) {
      pollfd socket{.fd = descriptor_,
                    .events = static_cast<short>(iscsi_which_events(context_)),
                    .revents = 0};
      if (poll(&socket, 1, 0) <= 0) {
        return;
      }
      const bool served = iscsi_service(context_, socket.revents) == 0;
      const bool gone = state_ == State::kLoggedIn && iscsi_is_logged_in(context_) == 0;
      if (!served || gone || state_ == State::kLost) {
        lose();
        return;
      }
    }
    serve_later();
  }

  // Called by libiscsi, inside iscsi_service() or iscsi_destroy_context().
  static void on_login(iscsi_context* /*context*/, int status, void* /*data*/, void* self) {
    auto& session = *static_cast<IscsiSession*>(self);
    if (session.state_ == State::kLoggingIn && status == SCSI_STATUS_GOOD) {
      session.state_ = State::kLoggedIn;
    } else {
      session.state_ = State::kLost;  // also when it was torn down later
    }
    session.logged_in_.wake_all();
  }
  static void on_done(iscsi_context* /*context*/, int status, void* /*data*/, void* self) {
    auto& pending = *static_cast<Pending*>(self);
    pending.session.finish(pending, status);
  }
  static void on_reset(iscsi_context* /*context*/, int status, void* data, void* self) {
    auto& session = *static_cast<IscsiSession*>(self);
    if (ScsiReset* const reset = std::exchange(session.reset_, nullptr)) {
      reset->done = status == SCSI_STATUS_GOOD && data != nullptr &&
                    *static_cast<std::uint32_t*>(data) == ISCSI_TMR_FUNC_COMPLETE;
      session.scheduler_.post(*reset);
    }
  }

  void finish(Pending& pending, int status) {
    ScsiCommand& command = pending.command;
    const scsi_task& task = *pending.task;
    switch (status) {
      case SCSI_STATUS_GOOD:
      case SCSI_STATUS_CONDITION_MET:
        command.status = ScsiStatus::kGood;
        break;
      case SCSI_STATUS_CHECK_CONDITION:
        command.status = ScsiStatus::kCheckCondition;
        command.sense_key = static_cast<std::uint8_t>(task.sense.key);
        command.sense_code = static_cast<std::uint16_t>(task.sense.ascq);
        break;
      case SCSI_STATUS_BUSY:
      case SCSI_STATUS_RESERVATION_CONFLICT:
      case SCSI_STATUS_TASK_SET_FULL:
      case SCSI_STATUS_TASK_ABORTED:
        command.status = static_cast<ScsiStatus>(status);
        break;
      case SCSI_STATUS_CANCELLED:
        command.status = reset_ != nullptr ? ScsiStatus::kCancelled : ScsiStatus::kLost;
        break;
      default:
        command.status = ScsiStatus::kLost;
    }
    if (command.status == ScsiStatus::kLost) {
      state_ = State::kLost;  // serve() ends it: not inside one of its callbacks
      serve_later();
    }
    if (command.data == ScsiCommand::Data::kIn) {
      const auto expected = static_cast<std::size_t>(task.expxferlen);
      const bool less = task.residual_status == SCSI_RESIDUAL_UNDERFLOW;
      command.received = expected - (less ? std::min(expected, task.residual) : 0);
    }
    scsi_free_scsi_task(pending.task);
    pending_.erase(pending.self);
    scheduler_.post(command);
  }

  void lose() {
    state_ = State::kLost;
    end();
    logged_in_.wake_all();
    lost_.wake_all();
  }

  void end() {
    if (context_ == nullptr) {
      return;
    }
    // A descriptor that libiscsi has closed has left epoll by itself, and its number may be
    // another's.
    if (descriptor_ >= 0 && iscsi_get_fd(context_) == descriptor_) {
      scheduler_.unwatch(descriptor_);
    }
    descriptor_ = -1;
    state_ = State::kLost;
    iscsi_destroy_context(std::exchange(context_, nullptr));  // calls back for all that waits
    while (!pending_.empty()) {
      finish(pending_.front(), SCSI_STATUS_ERROR);
    }
    if (ScsiReset* const reset = std::exchange(reset_, nullptr)) {
      scheduler_.post(*reset);
    }
    service_.unlink();
  }

  os::EpollScheduler& scheduler_;
  const IscsiOptions& options_;
  WaitList& lost_;
  iscsi_context* context_;
  int descriptor_ = -1;
  int unit_ = 0;
  State state_ = State::kLoggingIn;
  Instant deadline_;
  std::list<Pending> pending_;
  ScsiReset* reset_ = nullptr;
  Service service_;
  Tick tick_;
  WaitList logged_in_;
};

constexpr Duration kRetryFirst = std::chrono::milliseconds(100);
constexpr Duration kRetryMost = std::chrono::seconds(2);

class IscsiTransport final : public ScsiTransport {
 public:
  IscsiTransport(os::EpollScheduler& scheduler, IscsiOptions options)
      : scheduler_(scheduler), options_(std::move(options)), lost_(scheduler), scope_(scheduler) {}

  Task<Status> log_in() {
    session_ = std::make_unique<IscsiSession>(scheduler_, options_, lost_);
    const Status done = co_await session_->log_in();
    if (done.ok()) {
      scope_.spawn(stay_logged_in());
    }
    co_return done;
  }

  void start(ScsiCommand& command) override { session_->start(command); }
  void start_reset(ScsiReset& reset) override { session_->start_reset(reset); }
  [[nodiscard]] bool connected() const override { return session_->connected(); }
  [[nodiscard]] std::string_view name() const override { return options_.url; }
  [[nodiscard]] bool reconnects() const override { return true; }
  [[nodiscard]] std::string_view last_error() const override { return last_error_.context; }
  void observe(ScsiObserver* observer) override { observer_ = observer; }

 private:
  // The nexus is the same in every session: the target ends what is left of an older one (RFC 7143,
  // 6.3.5, session reinstatement), and knows the key again.
  Task<void> stay_logged_in() {
    for (;;) {
      while (session_->connected()) {
        co_await lost_.wait();
      }
      last_error_ = {Errc::kIo, "the session with the target is lost"};
      tell();
      Duration pause = kRetryFirst;
      while (!session_->connected()) {
        co_await sleep(scheduler_, pause);
        pause = std::min(2 * pause, kRetryMost);
        session_ = std::make_unique<IscsiSession>(scheduler_, options_, lost_);
        const Status done = co_await session_->log_in();
        if (!done.ok()) {
          last_error_ = done.error();
        }
      }
      tell();
    }
  }
  void tell() {
    if (observer_ != nullptr) {
      observer_->session_changed();
    }
  }

  os::EpollScheduler& scheduler_;
  const IscsiOptions options_;
  ScsiObserver* observer_ = nullptr;
  Error last_error_{Errc::kIo, ""};
  WaitList lost_;
  std::unique_ptr<IscsiSession> session_;
  TaskScope scope_;
};

}  // namespace

Task<Result<std::unique_ptr<ScsiTransport>>> connect_iscsi(os::EpollScheduler& scheduler,
                                                           IscsiOptions options) {
  auto transport = std::make_unique<IscsiTransport>(scheduler, std::move(options));
  const Status logged_in = co_await transport->log_in();
  if (!logged_in.ok()) {
    co_return logged_in.error();
  }
  co_return std::unique_ptr<ScsiTransport>(std::move(transport));
}

}  // namespace duet::shelf
