// duet-shelf as it is run: real sockets, kill -9, a second start; and what it refuses.

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "platform/linux/run_task.h"
#include "platform/task_scope.h"
#include "shelf/fence.h"
#include "shelf/linux/open_disk.h"

namespace duet::shelf {
namespace {

using Arguments = std::vector<std::string>;

// A directory that is gone at the end.
class Place {
 public:
  Place() : path_(std::filesystem::path(testing::TempDir()) / "duet_shelf_XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The program as a process of ours, ended at the latest with this object.
class Program {
 public:
  explicit Program(const Arguments& arguments) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    std::vector<char*> argv;
    Arguments all{DUET_SHELF};
    all.insert(all.end(), arguments.begin(), arguments.end());
    for (std::string& each : all) {
      argv.push_back(each.data());
    }
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      execv(DUET_SHELF, argv.data());
      _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
  }
  ~Program() {
    end(SIGKILL);
    close(output_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // All it says up to `text`; or up to its end.
  std::string read_until(const std::string& text) {
    std::string said;
    std::array<char, 512> buffer{};
    while (said.find(text) == std::string::npos) {
      const ssize_t got = read(output_, buffer.data(), buffer.size());
      if (got <= 0) {
        break;
      }
      said.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return said;
  }
  // Its exit status, or minus the signal that ended it.
  int end(int signal) {
    if (pid_ > 0) {
      kill(pid_, signal);
    }
    return wait();
  }
  int wait() {
    if (pid_ > 0) {
      int status = 0;
      EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
      pid_ = -1;
      result_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    return result_;
  }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  int result_ = 0;
};

struct Ran {
  int status = 0;
  std::string said;
};
Ran run_program(const Arguments& arguments) {
  Program program(arguments);
  Ran ran;
  ran.said = program.read_until("\f never said");
  ran.status = program.wait();
  return ran;
}

using os::run;

struct alignas(kBlockBytes) AlignedBlock {
  std::array<std::byte, kBlockBytes> bytes{};
};

Task<Status> write_block(SharedDisk& disk, std::uint64_t block, AlignedBlock& from) {
  const MutableBytes part(from.bytes);
  co_return co_await disk.write(block, std::span(&part, 1));
}
Task<Status> read_block(SharedDisk& disk, std::uint64_t block, AlignedBlock& into) {
  const MutableBytes part(into.bytes);
  co_return co_await disk.read(block, std::span(&part, 1));
}
Task<Result<DiskState>> read_state(SharedDisk& disk) { co_return co_await disk.read_state(); }
Task<Status> raise(SharedDisk& disk, std::uint64_t epoch) {
  co_return co_await disk.raise_epoch(epoch);
}

std::string url_in(const std::string& said, const std::string& scheme) {
  const std::size_t at = said.find(scheme);
  return at == std::string::npos ? "" : said.substr(at, said.find('\n', at) - at);
}

// A file with a key of one digit repeated.
std::string key_file(const Place& place, const std::string& name, char digit) {
  std::ofstream(place.file(name)) << std::string(64, digit) << "\n";
  EXPECT_EQ(chmod(place.file(name).c_str(), 0600), 0);
  return place.file(name);
}

class ProgramTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const char* const name : {"d0.img", "d1.img"}) {
      const Ran ran = run_program({"create", place_.file(name), "--size", "4M"});
      ASSERT_EQ(ran.status, 0) << ran.said;
    }
  }
  std::unique_ptr<Program> serve(const std::string& listen) {
    Arguments arguments{"serve",
                        "--listen",
                        listen,
                        "--disk",
                        "d0=" + place_.file("d0.img"),
                        "--disk",
                        "d1=" + place_.file("d1.img")};
    if (listen.starts_with("tls")) {
      arguments.insert(arguments.end(), {"--key-file", key_file(place_, "key", 'a')});
    }
    auto program = std::make_unique<Program>(arguments);
    const std::string said = program->read_until("ready\n");
    EXPECT_NE(said.find("ready\n"), std::string::npos) << said;
    tcp_ = url_in(said, listen.substr(0, 6));
    return program;
  }
  // As `listen` of serve(), with the port that the kernel chose before.
  [[nodiscard]] std::string again(const std::string& listen) const {
    return listen.starts_with("unix") ? listen : tcp_;
  }
  std::unique_ptr<SharedDisk> open(os::EpollScheduler& scheduler, const std::string& listen,
                                   DiskKey key, const std::string& disk = "d0") {
    std::string url =
        listen.starts_with("unix") ? "shelf+" + listen + "#" + disk : "shelf+" + tcp_ + "/" + disk;
    if (listen.starts_with("tls")) {
      url += "?key_file=" + place_.file("key");
    }
    const auto parsed = DiskUrl::parse(url);
    EXPECT_TRUE(parsed.ok()) << url;
    auto opened = run(scheduler, open_shared_disk(scheduler, parsed.value(), {.key = key}));
    EXPECT_TRUE(opened.ok()) << opened.error().context;
    return std::move(opened.value());
  }
  std::string listen_url() {
    const std::string kind = GetParam();
    return kind == "unix" ? "unix://" + place_.file("s") : kind + "://127.0.0.1:0";
  }

  Place place_;
  std::string tcp_;
};
INSTANTIATE_TEST_SUITE_P(Sockets, ProgramTest, ::testing::Values("unix", "tcp", "tls"),
                         [](const auto& tested) { return tested.param; });

TEST_P(ProgramTest, KeepsReservationsAndEpochsWhenItIsKilled) {
  const std::string listen = listen_url();
  auto program = serve(listen);
  os::EpollScheduler scheduler;
  const auto a = open(scheduler, listen, make_key(0, 1));
  const auto b = open(scheduler, listen, make_key(1, 1));
  const auto other = open(scheduler, listen, make_key(0, 1), "d1");
  ASSERT_TRUE(run(scheduler, join_disk(*a, Reservation::kWriteExclusive)).ok());
  ASSERT_TRUE(run(scheduler, join_disk(*b, Reservation::kWriteExclusive)).ok());
  ASSERT_TRUE(run(scheduler, raise(*b, 9)).ok());
  ASSERT_TRUE(run(scheduler, fence_disk(*b, Reservation::kWriteExclusive)).ok());
  AlignedBlock block;
  block.bytes.fill(std::byte{1});
  EXPECT_EQ(run(scheduler, write_block(*a, 3, block)).error().code, Errc::kFenced);
  const auto before = run(scheduler, read_state(*b));
  ASSERT_TRUE(before.ok());
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(program->end(SIGKILL), -SIGKILL);
    program = serve(again(listen));
    const auto after = run(scheduler, read_state(*b));
    ASSERT_TRUE(after.ok());
    EXPECT_EQ(after.value(), before.value());
    EXPECT_EQ(run(scheduler, write_block(*a, 3, block)).error().code, Errc::kFenced);
    EXPECT_TRUE(run(scheduler, write_block(*b, 3, block)).ok());
    EXPECT_TRUE(run(scheduler, write_block(*other, 3, block)).ok());
  }
  EXPECT_EQ(program->end(SIGTERM), 0);
  const std::string said = program->read_until("\f never said");
  EXPECT_NE(said.find("disk d0: node 1 (incarnation 1) is connected"), std::string::npos) << said;
  const Ran shown = run_program({"show", place_.file("d0.img")});
  EXPECT_EQ(shown.status, 0) << shown.said;
  EXPECT_NE(shown.said.find("node 1 incarnation 1"), std::string::npos) << shown.said;
  EXPECT_EQ(shown.said.find("node 0"), std::string::npos) << shown.said;
}

// Writes without end, each block as often as its number says.
class Load {
 public:
  Load(os::EpollScheduler& scheduler, SharedDisk& disk, int at_once)
      : scheduler_(scheduler), disk_(disk), scope_(scheduler) {
    for (int i = 0; i < at_once; ++i) {
      scope_.spawn(write_on(static_cast<std::uint64_t>(i)));
    }
  }
  [[nodiscard]] std::uint64_t acknowledged(std::uint64_t block) const { return done_[block]; }
  [[nodiscard]] std::uint64_t total() const { return total_; }
  [[nodiscard]] std::uint64_t failed() const { return failed_; }
  void stop() { stopping_ = true; }
  Task<Status> join() {
    co_await scope_.join();
    co_return Ok{};
  }

