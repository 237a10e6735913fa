// Processes of a test: a supervised server, and what clients and the test see of it.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/parent_link.h"
#include "supervisor/supervisor.h"

namespace duet::supervisor {

using namespace std::chrono_literals;

// Lines from any process that has it to the test.
class Reports {
 public:
  Reports();
  ~Reports();
  Reports(const Reports&) = delete;
  Reports& operator=(const Reports&) = delete;
  void say(const std::string& line) const;
  // The next line; empty: none within ten seconds.
  std::string next();
  // ... none within this time.
  std::string next_within(std::chrono::milliseconds patience);

 private:
  int read_end_ = -1;
  int write_end_ = -1;
  std::string rest_;
};

// A process that runs `body` and exits with what it returns; killed with this object.
class Process {
 public:
  explicit Process(const std::function<int()>& body);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }
  void send(int signal) const;
  // Its exit code, or minus the signal that ended it.
  int wait();

 private:
  pid_t pid_ = -1;
  int result_ = 0;
};

// Whether a process that is no child of ours ends within ten seconds; killed with this object.
class Watched {
 public:
  explicit Watched(pid_t pid);
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  bool ends();

 private:
  int descriptor_;
};

// Stops it with SIGSTOP, and returns when it stands still.
void freeze(pid_t pid);

// A client's blocking connection to 127.0.0.1.
class Connection {
 public:
  explicit Connection(std::uint16_t port);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  [[nodiscard]] bool connected() const { return error_ == 0; }
  [[nodiscard]] int error() const { return error_; }
  // What the server answers, up to a line's end; nullopt: the connection ended, or ten seconds
  // went.
  std::optional<std::string> ask(const std::string& command);
  // Whether it ends within ten seconds.
  bool ends();
  // Whether it has ended, or been sent anything.
  bool ended();

 private:
  int socket_;
  int error_ = 0;
};

// A server for clients above; it does what they say, one line each:
//   who            its process id
//   exit N, abort  ends
//   open N, close N, tell N   asks its parent; answers "ok" or the error's code
//   garbage        sends its parent what makes no sense; answers "ok"
// SIGHUP makes it report "hangup"; SIGTERM ends it with code 0.  It reports "serving PID".
int serve_commands(Inherited inherited, Reports& reports);

// A port of 127.0.0.1 that nobody uses now.
std::uint16_t free_port();

}  // namespace duet::supervisor
