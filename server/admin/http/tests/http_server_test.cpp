#include "admin/http/http_server.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace duet::admin {
namespace {

Task<Response> echo(Request request) {
  co_return Response{201, "text/plain", request.method + " " + request.path + " " + request.body};
}

Task<void> stop_all(HttpServer& server, os::EpollScheduler& strand) {
  co_await server.stop();
  strand.stop();
}

// A server on a strand of its own thread.
class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() : server_(strand_, echo) {
    std::string pattern = testing::TempDir() + "/duet-http-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/s";
  }
  ~HttpServerTest() override { rmdir(directory_.c_str()); }

  // Runs `client` beside the strand until it ends.
  void serve(const std::function<void()>& client) {
    struct Stop final : Continuation {
      HttpServerTest* test = nullptr;
      void run() override { test->scope_.spawn(stop_all(test->server_, test->strand_)); }
    } stop;
    stop.test = this;
    std::thread thread([&] {
      client();
      strand_.post_remote(stop);
    });
    strand_.run();
    thread.join();
  }

  os::EpollScheduler strand_;
  HttpServer server_;
  TaskScope scope_{strand_};
  std::string directory_, path_;
};

TEST_F(HttpServerTest, AUnixSocketIsForItsOwnerAndCarriesRequests) {
  ASSERT_EQ(server_.open_unix(path_), "");
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  serve([&] {
    httplib::Client client(path_);
    client.set_address_family(AF_UNIX);
    const auto answer = client.Post("/v1/a%20b", "{}", "application/json");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 201);
    EXPECT_EQ(answer->body, "POST /v1/a b {}");
  });
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
}

TEST_F(HttpServerTest, ASocketThatSomebodyAnswersIsNotTaken) {
  ASSERT_EQ(server_.open_unix(path_), "");
  HttpServer second(strand_, echo);
  EXPECT_EQ(second.open_unix(path_), "another program listens there");
  serve([] {});
}

TEST_F(HttpServerTest, ADeadSocketIsReplaced) {
  {
    HttpServer crashed(strand_, echo);
    ASSERT_EQ(crashed.open_unix(path_), "");
    link(path_.c_str(), (path_ + "2").c_str());
    TaskScope scope(strand_);
    scope.spawn(stop_all(crashed, strand_));
    strand_.run();
  }
  rename((path_ + "2").c_str(), path_.c_str());
  ASSERT_EQ(server_.open_unix(path_), "");
  serve([] {});
}

TEST_F(HttpServerTest, TheMetricsPortAnswersNothingElse) {
  // Port 0 lets the kernel choose; the client cannot know it, so a fixed one is tried upwards.
  int port = 34'567;
  while (!server_.open_metrics("127.0.0.1", port).empty() && port < 34'667) {
    ++port;
  }
  serve([&] {
    httplib::Client client("127.0.0.1", port);
    EXPECT_EQ(client.Get("/metrics")->status, 201);
    EXPECT_EQ(client.Get("/v1/status")->status, 404);
    EXPECT_EQ(client.Post("/metrics", "", "text/plain")->status, 404);
  });
}

TEST_F(HttpServerTest, ATooLargeBodyIsRefusedBeforeTheStrandSeesIt) {
  ASSERT_EQ(server_.open_unix(path_), "");
  serve([&] {
    httplib::Client client(path_);
    client.set_address_family(AF_UNIX);
    const auto answer = client.Post("/v1/x", std::string(1U << 20U, ' '), "application/json");
    EXPECT_TRUE(!answer || answer->status == 413);
  });
}

TEST_F(HttpServerTest, ARequestWithoutALengthIsAnsweredAndDoesNotWait) {
  ASSERT_EQ(server_.open_unix(path_), "");
  serve([&] {
    const int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, path_.size());
    ASSERT_EQ(connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const std::string request = "POST /v1/cp HTTP/1.1\r\nHost: x\r\n\r\n";
    ASSERT_EQ(write(connection, request.data(), request.size()),
              static_cast<ssize_t>(request.size()));
    std::string answer(64, ' ');
    ASSERT_GT(read(connection, answer.data(), answer.size()), 0);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 411 ")) << answer;
    close(connection);
  });
}

}  // namespace
}  // namespace duet::admin
