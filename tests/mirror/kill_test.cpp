// Real processes: the owner of a mirrored log is killed, or its partner is, over each transport.

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <random>

#include "node.h"

namespace duet::mirror_test {
namespace {

using std::chrono::milliseconds;

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path(std::filesystem::path(::testing::TempDir()) / "duet_mirror_XXXXXX") {
    EXPECT_NE(mkdtemp(path.data()), nullptr);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

// As in interconnect/linux/tests: runs until `done()`.
template <typename Done>
bool run_until(os::EpollScheduler& scheduler, Done done) {
  struct Look final : Continuation {
    Look(os::EpollScheduler& world, Done& condition, Instant deadline)
        : scheduler(world), done(condition), end(deadline) {}
    void run() override {
      if (done() || scheduler.now() >= end) {
        scheduler.stop();
      } else {
        scheduler.post_at(*this, scheduler.now() + milliseconds(1));
      }
    }
    os::EpollScheduler& scheduler;
    Done& done;
    Instant end;
  };
  Look look(scheduler, done, scheduler.now() + std::chrono::seconds(30));
  scheduler.post(look);
  scheduler.run();
  return done();
}

// What the owner tells the test, in order; a pipe outlives who wrote into it.
struct Report {
  std::uint64_t is_root = 0;  // else a sequence that is durable
  nvlog::Covered root;
  std::uint64_t durable = 0;
};

std::vector<std::byte> body_of(std::uint64_t sequence) {
  std::mt19937_64 random(sequence);
  std::vector<std::byte> body(1 + random() % 20'000);
  for (std::byte& b : body) {
    b = static_cast<std::byte>(random());
  }
  return body;
}

// The owner: appends without end, a few in flight, a CP now and then.
class Owner final : public Continuation {
 public:
  Owner(os::EpollScheduler& scheduler, NodeProcess& node, nvlog::Covered& root, int pipe)
      : scheduler_(scheduler), node_(node), root_(root), pipe_(pipe) {
    scheduler.post(*this);
  }
  void run() override {
    nvlog::MirroredLog& log = *node_.log;
    for (int i = 0; i < 4 && last() < durable() + 16; ++i) {
      const auto body = body_of(last() + 1);
      if (!log.fits(body.size()) || log.filling_records() > 100 || node_.duties.cp_wanted) {
        node_.consistency_point(root_, [this](const nvlog::Covered& root) {
          tell({.is_root = 1, .root = root, .durable = 0});
        });
      }
      if (!log.fits(body.size())) {
        break;
      }
      const ConstBytes part(body);
      DUET_CHECK(log.append(std::span(&part, 1)).ok());
    }
    if (durable() > told_) {
      told_ = durable();
      tell({.is_root = 0, .root = {}, .durable = told_});
    }
    scheduler_.post(*this);
  }

 private:
  [[nodiscard]] std::uint64_t last() const { return static_cast<std::uint64_t>(node_.log->last()); }
  [[nodiscard]] std::uint64_t durable() const {
    return static_cast<std::uint64_t>(node_.log->durable());
  }
  void tell(const Report& report) const {
    DUET_CHECK(::write(pipe_, &report, sizeof(report)) == sizeof(report));
  }
  os::EpollScheduler& scheduler_;
  NodeProcess& node_;
  nvlog::Covered& root_;
  int pipe_;
  std::uint64_t told_ = 0;
};

class Kill : public ::testing::TestWithParam<Transport> {
 protected:
  Kill() {
    meeting.transport = GetParam();
    meeting.directory = directory.path;
  }
  std::unique_ptr<os::TcpListener> listen() {
    if (meeting.transport == Transport::kSharedMemory) {
      return nullptr;
    }
    auto listener = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(meeting.port));
    EXPECT_TRUE(listener.ok());
    meeting.port = listener.value()->port();
    return std::move(listener.value());
  }
  [[noreturn]] void be_owner(nvlog::Covered root, int pipe) const {
    os::EpollScheduler own;
    NodeProcess node(own, meeting, interconnect::Node::kA);
    DUET_CHECK(node.open(root).ok());
    const Report opened{.is_root = 1, .root = root, .durable = 0};
    DUET_CHECK(::write(pipe, &opened, sizeof(opened)) == sizeof(opened));
    const Owner owner(own, node, root, pipe);
    own.run();
    _exit(4);
  }

  TemporaryDirectory directory;
  os::EpollScheduler scheduler;
  Meeting meeting;
};

struct Replayed {
  std::uint64_t last = 0;
  bool right = true;
  Status operator()(const nvlog::ReplayRecord& record) {
    last = static_cast<std::uint64_t>(record.sequence);
    const auto body = body_of(last);
    right = right && std::equal(body.begin(), body.end(), record.body.begin(), record.body.end());
    return Ok{};
  }
};

TEST_P(Kill, OfTheOwnerLosesNothingThatItCountedDurable) {
  std::random_device seed;
  std::mt19937 random(seed());
  nvlog::Covered root{.epoch = 1, .last = {}, .log_empty = true};
  NodeProcess node(scheduler, meeting, interconnect::Node::kB, listen());
  for (int round = 0; round < 6; ++round) {
    node.port->admit(kLog.filer, root.epoch);
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      be_owner(root, pipe[1]);
    }
    ::close(pipe[1]);
    // It runs until the partner's copy is complete, and a while longer.
    ASSERT_TRUE(
        run_until(scheduler, [&] { return node.port->copy(kLog.filer).epoch == root.epoch + 1; }));
    const Instant end = scheduler.now() + milliseconds(20 + random() % 200);
    run_until(scheduler, [&] { return scheduler.now() >= end; });
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    std::uint64_t durable = 0;
    for (Report report; ::read(pipe[0], &report, sizeof(report)) == sizeof(report);) {
      if (report.is_root != 0) {
        root = report.root;
      } else {
        durable = report.durable;
      }
    }
    ::close(pipe[0]);
    ASSERT_GT(durable, 0U);

    // The partner's copy has it all, though the owner's memory be lost ...
    const auto copy = node.port->take(kLog.filer);
    Replayed there;
    nvlog::Covered taken_root = root;
    ASSERT_TRUE(node.open(taken_root, copy.get(), std::ref(there)).ok());
    EXPECT_TRUE(node.log->recovered_from_copy());
    EXPECT_GE(static_cast<std::uint64_t>(node.log->last()), durable);
    EXPECT_TRUE(there.right);
    node.log.reset();
    // ... and so has its own, from which it opens again in the next round.
    const auto own =
        os::map_persistent_memory(meeting.file("own-a"), memory_bytes(), {.accept_volatile = true});
    ASSERT_TRUE(own.ok());
    Replayed here;
    const auto recovered =
        nvlog::RequestLog::recover(scheduler, *own.value(), kLog, root, std::ref(here));
    ASSERT_TRUE(recovered.ok()) << recovered.error().context;
    EXPECT_GE(static_cast<std::uint64_t>(recovered.value()->last()), durable);
    EXPECT_TRUE(here.right);
    std::cout << "round " << round << ": " << durable << " durable, here "
              << static_cast<std::uint64_t>(recovered.value()->last()) << ", there " << there.last
              << '\n';
    // The epoch that `node.open()` began was this test's; its log is forgotten.
    ASSERT_TRUE(nvlog::format_area(*node.own, kLog, 0).ok());
  }
}

TEST_P(Kill, OfThePartnerMeansSoloAndItsReturnMeansBothAgain) {
  nvlog::Covered root{.epoch = 1, .last = {}, .log_empty = true};
  NodeProcess* node = nullptr;
  std::unique_ptr<NodeProcess> owner;
  const auto start_partner = [&] {
    // Node b's port is drawn here, and stays.
    listen().reset();
    const pid_t child = fork();
    if (child == 0) {
      os::EpollScheduler own;
      auto again =
          meeting.transport == Transport::kSharedMemory
              ? nullptr
              : std::move(
                    os::TcpListener::listen(own, os::TcpAddress::loopback(meeting.port)).value());
      NodeProcess b(own, meeting, interconnect::Node::kB, std::move(again));
      b.port->admit(kLog.filer, 1);
      own.run();
      _exit(4);
    }
    return child;
  };
  pid_t child = start_partner();
  ASSERT_GT(child, 0);
  owner = std::make_unique<NodeProcess>(scheduler, meeting, interconnect::Node::kA);
  node = owner.get();
  ASSERT_TRUE(node->open(root).ok());
  const auto nothing = [](const nvlog::Covered&) {};
  const auto append_one = [&] {
    const auto body = body_of(static_cast<std::uint64_t>(node->log->last()) + 1);
    const ConstBytes part(body);
    EXPECT_TRUE(node->log->append(std::span(&part, 1)).ok());
  };
  const auto all_durable = [&] { return node->log->durable() == node->log->last(); };
  for (int round = 0; round < 3; ++round) {
    node->consistency_point(root, nothing);
    ASSERT_TRUE(run_until(scheduler, [&] {
      if (node->duties.cp_wanted) {
        node->consistency_point(root, nothing);
      }
      return node->synced();
    }));
    append_one();
    ASSERT_TRUE(run_until(scheduler, all_durable));
    EXPECT_FALSE(node->duties.marked);
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    append_one();
    ASSERT_TRUE(run_until(scheduler, [&] { return node->log->mirror_status().solo; }));
    EXPECT_TRUE(node->duties.marked);
    append_one();
    EXPECT_TRUE(all_durable());
    child = start_partner();
    ASSERT_GT(child, 0);
  }
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
}

INSTANTIATE_TEST_SUITE_P(Transports, Kill,
                         ::testing::Values(Transport::kSharedMemory, Transport::kTls),
                         [](const auto& which) {
                           return which.param == Transport::kSharedMemory ? "SharedMemory" : "Tls";
                         });

}  // namespace
}  // namespace duet::mirror_test
