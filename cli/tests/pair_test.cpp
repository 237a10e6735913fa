// `duet init`, `check` and `log` of a pair as an operator runs them, with real shelves; and what
// they leave on the disks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "address/address_claim.h"
#include "config/config.h"
#include "mailbox/arbiter.h"
#include "mailbox/marks.h"
#include "nvlog/request_log.h"
#include "platform/linux/clock.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"
#include "platform/linux/run_task.h"
#include "platform/task_scope.h"
#include "programs.h"
#include "shelf/fence.h"
#include "shelf/linux/open_disk.h"
#include "wafl/aggregate.h"

namespace duet::cli {
namespace {

using testing::Arguments;
using testing::BeatingNode;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Program;
using testing::Ran;

using os::run;

// The disks of the pair under test: a0, a1, a2 of filer a, b0, b1 of filer b; a2 arbitrates.
const std::array<std::string, 5> kDisks{"a0", "a1", "a2", "b0", "b1"};

std::string config_text(bool tcp) {
  std::string text = "pair:\n  name: pair-under-test\n  interconnect:\n";
  text += tcp ? "    transport: tcp\n    plaintext: true\n"
              : "    transport: shared-memory\n    directory: run/link\n";
  text += "nodes:\n";
  for (const std::string node : {"a", "b"}) {
    text += "  " + node + ":\n";
    for (const std::string memory : {"memory", "mirror"}) {
      text += "    " + memory + ":\n      path: run/" + node + "/" + memory +
              "\n      size: 64MiB\n      accept_volatile: true\n";
    }
    text += tcp ? "    interconnect:\n      address: 127.0.0.1\n      port: 743" +
                      std::string(node == "a" ? "1" : "2") + "\n"
                : "";
    text += "    admin:\n      socket: run/" + node + "/admin.sock\n";
  }
  text += "filers:\n";
  for (const std::string filer : {"a", "b"}) {
    text += "  " + filer + ":\n    home: " + filer +
            "\n    addresses: [127.0.0.1]\n    port: " + (filer == "a" ? "21001" : "21002") +
            "\n    disks:\n";
    for (const std::string& disk : kDisks) {
      text += disk.starts_with(filer) ? "      - url: shelf+unix://s#" + disk + "\n" : "";
    }
    text += "    cache: 16MiB\n    volumes:\n      - name: vol" + filer +
            "\n    exports:\n      - path: /vol" + filer +
            "\n        clients:\n          - match: 127.0.0.0/8\n";
  }
  return text;
}

class PairTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/duet-pair-XXXXXX";
    place_ = mkdtemp(pattern.data());
    for (const std::string& disk : kDisks) {
      const Ran made = run_program({DUET_SHELF, "create", disk + ".img", "--size", "64M"});
      ASSERT_EQ(made.status, 0) << made.said;
    }
    write_config(/*tcp=*/false);
    pair_ = config::pair_id("pair-under-test");
  }
  ~PairTest() override {
    shelf_.reset();
    std::filesystem::remove_all(place_);
  }

