#include "supervisor/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/check.h"
#include "channel.h"
#include "listeners.h"
#include "platform/linux/clock.h"
#include "platform/linux/connect.h"
#include "platform/linux/descriptor.h"
#include "platform/linux/run_task.h"

namespace duet::supervisor {

namespace {

// Messages of a broken child that are answered before signals are looked at again.
constexpr int kMessagesAtOnce = 16;

constexpr Duration kAskAgain = std::chrono::milliseconds(20);
constexpr int kKilledWithin = 200;  // milliseconds, for a helper

// The header of glibc 2.36 declares its pidfd_open for C only.
int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

constexpr auto kNonsense = static_cast<std::uint32_t>(Errc::kInvalid);

// How a child ended.
struct Ending {
  enum class Kind : std::uint8_t { kFinal, kAgain, kCrashed };
  Kind kind = Kind::kCrashed;
  int code = kExitFailed;  // kFinal
  mailbox::Cause cause = mailbox::Cause::kCrashed;
};

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, const std::function<int(Inherited)>& serve)
      : options_(options), serve_(serve), listeners_(options.listeners) {
    DUET_CHECK(options.restarts_max < kCrashesMax);
  }

  int run();

 private:
  [[nodiscard]] bool open_at_start();
  [[nodiscard]] Ending run_child();
  void bury(const Ending& ending, bool comes_back);
  [[noreturn]] void be_child(pid_t parent, os::Descriptor channel);
  void tend(pid_t child, const os::Descriptor& ended, os::Descriptor& channel);
  void hand_on_signals(pid_t child);
  void answer_messages(os::Descriptor& channel);
  [[nodiscard]] Message carry_out(const Message& asked, int& descriptor);
  [[nodiscard]] Ending judge(int status) const;
  [[nodiscard]] std::size_t count_crash();
  void run_aside(const std::function<void()>& what);
  void let_go();
  void reset_queued_later();
  void say(const char* text) const {
    if (options_.say) {
      options_.say(text);
    }
  }

  const SupervisorOptions& options_;
  const std::function<int(Inherited)>& serve_;
  Listeners listeners_;
  os::SystemBootClock clock_;
  sigset_t inherited_mask_{};
  os::Descriptor signals_;
  bool stopping_ = false;          // SIGTERM or SIGINT came
  std::uint64_t incarnation_ = 0;  // of the child
  std::array<Instant, kCrashesMax> crashed_at_{};
  std::size_t crashes_ = 0;  // of those, within the window, oldest first
  pid_t resetter_ = 0;       // the last process of reset_queued_later()
  std::vector<pid_t> held_;  // helpers that were killed and did not end
};

// Until somebody listens at each of the addresses.  False: nobody does within `longest`.
Task<bool> wait_until_answered(os::EpollScheduler& scheduler, std::vector<os::TcpAddress> addresses,
                               Duration longest) {
  const Instant end = scheduler.now() + longest;
  for (const os::TcpAddress& address : addresses) {
    for (bool answered = false; !answered && scheduler.now() < end;) {
      const auto connected = co_await os::connect_tcp(scheduler, address);
      answered = connected.ok();
      if (!answered) {
        co_await sleep(scheduler, kAskAgain);
      }
    }
  }
  co_return scheduler.now() < end;
}

// The first lines of every process that the parent makes.
void become_bound_to(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
    _exit(kExitFailed);  // it died before the kernel knew that we die with it
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    DUET_CHECK(errno == EINTR);
  }
  return status;
}

int Supervisor::run() {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&ours, number);
  }
  DUET_CHECK(sigprocmask(SIG_BLOCK, &ours, &inherited_mask_) == 0);
  signals_ = os::Descriptor(signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC));
  DUET_CHECK(signals_.get() >= 0);
  if (!open_at_start()) {
    return kExitRefused;
  }
  for (;;) {
    const Ending ending = run_child();
    if (ending.kind == Ending::Kind::kFinal) {
      bury(ending, false);
      return ending.code;
    }
    const bool over = count_crash() > options_.restarts_max;
    hand_on_signals(0);
    const bool comes_back = !over && !stopping_;
    bury(ending, comes_back);
    if (over) {
      say("it ended too often in a short time: given up");
    }
    if (!comes_back) {
      return kExitFailed;
    }
    hand_on_signals(0);
    if (stopping_) {  // told so while the last words promised a restart
      bury(ending, false);
      return kExitFailed;
    }
  }
}

// What is done for a child that is gone, before there is another.
void Supervisor::bury(const Ending& ending, bool comes_back) {
  const bool restart = options_.on_crash == OnCrash::kRestartFirst && comes_back;
  if (!restart) {
    let_go();
  }
  // One that ended in order has said what there was to say.
  const bool failed =
      ending.kind == Ending::Kind::kFinal && ending.code != 0 && ending.code != kExitRefused;
  const bool unsaid = failed || ending.kind == Ending::Kind::kCrashed;
  if (unsaid && options_.last_words && incarnation_ != 0) {
    const Death death{.incarnation = incarnation_,
                      .cause = ending.cause,
                      .restart = restart ? options_.restart_deadline : Duration{},
                      .crashes = crashes_};
    run_aside([&] { options_.last_words(death); });
  }
}

