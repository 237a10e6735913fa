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

class IscsiTransport final : public ScsiTransport, private os::SocketEvents {
 public:
  IscsiTransport(os::EpollScheduler& scheduler, IscsiOptions options)
      : scheduler_(scheduler),
        options_(std::move(options)),
        context_(iscsi_create_context(options_.initiator.c_str())),
        service_(*this),
        tick_(*this),
        logged_in_(scheduler) {
    DUET_CHECK(context_ != nullptr);
  }
  ~IscsiTransport() override { end(); }
  IscsiTransport(const IscsiTransport&) = delete;
  IscsiTransport& operator=(const IscsiTransport&) = delete;

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

  void start(ScsiCommand& command) override {
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
    if (iscsi_scsi_command_async(context_, unit_, pending.task, &IscsiTransport::on_done, nullptr,
                                 &pending) != 0) {
      finish(pending, SCSI_STATUS_ERROR);
      return;
    }
    serve_later();
    tick_later();
  }

  void start_reset(ScsiReset& reset) override {
    DUET_CHECK(reset_ == nullptr);
    reset.done = false;
    reset_ = &reset;
    if (state_ != State::kLoggedIn ||
        iscsi_task_mgmt_lun_reset_async(context_, static_cast<std::uint32_t>(unit_),
                                        &IscsiTransport::on_reset, this) != 0) {
      scheduler_.post(*std::exchange(reset_, nullptr));
      return;
    }
    serve_later();
    tick_later();
  }

  [[nodiscard]] bool connected() const override { return state_ == State::kLoggedIn; }
  [[nodiscard]] std::string_view name() const override { return options_.url; }

 private:
  enum class State : std::uint8_t { kLoggingIn, kLoggedIn, kLost };

  struct Pending {
    Pending(IscsiTransport& owner, ScsiCommand& what) : transport(owner), command(what) {}
    IscsiTransport& transport;
    ScsiCommand& command;
    scsi_task* task = nullptr;
    std::vector<scsi_iovec> vectors;
    std::list<Pending>::iterator self;
  };
  struct Service final : Continuation {
    explicit Service(IscsiTransport& owner) : transport(owner) {}
    void run() override { transport.serve(); }
    IscsiTransport& transport;
  };
  struct Tick final : Continuation {
    explicit Tick(IscsiTransport& owner) : transport(owner) {}
    void run() override { transport.tick(); }
    IscsiTransport& transport;
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
    return iscsi_full_connect_async(context_, url.portal, url.lun, &IscsiTransport::on_login, this);
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
    auto& transport = *static_cast<IscsiTransport*>(self);
    if (transport.state_ == State::kLoggingIn && status == SCSI_STATUS_GOOD) {
      transport.state_ = State::kLoggedIn;
    } else {
      transport.state_ = State::kLost;  // also when it was torn down later
    }
    transport.logged_in_.wake_all();
  }
  static void on_done(iscsi_context* /*context*/, int status, void* /*data*/, void* self) {
    auto& pending = *static_cast<Pending*>(self);
    pending.transport.finish(pending, status);
  }
  static void on_reset(iscsi_context* /*context*/, int status, void* data, void* self) {
    auto& transport = *static_cast<IscsiTransport*>(self);
    if (ScsiReset* const reset = std::exchange(transport.reset_, nullptr)) {
      reset->done = status == SCSI_STATUS_GOOD && data != nullptr &&
                    *static_cast<std::uint32_t*>(data) == ISCSI_TMR_FUNC_COMPLETE;
      transport.scheduler_.post(*reset);
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
  const IscsiOptions options_;
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
