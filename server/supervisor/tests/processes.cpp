#include "processes.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace duet::supervisor {

namespace {

// The header of glibc 2.36 declares its pidfd_open for C only.
int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

constexpr int kPatienceMs = 10'000;

bool readable(int descriptor, int patience_ms) {
  pollfd waits{.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&waits, 1, patience_ms) == 1;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Reports::Reports() {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  read_end_ = ends[0];
  write_end_ = ends[1];
}

Reports::~Reports() {
  close(read_end_);
  close(write_end_);
}

void Reports::say(const std::string& line) const {
  const std::string whole = line + "\n";
  if (write(write_end_, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) {
    std::abort();
  }
}

std::string Reports::next() { return next_within(std::chrono::milliseconds(kPatienceMs)); }

std::string Reports::next_within(std::chrono::milliseconds patience) {
  std::size_t end = 0;
  while ((end = rest_.find('\n')) == std::string::npos) {
    std::array<char, 256> buffer{};
    if (!readable(read_end_, static_cast<int>(patience.count()))) {
      return "";
    }
    const ssize_t got = read(read_end_, buffer.data(), buffer.size());
    if (got <= 0) {
      return "";
    }
    rest_.append(buffer.data(), static_cast<std::size_t>(got));
  }
  const std::string line = rest_.substr(0, end);
  rest_.erase(0, end + 1);
  return line;
}

Process::Process(const std::function<int()>& body) {
  const pid_t test = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(getppid() == test ? body() : 99);
  }
}

Process::~Process() {
  if (pid_ > 0) {
    send(SIGKILL);
    wait();
  }
}

void Process::send(int signal) const { kill(pid_, signal); }

int Process::wait() {
  if (pid_ > 0) {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    result_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  return result_;
}

Watched::Watched(pid_t pid) : descriptor_(open_pidfd(pid)) {}
Watched::~Watched() {
  // Nobody else would end it when the test has failed.
  syscall(SYS_pidfd_send_signal, descriptor_, SIGKILL, nullptr, 0);
  close(descriptor_);
}
bool Watched::ends() { return descriptor_ >= 0 && readable(descriptor_, kPatienceMs); }

void freeze(pid_t pid) {
  EXPECT_EQ(kill(pid, SIGSTOP), 0);
  for (std::string state; state.find("State:\tT") == std::string::npos;) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    ASSERT_TRUE(file.good());
    state.assign(std::istreambuf_iterator<char>(file), {});
  }
}

Connection::Connection(std::uint16_t port)
    : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const sockaddr_in to = loopback(port);
  error_ = connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0 ? 0 : errno;
}

Connection::~Connection() { close(socket_); }

std::optional<std::string> Connection::ask(const std::string& command) {
  const std::string line = command + "\n";
  if (send(socket_, line.data(), line.size(), MSG_NOSIGNAL) < 0) {
    return std::nullopt;
  }
  std::string answer;
  while (answer.find('\n') == std::string::npos) {
    std::array<char, 256> buffer{};
    const ssize_t got =
        readable(socket_, kPatienceMs) ? read(socket_, buffer.data(), buffer.size()) : -1;
    if (got <= 0) {
      return std::nullopt;
    }
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return answer.substr(0, answer.find('\n'));
}

bool Connection::ends() {
  char byte = 0;
  return readable(socket_, kPatienceMs) && read(socket_, &byte, 1) <= 0;
}

bool Connection::ended() { return readable(socket_, 0); }

// ------------------------------------------------------------------------------- the server

namespace {

std::string answer_of(const Status& status) {
  return status.ok() ? "ok" : std::to_string(static_cast<int>(status.error().code));
}

class Server {
 public:
  Server(Inherited inherited, Reports& reports)
      : inherited_(std::move(inherited)), reports_(reports), link_(inherited_.channel) {}

  int run() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    reports_.say("serving " + std::to_string(getpid()));
    for (;;) {
      std::vector<pollfd> waits{{.fd = signal_fd, .events = POLLIN, .revents = 0}};
      for (const int each : inherited_.listeners) {
        waits.push_back({.fd = each, .events = POLLIN, .revents = 0});
      }
      for (const int each : clients_) {
        waits.push_back({.fd = each, .events = POLLIN, .revents = 0});
      }
      poll(waits.data(), waits.size(), -1);
      if (waits[0].revents != 0) {
        signalfd_siginfo signal{};
        EXPECT_GT(read(signal_fd, &signal, sizeof(signal)), 0);
        if (signal.ssi_signo == SIGTERM) {
          return 0;
        }
        reports_.say("hangup");
      }
      const std::size_t listeners = inherited_.listeners.size();
      for (std::size_t i = 1; i < waits.size(); ++i) {
        if (waits[i].revents == 0) {
          continue;
        }
        if (i > listeners) {
          talk(waits[i].fd);
        } else if (const int client = accept(waits[i].fd, nullptr, nullptr); client >= 0) {
          clients_.push_back(client);
        }
      }
    }
  }

 private:
  void talk(int client) {
    std::array<char, 256> buffer{};
    const ssize_t got = read(client, buffer.data(), buffer.size());
    if (got <= 0) {
      close(client);
      std::erase(clients_, client);
      return;
    }
    const std::string command(buffer.data(), static_cast<std::size_t>(got));
    const std::string answer = carry_out(command.substr(0, command.find('\n'))) + "\n";
    EXPECT_GT(send(client, answer.data(), answer.size(), MSG_NOSIGNAL), 0);
  }

  std::string carry_out(const std::string& command) {
    const std::string verb = command.substr(0, command.find(' '));
    const std::size_t number =
        verb == command ? 0 : std::strtoull(command.c_str() + verb.size(), nullptr, 10);
    if (verb == "who") {
      return std::to_string(getpid());
    }
    if (verb == "exit") {
      _exit(static_cast<int>(number));
    }
    if (verb == "abort") {
      signal(SIGABRT, SIG_DFL);
      abort();
    }
    if (verb == "tell") {
      return answer_of(link_.tell_incarnation(number));
    }
    if (verb == "open") {
      const Result<int> opened = link_.open_listener(number);
      if (!opened.ok()) {
        return answer_of(opened.error());
      }
      inherited_.listeners[number] = opened.value();
      return "ok";
    }
    if (verb == "close") {
      // Its copy stays open: nobody may listen all the same.
      return answer_of(link_.close_listener(number));
    }
    if (verb == "garbage") {
      send(inherited_.channel, "x", 1, 0);
      const std::string much(1000, 'x');
      send(inherited_.channel, much.data(), much.size(), 0);
      const std::string verbless(24, '\x7f');
      send(inherited_.channel, verbless.data(), verbless.size(), 0);
      return "ok";
    }
    return "what?";
  }

  Inherited inherited_;
  Reports& reports_;
  ParentLink link_;
  std::vector<int> clients_;
};

}  // namespace

int serve_commands(Inherited inherited, Reports& reports) {
  Server server(std::move(inherited), reports);
  return server.run();
}

std::uint16_t free_port() {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t bytes = sizeof(address);
  EXPECT_EQ(bind(probe, reinterpret_cast<const sockaddr*>(&address), bytes), 0);
  EXPECT_EQ(getsockname(probe, reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  close(probe);
  return ntohs(address.sin_port);
}

}  // namespace duet::supervisor
