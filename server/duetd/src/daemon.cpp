#include "daemon.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "nbd/server.h"
#include "notify.h"
#include "pair.h"
#include "platform/linux/run_task.h"
#include "single.h"
#include "trace.h"

namespace duet::daemon {

namespace {

constexpr std::uint64_t kOtherDescriptors = 256;
constexpr std::size_t kTokenBytesMin = 16;

// For the person at the terminal.
int refuse(const std::string& message) {
  fmt::print(stderr, "duetd: {}\n", message);
  return kExitRefused;
}

// Connections are descriptors: takes as many as the system gives.
void raise_descriptor_limit(std::uint64_t connections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < connections + kOtherDescriptors) {
    trace(Level::kWarning, "descriptor_limit",
          {{"limit", std::to_string(limit.rlim_cur)},
           {"connections", std::to_string(connections)},
           {"remedy", "raise LimitNOFILE (ulimit -Hn), or lower limits.connections"}});
  }
}

std::unique_ptr<Role> make_role(Machine& machine, supervisor::ParentLink* parent) {
  if (machine.config.is_pair()) {
    return std::make_unique<Pair>(machine, *parent);
  }
  return std::make_unique<Single>(machine);
}

}  // namespace

Daemon::Daemon(config::Config config, const std::string& node_name, supervisor::ParentLink* parent)
    : machine_(std::move(config), node_name),
      signals_(machine_.strand),
      role_(make_role(machine_, parent)),
      http_(machine_.strand, [this](admin::Request request) { return answer(std::move(request)); }),
      scope_(machine_.strand) {}

Daemon::~Daemon() = default;

int Daemon::run() {
  std::uint64_t connections = 0;
  for (const config::Filer& filer : machine_.config.filers) {
    const bool served = machine_.config.is_pair() || filer.home == machine_.node.name;
    connections += served ? filer.limits.connections : 0;
  }
  connections += machine_.node.nbd.empty() ? 0 : nbd::ServerOptions{}.connections_max;
  raise_descriptor_limit(connections);
  for (const auto step : {&Daemon::open_memory, &Daemon::open_role, &Daemon::open_admin}) {
    if (const std::string wrong = (this->*step)(); !wrong.empty()) {
      close_admin();
      return refuse(wrong);
    }
  }
  int exit_code = kExitFailed;
  machine_.start_threads();
  scope_.spawn(main(exit_code));
  machine_.strand.run();
  machine_.stop_threads();
  return exit_code;
}

std::string Daemon::open_memory() { return machine_.map(machine_.node.memory, machine_.memory); }

std::string Daemon::open_admin() {
  const config::Admin& admin = machine_.node.admin;
  std::string token;
  if (admin.https) {
    std::ifstream stream(admin.https->token_file.text);
    std::getline(stream, token);
    if (token.size() < kTokenBytesMin) {
      return fmt::format("{}: token file {}: fewer than {} characters; write a long random text",
                         machine_.place(admin.https->token_file.line), admin.https->token_file.text,
                         kTokenBytesMin);
    }
  }
  std::string wrong = http_.open_unix(admin.socket.text);
  int line = admin.socket.line;
  if (wrong.empty() && admin.https) {
    const config::Listener& at = admin.https->listener;
    line = at.line;
    wrong = http_.open_https(at.address, at.port,
                             {admin.https->certificate.text, admin.https->key.text}, token);
  }
  if (wrong.empty() && admin.metrics) {
    line = admin.metrics->line;
    wrong = http_.open_metrics(admin.metrics->address, admin.metrics->port);
  }
  return wrong.empty() ? ""
                       : fmt::format("{}: administration: {}; correct or free it",
                                     machine_.place(line), wrong);
}

// Those that were opened before another could not be have threads.
void Daemon::close_admin() {
  const auto stop = [this]() -> Task<bool> {
    co_await http_.stop();
    co_return true;
  };
  os::run(machine_.strand, stop());
}

Task<void> Daemon::main(int& exit_code) {
  exit_code = co_await role_->begin();
  if (exit_code == kExitOk) {
    exit_code = co_await work();
  } else {
    co_await http_.stop();
  }
  machine_.strand.stop();
}

Task<int> Daemon::work() {
  answering_ = true;
  notify("READY=1\nSTATUS=Serving");
  for (;;) {
    const int number = co_await signals_.next();
    if (number != SIGHUP) {
      trace(Level::kInfo, "stopping", {{"signal", std::to_string(number)}});
      break;
    }
    co_await role_->reload();
  }
  notify("STOPPING=1");
  const int exit_code = co_await role_->stop();
  if (exit_code == kExitAgain) {
    // It was shut out.  A call under way may wait for what never comes, and nothing is left to be
    // done in order.
    std::_Exit(exit_code);
  }
  co_await http_.stop();
  co_return exit_code;
}

Task<admin::Response> Daemon::answer(admin::Request request) {
  if (!answering_) {
    admin::Response response;
    response.status = 503;
    response.body =
        R"({"error": {"code": "closed", "message": "the node is starting or stopping"}})";
    co_return response;
  }
  co_return co_await role_->answer(std::move(request));
}

}  // namespace duet::daemon
