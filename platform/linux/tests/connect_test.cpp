// Connections made without blocking, over loopback and in the file system.

#include "platform/linux/connect.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>

#include "platform/task_scope.h"
#include "temporary_directory.h"

namespace duet::os {
namespace {

using Connected = Result<std::unique_ptr<TcpStream>>;

Task<void> connect(EpollScheduler& scheduler, Task<Connected> task, std::optional<Connected>& to) {
  to = co_await std::move(task);
  scheduler.stop();
}

Connected connected(EpollScheduler& scheduler, Task<Connected> task) {
  std::optional<Connected> result;
  TaskScope scope(scheduler);
  scope.spawn(connect(scheduler, std::move(task), result));
  scheduler.run();
  return std::move(*result);
}

Task<void> exchange(EpollScheduler& scheduler, TcpListener& listener, ByteStream& client,
                    std::string& got) {
  std::unique_ptr<TcpStream> server = listener.try_accept();
  while (server == nullptr) {
    co_await listener.wait();
    server = listener.try_accept();
  }
  const std::string text = "hello";
  ConstBytes part = std::as_bytes(std::span(text));
  const Status written = co_await client.write_all(std::span(&part, 1));
  EXPECT_TRUE(written.ok());
  std::array<std::byte, 16> buffer;
  const Result<std::size_t> read = co_await server->read_some(buffer);
  EXPECT_TRUE(read.ok());
  if (read.ok()) {
    got.assign(reinterpret_cast<const char*>(buffer.data()), read.value());
  }
  scheduler.stop();
}

std::string exchanged(EpollScheduler& scheduler, TcpListener& listener, ByteStream& client) {
  std::string got;
  TaskScope scope(scheduler);
  scope.spawn(exchange(scheduler, listener, client, got));
  scheduler.run();
  return got;
}

TEST(Connect, ReachesAListenerOverTcp) {
  EpollScheduler scheduler;
  TcpListener listener(scheduler, 0);
  const Connected client = connected(
      scheduler,
      connect_tcp(scheduler, listener.address(), {.keepalive_idle_s = 5, .user_timeout_ms = 2000}));
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(exchanged(scheduler, listener, *client.value()), "hello");
}

TEST(Connect, SaysThatNobodyListens) {
  EpollScheduler scheduler;
  std::uint16_t port = 0;
  {
    const TcpListener listener(scheduler, 0);
    port = listener.port();
  }
  const Connected refused =
      connected(scheduler, connect_tcp(scheduler, TcpAddress::loopback(port)));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error(), (Error{Errc::kIo, "Connection refused"}));
}

// The address is of a block for documentation: packets to it go nowhere, or are refused.
TEST(Connect, CanBeAbandonedWhileNobodyAnswers) {
  EpollScheduler scheduler;
  const TcpAddress nowhere = TcpAddress::parse("192.0.2.1", 9).value();
  std::optional<Connected> result;
  TaskScope scope(scheduler);
  scope.spawn(connect(scheduler, connect_tcp(scheduler, nowhere), result));
  scope.cancel();
  EXPECT_TRUE(scope.idle());
}

TEST(UnixListener, IsReachedByItsPathAndOnlyByItsOwner) {
  EpollScheduler scheduler;
  const TemporaryDirectory directory;
  const std::string path = directory.file("s");
  const auto listener = listen_unix(scheduler, path);
  ASSERT_TRUE(listener.ok());
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const Connected client = connected(scheduler, connect_unix(scheduler, path));
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(exchanged(scheduler, *listener.value(), *client.value()), "hello");
}

TEST(UnixListener, ReplacesASocketThatNobodyServesAndNothingElse) {
  EpollScheduler scheduler;
  const TemporaryDirectory directory;
  const std::string path = directory.file("s");
  EXPECT_EQ(connected(scheduler, connect_unix(scheduler, path)).error().code, Errc::kNotFound);
  auto first = listen_unix(scheduler, path);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(listen_unix(scheduler, path).error().code, Errc::kExists);
  first.value().reset();  // the file stays
  EXPECT_EQ(connected(scheduler, connect_unix(scheduler, path)).error().code, Errc::kIo);
  EXPECT_TRUE(listen_unix(scheduler, path).ok());
  const std::string file = directory.file("f");
  ASSERT_NE(fclose(fopen(file.c_str(), "w")), EOF);
  EXPECT_EQ(listen_unix(scheduler, file).error().code, Errc::kExists);
  EXPECT_EQ(listen_unix(scheduler, std::string(200, 'x')).error().code, Errc::kInvalid);
}

}  // namespace
}  // namespace duet::os