bool Supervisor::open_at_start() {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    const Status opened = options_.listeners[i].open_at_start ? listeners_.open(i) : Status(Ok{});
    if (!opened.ok()) {
      const std::string_view why = opened.error().context;
      std::array<char, 160> text{};
      std::snprintf(text.data(), text.size(), "cannot listen on %s: %.*s",
                    options_.listeners[i].address.text().c_str(), static_cast<int>(why.size()),
                    why.data());
      say(text.data());
      return false;
    }
  }
  return true;
}

// ----------------------------------------------------------------------------------- the child

Ending Supervisor::run_child() {
  incarnation_ = 0;
  std::array<int, 2> ends{};
  DUET_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0);
  os::Descriptor ours(ends[0]);
  os::Descriptor theirs(ends[1]);
  const pid_t parent = getpid();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    ours.reset();
    be_child(parent, std::move(theirs));
  }
  theirs.reset();
  if (child < 0) {
    say("out of processes or memory: no child could be started");
    return {};
  }
  const os::Descriptor ended(open_pidfd(child));
  tend(child, ended, ours);
  return judge(wait_for(child));
}

void Supervisor::be_child(pid_t parent, os::Descriptor channel) {
  become_bound_to(parent);
  signals_.reset();
  DUET_CHECK(sigprocmask(SIG_SETMASK, &inherited_mask_, nullptr) == 0);
  Inherited inherited{.channel = channel.release(), .crashes = crashes_};
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    inherited.listeners.push_back(listeners_.descriptor(i));
  }
  const int code = serve_(std::move(inherited));
  std::fflush(nullptr);
  _exit(code);
}

// Until the child has ended.
void Supervisor::tend(pid_t child, const os::Descriptor& ended, os::Descriptor& channel) {
  if (ended.get() < 0) {
    say("out of descriptors: the child cannot be watched");
    kill(child, SIGKILL);
    return;
  }
  for (;;) {
    // A child that closed its channel goes on without: the kernel skips descriptor -1.
    std::array<pollfd, 3> waits{{{.fd = ended.get(), .events = POLLIN, .revents = 0},
                                 {.fd = signals_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = channel.get(), .events = POLLIN, .revents = 0}}};
    if (poll(waits.data(), waits.size(), -1) < 0) {
      continue;  // EINTR, or no memory for the moment
    }
    if (waits[2].revents != 0) {
      answer_messages(channel);  // also what the child said last
    }
    if (waits[0].revents != 0) {
      return;
    }
    hand_on_signals(child);
  }
}

void Supervisor::hand_on_signals(pid_t child) {
  signalfd_siginfo signal{};
  while (read(signals_.get(), &signal, sizeof(signal)) == sizeof(signal)) {
    const int number = static_cast<int>(signal.ssi_signo);
    stopping_ = stopping_ || number != SIGHUP;
    if (child != 0 && signal.ssi_code != SI_KERNEL) {
      kill(child, number);
    }
  }
}

void Supervisor::answer_messages(os::Descriptor& channel) {
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    const Received received = receive_message(channel.get());
    if (received.descriptor >= 0) {
      ::close(received.descriptor);
    }
    switch (received.kind) {
      case Received::Kind::kNothing:
        return;
      case Received::Kind::kClosed:
        channel.reset();
        return;
      case Received::Kind::kBroken:
        break;
      case Received::Kind::kMessage: {
        int descriptor = -1;
        const Message answer = carry_out(received.message, descriptor);
        send_message(channel.get(), answer, descriptor);
        break;
      }
    }
  }
}

Message Supervisor::carry_out(const Message& asked, int& descriptor) {
  Message answer = asked;
  const std::size_t index = asked.listener;
  switch (static_cast<Verb>(asked.verb)) {
    case Verb::kIncarnation:
      incarnation_ = asked.value;
      answer.result = 0;
      return answer;
    case Verb::kOpen: {
      const Status opened = listeners_.open(index);
      answer.result = opened.ok() ? 0 : static_cast<std::uint32_t>(opened.error().code);
      descriptor = opened.ok() ? listeners_.descriptor(index) : -1;
      return answer;
    }
    case Verb::kClose:
      answer.result = index < listeners_.size() ? 0 : kNonsense;
      listeners_.close(index);
      return answer;
  }
  answer.result = kNonsense;
  return answer;
}

