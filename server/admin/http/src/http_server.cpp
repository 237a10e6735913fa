// Compiled with exceptions: cpp-httplib uses them inside (CMakeLists.txt).

#include "admin/http/http_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

namespace duet::admin {

namespace {

constexpr std::size_t kBodyBytesMax = 256U << 10U;
constexpr std::size_t kWorkers = 8;
constexpr std::time_t kIdleSeconds = 5;

// Whether somebody answers on the socket at `path`.
bool alive(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool answered =
      connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(descriptor);
  return answered;
}

// In a time that does not tell how much of it was right.
bool same_secret(const std::string& left, const std::string& right) {
  unsigned difference = left.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < left.size(); ++i) {
    difference |= static_cast<unsigned char>(left[i]) ^
                  static_cast<unsigned char>(right[i % std::max<std::size_t>(right.size(), 1)]);
  }
  return difference == 0;
}

}  // namespace

// One request on its way to the strand and back.  A worker thread owns it and waits.
class HttpServer::Call final : public Continuation {
 public:
  Call(HttpServer& server, Request request) : server_(server), request_(std::move(request)) {}

  Response wait() {
    server_.strand_.post_remote(*this);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return std::move(response_);
  }

  // On the strand.
  void run() override { server_.calls_.spawn(answer(*this)); }

 private:
  static Task<void> answer(Call& call) {
    Response response = co_await call.server_.handler_(std::move(call.request_));
    call.complete(std::move(response));
  }

  void complete(Response response) {
    const std::lock_guard lock(mutex_);
    response_ = std::move(response);
    done_ = true;
    changed_.notify_one();  // under the lock: the waiter destroys this as soon as it can
  }

  HttpServer& server_;
  Request request_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  Response response_;
};

// One listening socket with its threads.
class HttpServer::Endpoint final : private Continuation {
 public:
  Endpoint(HttpServer& owner, std::unique_ptr<httplib::Server> server)
      : owner_(owner), server_(std::move(server)) {
    server_->set_payload_max_length(kBodyBytesMax);
    server_->set_keep_alive_max_count(1);
    server_->set_read_timeout(kIdleSeconds);
    server_->set_write_timeout(kIdleSeconds);
    // httplib would read a body without a length up to the end of the connection.
    server_->set_pre_routing_handler([](const httplib::Request& from, httplib::Response& to) {
      const bool sized = from.has_header("Content-Length") || from.has_header("Transfer-Encoding");
      if (from.method == "GET" || from.method == "HEAD" || sized) {
        return httplib::Server::HandlerResponse::Unhandled;
      }
      constexpr int kLengthRequired = 411;
      to.status = kLengthRequired;
      to.set_content(
          "{\"error\": {\"code\": \"length_required\", \"message\": \"the request has no length; "
          "send Content-Length, 0 without a body (curl -d '')\"}}\n",
          "application/json");
      return httplib::Server::HandlerResponse::Handled;
    });
    server_->new_task_queue = [] { return new httplib::ThreadPool(kWorkers); };
  }
  ~Endpoint() {
    if (thread_.joinable()) {
      thread_.join();
    }
    if (!unix_path.empty()) {
      ::unlink(unix_path.c_str());
    }
  }

  [[nodiscard]] httplib::Server& http() { return *server_; }

  void start() {
    thread_ = std::thread([this] {
      server_->listen_after_bind();
      owner_.strand_.post_remote(*this);
    });
  }

  // Until the listening thread has begun, httplib forgets a stop; so this is asked again and again.
  void stop() { server_->stop(); }
  [[nodiscard]] bool running() const { return server_->is_running(); }
  [[nodiscard]] bool ended() const { return ended_; }

  std::string unix_path;
  std::string token;  // empty: none is asked for
  bool metrics_only = false;

  void answer(const httplib::Request& from, httplib::Response& to) {
    Response response;
    if (!token.empty() && !same_secret("Bearer " + token, from.get_header_value("Authorization"))) {
      response = {
          401, "application/json",
          "{\"error\": {\"code\": \"unauthorized\", \"message\": \"the bearer token is missing "
          "or wrong\", \"remedy\": \"send the one in the node's admin.https.token_file "
          "(duet --token-file)\"}}\n"};
    } else if (metrics_only && (from.method != "GET" || from.path != "/metrics")) {
      response = {404, "text/plain", "only GET /metrics is answered here\n"};
    } else {
      Request request;
      request.method = from.method;
      request.path = from.path;
      request.body = from.body;
      response = Call(owner_, std::move(request)).wait();
    }
    to.status = response.status;
    to.set_content(response.body, response.content_type.c_str());
  }

 private:
  void run() override {
    ended_ = true;
    owner_.ended_.wake_all();
  }

  HttpServer& owner_;
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
  bool ended_ = false;
};

HttpServer::HttpServer(os::EpollScheduler& strand, Handler handler)
    : strand_(strand), handler_(std::move(handler)), ended_(strand), calls_(strand) {}

HttpServer::~HttpServer() = default;

std::string HttpServer::start(std::unique_ptr<Endpoint> endpoint, const std::string& host,
                              int port) {
  httplib::Server& http = endpoint->http();
  Endpoint* const raw = endpoint.get();
  const auto handler = [raw](const httplib::Request& request, httplib::Response& response) {
    raw->answer(request, response);
  };
  http.Get("/.*", handler);
  http.Post("/.*", handler);
  http.Put("/.*", handler);
  http.Patch("/.*", handler);
  http.Delete("/.*", handler);
  errno = 0;
  if (!http.is_valid() || !http.bind_to_port(host, port)) {
    return errno != 0 ? std::strerror(errno) : "the certificate or the key cannot be used";
  }
  endpoint->start();
  endpoints_.push_back(std::move(endpoint));
  return {};
}

std::string HttpServer::open_unix(const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) {
    if (alive(path)) {
      return "another program listens there";
    }
    ::unlink(path.c_str());
  }
  auto http = std::make_unique<httplib::Server>();
  http->set_address_family(AF_UNIX);
  // Before bind, so that there is no moment at which others may connect.
  http->set_socket_options([](socket_t descriptor) { fchmod(descriptor, 0600); });
  auto endpoint = std::make_unique<Endpoint>(*this, std::move(http));
  Endpoint* const raw = endpoint.get();
  std::string error = start(std::move(endpoint), path, 1);
  if (error.empty()) {
    raw->unix_path = path;
  }
  return error;
}

std::string HttpServer::open_https(const std::string& address, int port, const TlsFiles& files,
                                   const std::string& token) {
  auto http = std::make_unique<httplib::SSLServer>(files.certificate.c_str(), files.key.c_str());
  auto endpoint = std::make_unique<Endpoint>(*this, std::move(http));
  endpoint->token = token;
  return start(std::move(endpoint), address, port);
}

std::string HttpServer::open_metrics(const std::string& address, int port) {
  auto endpoint = std::make_unique<Endpoint>(*this, std::make_unique<httplib::Server>());
  endpoint->metrics_only = true;
  return start(std::move(endpoint), address, port);
}

Task<void> HttpServer::stop() {
  for (const std::unique_ptr<Endpoint>& endpoint : endpoints_) {
    while (!endpoint->running() && !endpoint->ended()) {
      co_await sleep(strand_, std::chrono::milliseconds(1));
    }
    endpoint->stop();
    while (!endpoint->ended()) {
      co_await ended_.wait();
    }
  }
  co_await calls_.join();
  endpoints_.clear();
}

}  // namespace duet::admin