  void write_config(bool tcp) { std::ofstream(place_ + "/duet.yaml") << config_text(tcp); }
  void serve() {
    Arguments arguments{DUET_SHELF, "serve", "--listen", "unix://s"};
    for (const std::string& disk : kDisks) {
      arguments.insert(arguments.end(), {"--disk", disk + "=" + disk + ".img"});
    }
    shelf_ = std::make_unique<Program>(place_, arguments);
    const std::string said = shelf_->read_until("ready\n");
    ASSERT_THAT(said, HasSubstr("ready\n"));
  }
  Ran run_program(const Arguments& arguments) {
    Program program(place_, arguments);
    Ran ran;
    ran.said = program.read_until("\f never said");
    ran.status = program.wait();
    return ran;
  }
  Ran duet(const Arguments& arguments) {
    Arguments all{DUET, "--config", "duet.yaml"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_program(all);
  }
  void init(const Arguments& more = {}) {
    Arguments arguments{"init"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ran ran = duet(arguments);
    ASSERT_EQ(ran.status, 0) << ran.said;
  }

  std::unique_ptr<shelf::SharedDisk> open(const std::string& disk, shelf::DiskKey key) {
    return open_on(scheduler_, disk, key);
  }
  std::unique_ptr<shelf::SharedDisk> open_on(os::EpollScheduler& scheduler, const std::string& disk,
                                             shelf::DiskKey key) const {
    auto url = shelf::DiskUrl::parse("shelf+unix://" + place_ + "/s#" + disk);
    EXPECT_TRUE(url.ok());
    auto opened =
        run(scheduler, shelf::open_shared_disk(scheduler, url.value(), {.key = key, .name = disk}));
    EXPECT_TRUE(opened.ok()) << opened.error().context;
    return std::move(opened.value());
  }
  // As node `node` of a later life than anybody's up to now.
  std::unique_ptr<shelf::SharedDisk> open_as(const std::string& disk, std::uint8_t node) {
    return open(disk, shelf::make_key(node, shelf::kIncarnationMax - 1));
  }

  Task<Result<wafl::DiskRoot>> read_root(std::vector<BlockDevice*> disks) {
    const wafl::AggregateOptions options;
    auto opened = co_await wafl::Aggregate::open(scheduler_, clock_, std::move(disks), options);
    if (!opened.ok()) {
      co_return opened.error();
    }
    co_return opened.value()->root();
  }
  wafl::DiskRoot root_of(const std::string& filer) {
    std::vector<std::unique_ptr<shelf::SharedDisk>> disks;
    std::vector<BlockDevice*> pointers;
    for (const std::string& disk : kDisks) {
      if (disk.starts_with(filer)) {
        disks.push_back(open_as(disk, 0));
        pointers.push_back(disks.back().get());
      }
    }
    const auto root = run(scheduler_, read_root(pointers));
    EXPECT_TRUE(root.ok()) << root.error().context;
    return root.ok() ? root.value() : wafl::DiskRoot{};
  }
  Result<mailbox::Owners> owners() {
    const auto disk = open_as("a2", 0);
    mailbox::Arbiter arbiter({pair_, mailbox::Node::kA, mailbox::Incarnation{1}}, *disk);
    auto read = run(scheduler_, arbiter.read());
    if (!read.ok()) {
      return read.error();
    }
    return read.value().owners;
  }
  shelf::DiskState state_of(const std::string& disk) {
    const auto opened = open_as(disk, 0);
    const auto state = run(scheduler_, read_state(*opened));
    EXPECT_TRUE(state.ok());
    return state.value();
  }
  static Task<Result<shelf::DiskState>> read_state(shelf::SharedDisk& disk) {
    co_return co_await disk.read_state();
  }
  nvlog::RegionProbe memory(const std::string& name) {
    auto mapped =
        os::map_persistent_memory(place_ + "/run/" + name, 64ULL << 20U, {.accept_volatile = true});
    EXPECT_TRUE(mapped.ok());
    return nvlog::probe(*mapped.value());
  }
  // What an orderly opening at home finds (failover/src/opening.cpp): the record and the root
  // agree, no target refuses the next epoch, and nobody's key is there.
  void expect_ready(std::uint32_t filer, std::uint64_t epoch) {
    SCOPED_TRACE(filer == 0 ? "filer a" : "filer b");
    const Result<mailbox::Owners> owners = this->owners();
    ASSERT_TRUE(owners.ok()) << owners.error().context;
    const mailbox::OwnerEntry expected{
        .owner = filer, .previous = filer, .incarnation = 0, .epoch = epoch};
    EXPECT_EQ(owners.value()[filer].epoch, epoch);
    EXPECT_EQ(owners.value()[filer], expected);
    const wafl::DiskRoot root = root_of(filer == 0 ? "a" : "b");
    EXPECT_EQ(root.epoch, epoch);
    EXPECT_EQ(root.pair, pair_);
    EXPECT_EQ(root.filer, filer);
    EXPECT_NE(root.flags & wafl::kRootLogEmpty, 0U);
    EXPECT_EQ(root.mirror_generation, 0U);
    for (const std::string& disk : kDisks) {
      if (disk.starts_with(filer == 0 ? "a" : "b")) {
        const shelf::DiskState state = state_of(disk);
        EXPECT_TRUE(state.keys.empty()) << disk;
        EXPECT_EQ(state.reservation, shelf::Reservation::kNone) << disk;
        EXPECT_EQ(state.epoch, epoch) << disk;
      }
    }
    const nvlog::RegionProbe log = memory(filer == 0 ? "a/memory" : "b/memory");
    EXPECT_EQ(log.areas[filer].pair, pair_);
    EXPECT_EQ(log.areas[filer].log_id, root.log_id);
    EXPECT_EQ(log.epochs[filer], epoch);
    EXPECT_EQ(log.areas[1 - filer], nvlog::LogIdentity{}) << "made when that filer is opened here";
    EXPECT_TRUE(memory(filer == 0 ? "a/mirror" : "b/mirror").blank);
  }

  std::string place_;
  std::array<std::uint64_t, 2> pair_{};
  os::EpollScheduler scheduler_;
  os::SystemClock clock_;
  std::unique_ptr<Program> shelf_;
};

TEST_F(PairTest, ANodeRefusesToListenWhereOthersDo) {
  serve();
  init();
  const Arguments duetd{DUETD, "--config", "duet.yaml", "--node", "b"};
  const os::TcpAddress first = os::TcpAddress::parse("127.0.0.1", 21001).value();
  address::AddressClaim::Other other;
  {
    const auto strangers = address::AddressClaim::take(first, {.pair = {1, 2}, .node = 'a'}, other);
    ASSERT_TRUE(strangers.ok());
    const Ran ran = run_program(duetd);
    EXPECT_EQ(ran.status, 2);
    EXPECT_THAT(ran.said, HasSubstr("127.0.0.1:21001 belongs to another pair, process " +
                                    std::to_string(getpid()) + " of this machine; stop that one"));
  }
  {
    const auto foreign = os::TcpListener::listen(scheduler_, first);
    ASSERT_TRUE(foreign.ok());
    const Ran ran = run_program(duetd);
    EXPECT_EQ(ran.status, 2);
    EXPECT_THAT(ran.said,
                HasSubstr("127.0.0.1 port 21001: Address already in use; stop what uses"));
  }
  const auto itself = address::AddressClaim::take(first, {.pair = pair_, .node = 'b'}, other);
  ASSERT_TRUE(itself.ok());
  const Ran ran = run_program(duetd);
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.said, HasSubstr("node b of pair pair-under-test runs on this machine already, "
                                  "as process " +
                                  std::to_string(getpid())));
}

TEST_F(PairTest, WithoutShelvesInitSaysWhatToStart) {
  const Ran ran = duet({"init"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.said, HasSubstr("disk shelf+unix://s#a0: "));
  EXPECT_THAT(ran.said, HasSubstr("start the shelf that serves it (duet-shelf serve; for the "
                                  "sample pair: deploy/samples/pair.sh shelves)"));
  EXPECT_FALSE(std::filesystem::exists(place_ + "/run"));
}

TEST_F(PairTest, InitFormatsBothFilersAndTheRecordNamesTheirEpochs) {
  serve();
  init();
  expect_ready(0, 1);
  expect_ready(1, 1);
  EXPECT_TRUE(std::filesystem::is_directory(place_ + "/run/link"));
  const Ran check = duet({"check"});
  EXPECT_EQ(check.status, 0) << check.said;
  EXPECT_THAT(check.said, HasSubstr("filer a: clean"));
  EXPECT_THAT(check.said, HasSubstr("filer b: clean"));
  const Ran one = duet({"check", "--node", "b"});
  EXPECT_EQ(one.status, 0) << one.said;
  EXPECT_THAT(one.said, Not(HasSubstr("filer a")));
  const Ran log = duet({"log", "--node", "b"});
  EXPECT_EQ(log.status, 0) << log.said;
  EXPECT_THAT(log.said, HasSubstr("filer b: epoch 1, 0 records"));
  EXPECT_THAT(log.said, HasSubstr("copies of the partner's logs: run/b/mirror is NOT persistent"));
}

TEST_F(PairTest, ASecondInitTouchesNothingAndNamesWhatWouldBeLost) {
  serve();
  init();
  const std::uint64_t log_id = root_of("a").log_id;
  const Ran ran = duet({"init"});
  EXPECT_EQ(ran.status, 1);
  for (const char* const lost :
       {"nothing was touched, because data would be lost: ",
        "disk shelf+unix://s#a0 is disk 0 of filer a (64 MiB)",
        "disk shelf+unix://s#b1 is disk 1 of filer b (64 MiB)",
        "memory run/a/memory holds the log of filer a with 0 records", "--force destroys it"}) {
    EXPECT_THAT(ran.said, HasSubstr(lost));
  }
  EXPECT_EQ(root_of("a").log_id, log_id);
  expect_ready(0, 1);
  expect_ready(1, 1);
}

// What an earlier life left does not keep the new pair from opening: a higher epoch at a target, a
// reservation and keys of nodes that are gone, a solo mark, last words.
TEST_F(PairTest, ForcedInitLeavesNothingOfWhatWasThereBefore) {
  serve();
  init();
  {
    const auto disk = open("b0", shelf::make_key(1, 77));
    const auto live = [](shelf::SharedDisk& which, std::array<std::uint64_t, 2> pair,
                         os::EpollScheduler& scheduler) -> Task<Status> {
      const Status joined = co_await shelf::join_disk(which, shelf::Reservation::kWriteExclusive);
      if (!joined.ok()) {
        co_return joined;
      }
      mailbox::MemberDisks members;
      members.push_back(&which);
      const mailbox::Writer writer{pair, mailbox::Node::kB, mailbox::Incarnation{77}};
      mailbox::Marks marks(scheduler, writer, 1, members);
      const Status marked = co_await marks.set(9, 1234);
      if (!marked.ok()) {
        co_return marked;
      }
      co_return co_await which.raise_epoch(9);
    };
    ASSERT_TRUE(run(scheduler_, live(*disk, pair_, scheduler_)).ok());
  }
  ASSERT_EQ(state_of("b0").keys.size(), 1U);
  init({"--force"});
  expect_ready(0, 2);
  expect_ready(1, 10);
  const auto disk = open_as("b0", 1);
  mailbox::Marks marks(scheduler_, {pair_, mailbox::Node::kB, mailbox::Incarnation{78}}, 1,
                       {disk.get()});
  const mailbox::MarkReading read = run(scheduler_, marks.read());
  EXPECT_TRUE(read.quorum);
  EXPECT_FALSE(read.mark.has_value());
}

TEST_F(PairTest, NothingIsFormattedOrCheckedUnderANodeThatLives) {
  serve();
  init();
  const std::uint64_t log_id = root_of("a").log_id;
  {
    // Node b has taken filer a over: it beats on its own member.
    const BeatingNode b(
        mailbox::Node::kB, 0b11,
        [this](os::EpollScheduler& scheduler) {
          return open_on(scheduler, "b1", shelf::make_key(1, 7));
        },
        pair_);
    for (const Arguments& arguments :
         {Arguments{"init", "--force"}, Arguments{"init", "--force", "--node", "a"}}) {
      const Ran ran = duet(arguments);
      EXPECT_EQ(ran.status, 1) << ran.said;
      EXPECT_THAT(ran.said, HasSubstr("nothing was touched, because node b is alive and serves "
                                      "filer a and filer b; stop its duetd"));
    }
    const Ran check = duet({"check", "--node", "a"});
    EXPECT_EQ(check.status, 2) << check.said;
    EXPECT_THAT(check.said, HasSubstr("filer a cannot be checked: node b is alive"));
  }
  EXPECT_EQ(root_of("a").log_id, log_id);
  const Ran check = duet({"check"});
  EXPECT_EQ(check.status, 0) << check.said;  // its last beat stands there, and does not change
  init({"--force"});
}

TEST_F(PairTest, TwoMachinesFormatOneFilerEachInAnyOrder) {
  serve();
  write_config(/*tcp=*/true);
  const Ran both = duet({"init"});
  EXPECT_EQ(both.status, 2);
  EXPECT_THAT(both.said, HasSubstr("duet.yaml:3: the nodes of this pair are two machines"));
  EXPECT_THAT(both.said, HasSubstr("run `duet init --node a`"));

  const Ran b = duet({"init", "--node", "b"});
  ASSERT_EQ(b.status, 0) << b.said;
  EXPECT_THAT(b.said, HasSubstr("the owner record will be written with filer a: run `duet init "
                                "--node a` on that node's machine"));
  EXPECT_FALSE(std::filesystem::exists(place_ + "/run/a"));
  EXPECT_EQ(owners().error().code, Errc::kNotFound);
  init({"--node", "a"});
  expect_ready(0, 1);
  expect_ready(1, 1);
}

TEST_F(PairTest, AFilerThatIsFormattedSecondChangesTheRecord) {
  serve();
  write_config(/*tcp=*/true);
  init({"--node", "a"});
  ASSERT_TRUE(owners().ok());
  EXPECT_EQ(owners().value()[1].epoch, 0U);  // not there yet
  const Ran b = duet({"init", "--node", "b"});
  ASSERT_EQ(b.status, 0) << b.said;
  expect_ready(0, 1);
  expect_ready(1, 1);
}

TEST_F(PairTest, OneFilerIsFormattedAnewAndTheOtherKeepsItsDataAndItsOwner) {
  serve();
  write_config(/*tcp=*/true);
  init({"--node", "a"});
  init({"--node", "b"});
  const wafl::DiskRoot root_a = root_of("a");
  init({"--node", "b", "--force"});
  expect_ready(0, 1);
  expect_ready(1, 2);
  EXPECT_EQ(root_of("a").log_id, root_a.log_id);
  // The record stands on a disk of filer a, which is wiped: what it said of b is kept.
  init({"--node", "a", "--force"});
  expect_ready(0, 2);
  expect_ready(1, 2);
  EXPECT_NE(root_of("a").log_id, root_a.log_id);
}

TEST_F(PairTest, DataThatIsNotDuetsIsNotOverwritten) {
  std::fstream(place_ + "/b0.img", std::ios::in | std::ios::out) << "precious";
  serve();
  const Ran ran = duet({"init"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.said, HasSubstr("disk shelf+unix://s#b0 holds data that is not Duet's"));
  EXPECT_FALSE(std::filesystem::exists(place_ + "/run"));
  EXPECT_EQ(owners().error().code, Errc::kNotFound);
}

TEST_F(PairTest, DamageOfOneFilerIsFoundByTheCheckOfBoth) {
  serve();
  init();
  shelf_.reset();
  std::fstream image(place_ + "/b0.img", std::ios::in | std::ios::out);
  image.seekp(1 << 20U);  // behind label, roots and mailbox
  image << std::string(4U << 20U, 'x');
  image.close();
  serve();
  const Ran check = duet({"check", "--json"});
  EXPECT_EQ(check.status, 1) << check.said;
  EXPECT_THAT(check.said, HasSubstr("\"clean\": false,\n  \"filers\": {\n    \"a\": {"));
  const Ran a = duet({"check", "--node", "a"});
  EXPECT_EQ(a.status, 0) << a.said;
}

}  // namespace
}  // namespace duet::cli