Ending Supervisor::judge(int status) const {
  Ending ending;
  std::array<char, 96> text{};
  if (WIFEXITED(status)) {
    const int code = WEXITSTATUS(status);
    if (std::ranges::find(options_.final_codes, code) != options_.final_codes.end()) {
      ending.kind = Ending::Kind::kFinal;
      ending.code = code;
      ending.cause = mailbox::Cause::kStopped;
      return ending;
    }
    ending.kind = code == options_.again_code ? Ending::Kind::kAgain : Ending::Kind::kCrashed;
    std::snprintf(text.data(), text.size(), "the serving process ended with code %d", code);
  } else {
    const int signal = WTERMSIG(status);
    if (stopping_ && (signal == SIGTERM || signal == SIGINT)) {
      ending.kind = Ending::Kind::kFinal;  // it was told before it listened to signals
      ending.code = 0;
      return ending;
    }
    ending.cause = signal == SIGKILL ? mailbox::Cause::kKilled : mailbox::Cause::kCrashed;
    std::snprintf(text.data(), text.size(), "the serving process was ended by signal %d (%s)",
                  signal, sigdescr_np(signal) != nullptr ? sigdescr_np(signal) : "unknown");
  }
  say(text.data());
  return ending;
}

// How many there were within the window, with this one.
std::size_t Supervisor::count_crash() {
  const Instant now = clock_.now();
  const auto end = crashed_at_.begin() + static_cast<std::ptrdiff_t>(crashes_);
  const auto recent = std::find_if(crashed_at_.begin(), end,
                                   [&](Instant at) { return now - at <= options_.crash_window; });
  crashes_ =
      static_cast<std::size_t>(std::move(recent, end, crashed_at_.begin()) - crashed_at_.begin());
  DUET_CHECK(crashes_ < kCrashesMax);  // restarts_max ends it before
  crashed_at_[crashes_++] = now;
  return crashes_;
}

// ------------------------------------------------------------------------ what may fail or hang

void Supervisor::run_aside(const std::function<void()>& what) {
  std::erase_if(held_, [](pid_t each) { return waitpid(each, nullptr, WNOHANG) != 0; });
  const pid_t parent = getpid();
  std::fflush(nullptr);
  const pid_t helper = fork();
  if (helper == 0) {
    become_bound_to(parent);
    signals_.reset();
    // Its own copies, so that nobody listens longer than the parent does.
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      if (listeners_.descriptor(i) >= 0) {
        ::close(listeners_.descriptor(i));
      }
    }
    DUET_CHECK(sigprocmask(SIG_SETMASK, &inherited_mask_, nullptr) == 0);
    what();
    std::fflush(nullptr);
    _exit(0);
  }
  if (helper < 0) {
    say("out of processes or memory: no last words, and addresses are left to their lifetime");
    return;
  }
  const os::Descriptor ended(open_pidfd(helper));
  const Instant end = clock_.now() + options_.words_limit;
  pollfd waits{.fd = ended.get(), .events = POLLIN, .revents = 0};
  while (ended.get() >= 0 && waits.revents == 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - clock_.now());
    if (left.count() <= 0) {
      break;
    }
    poll(&waits, 1, static_cast<int>(left.count()));
  }
  if (waits.revents == 0) {
    say("last words or addresses took too long: left");
    kill(helper, SIGKILL);
    // One that a dead disk holds in the kernel ends when the disk lets it: nobody waits for that.
    poll(&waits, 1, kKilledWithin);
    if (waits.revents == 0) {
      held_.push_back(helper);
      return;
    }
  }
  wait_for(helper);
}

void Supervisor::let_go() {
  if (options_.let_go) {
    run_aside(options_.let_go);
  }
  if (options_.reset_within > Duration{}) {
    reset_queued_later();
  }
  listeners_.close_all();
}

// A process that holds what is in the queues, and whose end resets it.  A client that were told
// while the addresses are nowhere would ask nobody, and again a second later only.
void Supervisor::reset_queued_later() {
  std::vector<int> queued;
  std::vector<os::TcpAddress> addresses;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_.descriptor(i) >= 0) {
      const std::vector<int> more =
          os::TcpListener::take_queued(os::TcpListener::Socket{listeners_.descriptor(i)});
      if (!more.empty()) {
        queued.insert(queued.end(), more.begin(), more.end());
        addresses.push_back(listeners_.address(i));
      }
    }
  }
  if (resetter_ > 0) {
    kill(resetter_, SIGKILL);
    wait_for(resetter_);
    resetter_ = 0;
  }
  // Nobody is to be asked whether somebody answers while that would be ourselves.
  listeners_.close_all();
  if (queued.empty()) {
    return;
  }
  const pid_t parent = getpid();
  resetter_ = fork();
  if (resetter_ == 0) {
    become_bound_to(parent);
    // An address where nothing answers at all keeps connect() for minutes.
    alarm(static_cast<unsigned>(
        std::chrono::ceil<std::chrono::seconds>(options_.reset_within).count()));
    os::EpollScheduler scheduler;
    static_cast<void>(
        os::run(scheduler, wait_until_answered(scheduler, addresses, options_.reset_within)));
    _exit(0);
  }
  for (const int each : queued) {
    ::close(each);  // without a process to hold them, at once
  }
}

}  // namespace

int supervise(const SupervisorOptions& options, const std::function<int(Inherited)>& serve) {
  Supervisor supervisor(options, serve);
  return supervisor.run();
}

}  // namespace duet::supervisor
