// HttpServer: brings HTTP requests to an Api on its strand, and the replies back.
//
//   listening thread -> worker thread -> post to the strand -> Api::handle -> worker answers
//
// One connection carries one request.  A slow client holds a worker thread, never the strand.
//
// Ownership: owns its threads.  Thread-safety: the strand's thread, except where noted.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/api.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/task.h"
#include "platform/task_scope.h"
#include "platform/wait.h"

namespace duet::admin {

struct TlsFiles {
  std::string certificate, key;
};

class HttpServer {
 public:
  // Answers a request; called on the strand.
  using Handler = std::function<Task<Response>(Request)>;

  HttpServer(os::EpollScheduler& strand, Handler handler);
  // REQUIRES: stop() completed, or nothing was opened.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Each gives an empty text, or why it cannot listen.

  // A Unix socket, mode 0600; replaces one that nobody listens on.
  std::string open_unix(const std::string& path);
  // Requests without "Authorization: Bearer TOKEN" are refused.  REQUIRES: !token.empty().
  std::string open_https(const std::string& address, int port, const TlsFiles& files,
                         const std::string& token);
  // Plain HTTP that answers GET /metrics only.
  std::string open_metrics(const std::string& address, int port);

  // Takes no more connections; completes when the last request is answered.
  Task<void> stop();

 private:
  class Endpoint;
  class Call;
  std::string start(std::unique_ptr<Endpoint> endpoint, const std::string& host, int port);

  os::EpollScheduler& strand_;
  Handler handler_;
  WaitList ended_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  TaskScope calls_;
};

}  // namespace duet::admin