 private:
  Task<void> write_on(std::uint64_t at) {
    const auto block = std::make_unique<AlignedBlock>();
    const MutableBytes part(block->bytes);
    while (!stopping_) {
      duet::store(part, 0, done_[at] + 1);
      const Status written = co_await disk_.write(at, std::span(&part, 1));
      if (!written.ok()) {
        ++failed_;
        co_await sleep(scheduler_, std::chrono::milliseconds(1));
        continue;
      }
      ++done_[at];
      ++total_;
    }
  }

  os::EpollScheduler& scheduler_;
  SharedDisk& disk_;
  bool stopping_ = false;
  std::array<std::uint64_t, 64> done_{};
  std::uint64_t total_ = 0;
  std::uint64_t failed_ = 0;
  TaskScope scope_;
};

Task<Status> until_more(os::EpollScheduler& scheduler, Load& load, std::uint64_t more) {
  const std::uint64_t goal = load.total() + more;
  while (load.total() < goal) {
    co_await sleep(scheduler, std::chrono::milliseconds(1));
  }
  co_return Ok{};
}

TEST_P(ProgramTest, LosesNoAcknowledgedWriteWhenItIsKilledUnderLoad) {
  const std::string listen = listen_url();
  auto program = serve(listen);
  os::EpollScheduler scheduler;
  const auto a = open(scheduler, listen, make_key(0, 1));
  Load load(scheduler, *a, 64);
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(run(scheduler, until_more(scheduler, load, 200)).ok());
    EXPECT_EQ(program->end(SIGKILL), -SIGKILL);
    program = serve(again(listen));
  }
  load.stop();
  ASSERT_TRUE(run(scheduler, load.join()).ok());
  EXPECT_EQ(load.failed(), 0U);
  for (std::uint64_t at = 0; at < 64; ++at) {
    AlignedBlock block;
    ASSERT_TRUE(run(scheduler, read_block(*a, at, block)).ok());
    EXPECT_EQ(duet::load<std::uint64_t>(block.bytes, 0), load.acknowledged(at)) << at;
  }
  // The last one may have answered everything before its end: the reads need the next.
  EXPECT_EQ(a->health().reconnects, 5U);
}

TEST(Program, TalksOverTlsOnlyWithThoseWhoHaveItsKey) {
  const Place place;
  const std::string image = place.file("d0.img");
  ASSERT_EQ(run_program({"create", image, "--size", "1M"}).status, 0);
  Program program({"serve", "--listen", "tls://127.0.0.1:0", "--key-file",
                   key_file(place, "key", 'a'), "--disk", "d0=" + image});
  const std::string at = url_in(program.read_until("ready\n"), "tls://").substr(6) + "/d0";
  key_file(place, "other", 'b');
  os::EpollScheduler scheduler;
  const auto opened = [&](const std::string& url) {
    OpenOptions options;
    options.key = make_key(0, 1);
    options.fail_after = std::chrono::milliseconds(300);
    options.silence_max = std::chrono::milliseconds(300);
    const auto disk =
        run(scheduler, open_shared_disk(scheduler, DiskUrl::parse(url).value(), options));
    return disk.ok() ? Errc{} : disk.error().code;
  };
  EXPECT_EQ(opened("shelf+tls://" + at + "?key_file=" + place.file("key")), Errc{});
  EXPECT_EQ(opened("shelf+tls://" + at + "?key_file=" + place.file("other")), Errc::kRefused);
  EXPECT_EQ(opened("shelf+tls://" + at + "?key_file=" + place.file("none")), Errc::kNotFound);
  EXPECT_EQ(opened("shelf+tls://" + at), Errc::kNotFound) << "no key is named";
  EXPECT_EQ(opened("shelf+tcp://" + at), Errc::kIo) << "without TLS";
  EXPECT_EQ(opened("shelf+tls://" + at + "?key_file=" + place.file("key")), Errc{});
  EXPECT_EQ(program.end(SIGTERM), 0);
  EXPECT_NE(program.read_until("\f never said").find("did not prove itself"), std::string::npos);
}

TEST(Program, RefusesWithAReasonAndChangesNothing) {
  const Place place;
  const std::string image = place.file("d0.img");
  const std::string listen = "unix://" + place.file("s");
  const auto refused = [](const Arguments& arguments, const std::string& reason) {
    const Ran ran = run_program(arguments);
    EXPECT_EQ(ran.status, 2) << ran.said;
    EXPECT_NE(ran.said.find(reason), std::string::npos) << ran.said;
  };
  refused({}, "subcommand");
  refused({"create", image}, "No such file");
  refused({"create", image, "--size", "12"}, "4096");
  refused({"serve", "--listen", listen, "--disk", "d0=" + image}, "No such file");
  ASSERT_EQ(run_program({"create", image, "--size", "1M"}).status, 0);
  refused({"create", image, "--size", "1M"}, "a label already");
  refused({"create", place.file("d0.img"), "--label-dir", place.file("none")}, "No such file");
  refused({"serve", "--listen", listen, "--disk", image}, "NAME=PATH");
  refused({"serve", "--listen", "http://x", "--disk", "d0=" + image}, "unix:///path");
  refused({"serve", "--listen", "tcp://127.0.0.1", "--disk", "d0=" + image}, "192.0.2.7:7420");
  for (const char* const open : {"tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.7:7420"}) {
    refused({"serve", "--listen", open, "--disk", "d0=" + image}, "--plaintext");
  }
  refused({"serve", "--listen", "tls://127.0.0.1:0", "--disk", "d0=" + image}, "needs --key-file");
  const std::string key = key_file(place, "key", 'a');
  const Arguments with_key{"serve", "--listen", "tls://127.0.0.1:0", "--key-file",
                           key,     "--disk",   "d0=" + image};
  EXPECT_EQ(chmod(key.c_str(), 0644), 0);
  refused(with_key, "others may read");
  key_file(place, "key", 'x');
  refused(with_key, "hexadecimal");
  refused({"serve", "--listen", listen, "--disk", "d0=" + image, "--disk", "d0=" + image, "--wait",
           "0"},
          "in use");
  std::filesystem::resize_file(image, 8192);
  refused({"serve", "--listen", listen, "--disk", "d0=" + image}, "larger disk");
  {
    std::fstream label(image + ".label", std::ios::in | std::ios::out | std::ios::binary);
    for (const std::streamoff at : {100, 8 * 4096 + 100}) {
      label.seekp(at);
      label.put('x');
    }
  }
  refused({"serve", "--listen", listen, "--disk", "d0=" + image}, "damaged");
  std::filesystem::remove(image + ".label");
  refused({"serve", "--listen", listen, "--disk", "d0=" + image}, "duet-shelf create");
}

TEST(Program, TwoShelvesDoNotShareADisk) {
  const Place place;
  const std::string image = place.file("d0.img");
  ASSERT_EQ(run_program({"create", image, "--size", "1M"}).status, 0);
  Program first({"serve", "--listen", "unix://" + place.file("s"), "--disk", "d0=" + image});
  first.read_until("ready\n");
  const Ran second = run_program(
      {"serve", "--listen", "unix://" + place.file("t"), "--disk", "d0=" + image, "--wait", "0"});
  EXPECT_EQ(second.status, 2);
  EXPECT_NE(second.said.find("in use"), std::string::npos) << second.said;
}

}  // namespace
}  // namespace duet::shelf
