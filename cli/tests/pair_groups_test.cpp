// `duet init` and `check` of a pair whose filers live on redundancy groups, with real shelves; and
// what they leave on the disks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "mailbox/arbiter.h"
#include "nvlog/request_log.h"
#include "platform/linux/clock.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/persistent_memory.h"
#include "platform/linux/run_task.h"
#include "programs.h"
#include "raid/intent_format.h"
#include "raid/label.h"
#include "shelf/linux/open_disk.h"

namespace duet::cli {
namespace {

using testing::Arguments;
using testing::BeatingNode;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Program;
using testing::Ran;

using os::run;

// Five disks of one group, c0 to c4: members of a, of b, the record, members of a, of b; a spare.
const std::vector<std::string> kDisks{"c0", "c1", "c2", "c3", "c4", "s0"};
constexpr std::uint64_t kMemoryBytes = 80ULL << 20U;

std::string config_text(bool tcp) {
  std::string text = "pair:\n  name: pair-under-test\n  interconnect:\n";
  text += tcp ? "    transport: tcp\n    plaintext: true\n"
              : "    transport: shared-memory\n    directory: run/link\n";
  text += "raid:\n  - name: tank\n    level: raid6\n    disks:\n";
  for (const std::string& disk : kDisks) {
    text += (disk == "s0" ? "    spares:\n" : "") + ("      - url: shelf+unix://s#" + disk + "\n");
  }
  text += "    virtual_disks:\n      - {name: a, size: 80MiB}\n      - {name: b}\nnodes:\n";
  for (const std::string node : {"a", "b"}) {
    text += "  " + node + ":\n";
    for (const std::string memory : {"memory", "mirror"}) {
      text += "    " + memory + ":\n      path: run/" + node + "/" + memory +
              "\n      size: 80MiB\n      accept_volatile: true\n";
    }
    text += tcp ? "    interconnect:\n      address: 127.0.0.1\n      port: 743" +
                      std::string(node == "a" ? "1" : "2") + "\n"
                : "";
    text += "    admin:\n      socket: run/" + node + "/admin.sock\n";
  }
  text += "filers:\n";
  for (const std::string filer : {"a", "b"}) {
    text += "  " + filer + ":\n    home: " + filer +
            "\n    addresses: [127.0.0.1]\n    port: " + (filer == "a" ? "21003" : "21004") +
            "\n    disks:\n      - raid: tank/" + filer +
            "\n    cache: 16MiB\n    volumes:\n      - name: vol" + filer +
            "\n    exports:\n      - path: /vol" + filer +
            "\n        clients:\n          - match: 127.0.0.0/8\n";
  }
  return text;
}

class PairGroupsTest : public ::testing::Test {
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
  ~PairGroupsTest() override {
    shelf_.reset();
    std::filesystem::remove_all(place_);
  }

  void write_config(bool tcp) { std::ofstream(place_ + "/duet.yaml") << config_text(tcp); }
  void serve(const std::set<std::string>& without = {}) {
    shelf_.reset();
    Arguments arguments{DUET_SHELF, "serve", "--listen", "unix://s"};
    for (const std::string& disk : kDisks) {
      if (!without.contains(disk)) {
        arguments.insert(arguments.end(), {"--disk", disk + "=" + disk + ".img"});
      }
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
  std::string init(const Arguments& more = {}) {
    Arguments arguments{"init"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ran ran = duet(arguments);
    EXPECT_EQ(ran.status, 0) << ran.said;
    return ran.said;
  }
  void expect_clean() {
    const Ran check = duet({"check"});
    EXPECT_EQ(check.status, 0) << check.said;
    EXPECT_THAT(check.said, HasSubstr("filer a: clean"));
    EXPECT_THAT(check.said, HasSubstr("filer b: clean"));
    EXPECT_THAT(check.said, Not(HasSubstr("note:")));
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
  std::unique_ptr<shelf::SharedDisk> open(const std::string& disk) {
    return open_on(scheduler_, disk, shelf::make_key(0, shelf::kIncarnationMax - 1));
  }
  raid::GroupLabel label_of(const std::string& disk) {
    const auto opened = open(disk);
    const auto label = run(scheduler_, raid::read_label(*opened));
    EXPECT_TRUE(label.ok()) << label.error().context;
    return label.ok() ? label.value() : raid::GroupLabel{};
  }
  static Task<Result<shelf::DiskState>> read_state(shelf::SharedDisk& disk) {
    co_return co_await disk.read_state();
  }
  // What both nodes find when they start: a group at rest, the record, nobody's key.
  void expect_ready(std::uint64_t epoch_a, std::uint64_t epoch_b) {
    for (const std::string& disk : kDisks) {
      SCOPED_TRACE(disk);
      const raid::GroupLabel label = label_of(disk);
      EXPECT_EQ(label.nodes, 0b11U);
      EXPECT_EQ(label.holders, 0U);
      EXPECT_EQ(label.owed, 0U);
      EXPECT_EQ(label.own == raid::kSpare, disk == "s0");
      const auto opened = open(disk);
      const auto state = run(scheduler_, read_state(*opened));
      ASSERT_TRUE(state.ok());
      EXPECT_TRUE(state.value().keys.empty());
      EXPECT_EQ(state.value().reservation, shelf::Reservation::kNone);
      EXPECT_LE(state.value().epoch, std::min(epoch_a, epoch_b));
    }
    const auto disk = open("c2");
    mailbox::Arbiter arbiter({pair_, mailbox::Node::kA, mailbox::Incarnation{1}}, *disk);
    const auto read = run(scheduler_, arbiter.read());
    ASSERT_TRUE(read.ok()) << read.error().context;
    for (std::uint32_t filer = 0; filer < 2; ++filer) {
      const mailbox::OwnerEntry expected{.owner = filer,
                                         .previous = filer,
                                         .incarnation = 0,
                                         .epoch = filer == 0 ? epoch_a : epoch_b};
      EXPECT_EQ(read.value().owners[filer], expected) << filer;
    }
  }

  // The mirror of `node` has the intents of the group behind what is the partner's log's to make.
  void expect_intents(const std::string& node) {
    SCOPED_TRACE(node);
    const auto config = config::load(place_ + "/duet.yaml");
    ASSERT_TRUE(config.ok()) << config.error().text();
    const auto mapped = os::map_persistent_memory(place_ + "/run/" + node + "/mirror", kMemoryBytes,
                                                  {.accept_volatile = true});
    ASSERT_TRUE(mapped.ok()) << mapped.error().context;
    EXPECT_TRUE(nvlog::probe(*mapped.value()).blank);
    const config::MemoryMap map =
        config::map_memory(config.value().groups_of(*config.value().node(node)), kMemoryBytes);
    const auto header = load<raid::MemoryHeader>(mapped.value()->bytes(), map.intents[0].offset);
    EXPECT_EQ(header.magic, raid::kMemoryMagic);
    EXPECT_EQ(header.group, label_of("c0").group);
    EXPECT_EQ(header.node, node == "a" ? 0U : 1U);
  }

  std::string place_;
  std::array<std::uint64_t, 2> pair_{};
  os::EpollScheduler scheduler_;
  std::unique_ptr<Program> shelf_;
};

TEST_F(PairGroupsTest, InitMakesTheGroupForBothNodesAndEndsInOrder) {
  serve();
  const std::string said = init();
  EXPECT_THAT(said, HasSubstr("redundancy group tank: raid6 of 5 disks\n"));
  EXPECT_THAT(said, HasSubstr("filer b is ready"));
  expect_ready(1, 1);
  expect_intents("a");
  expect_intents("b");
  expect_clean();
  const auto entries = raid::virtual_disks_of(label_of("c0"));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[1].name, "b");
  const Ran log = duet({"log", "--node", "b"});
  EXPECT_EQ(log.status, 0) << log.said;
  EXPECT_THAT(log.said, HasSubstr("filer b: epoch 1, 0 records"));
}

TEST_F(PairGroupsTest, ASecondInitTouchesNothingAndNamesWhatWouldBeLost) {
  serve();
  init();
  const raid::GroupId id = label_of("c0").group;
  const Ran ran = duet({"init"});
  EXPECT_EQ(ran.status, 1);
  for (const char* const lost :
       {"nothing was touched, because data would be lost: ",
        "memory run/a/memory holds the log of filer a with 0 records",
        "disk shelf+unix://s#c0 is a disk of a redundancy group (raid6 of 5 disks, virtual disk a "
        "of 8",
        "disk shelf+unix://s#s0 is a disk of a redundancy group", "--force destroys it"}) {
    EXPECT_THAT(ran.said, HasSubstr(lost));
  }
  EXPECT_EQ(label_of("c0").group, id);
  expect_ready(1, 1);
  init({"--force"});
  EXPECT_NE(label_of("c0").group, id);
  expect_ready(2, 2);
  expect_clean();
}

TEST_F(PairGroupsTest, AGroupThatDoesNotFitIsRefusedBeforeAnythingIsTouched) {
  std::string text = config_text(/*tcp=*/false);
  text.replace(text.find("80MiB}"), 6, "80GiB}");
  std::ofstream(place_ + "/duet.yaml") << text;
  serve();
  const Ran ran = duet({"init"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.said, HasSubstr("redundancy group tank: its virtual disks do not fit"));
  EXPECT_FALSE(std::filesystem::exists(place_ + "/run"));
}

TEST_F(PairGroupsTest, TwoMachinesFormatTheirFilersOnOneGroupInAnyOrder) {
  serve();
  write_config(/*tcp=*/true);
  const std::string b = init({"--node", "b"});
  EXPECT_THAT(b, HasSubstr("the owner record will be written with filer a"));
  EXPECT_FALSE(std::filesystem::exists(place_ + "/run/a"));
  const raid::GroupId id = label_of("c0").group;
  const std::string a = init({"--node", "a"});
  EXPECT_THAT(a, HasSubstr("redundancy group tank: raid6 of 5 disks, kept as it is\n"));
  EXPECT_EQ(label_of("c0").group, id);
  expect_ready(1, 1);
  expect_clean();
  const Ran one = duet({"check", "--node", "b"});
  EXPECT_EQ(one.status, 0) << one.said;
  EXPECT_THAT(one.said, Not(HasSubstr("filer a")));
}

TEST_F(PairGroupsTest, OneFilerIsFormattedAnewAndTheOtherKeepsItsPartOfTheGroup) {
  serve();
  init();
  const raid::GroupId id = label_of("c0").group;
  const Ran refused = duet({"init", "--node", "b"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.said, HasSubstr("disk tank/b is disk 0 of filer b"));
  EXPECT_THAT(refused.said, Not(HasSubstr("tank/a")));
  EXPECT_THAT(refused.said, Not(HasSubstr("is a disk of a redundancy group")));
  init({"--node", "b", "--force"});
  EXPECT_EQ(label_of("c0").group, id);
  expect_ready(1, 2);
  expect_clean();
  // The record stands on a disk that counts at node a.
  init({"--node", "a", "--force"});
  expect_ready(2, 2);
  expect_clean();
}

TEST_F(PairGroupsTest, AFilerIsCheckedWithoutSomeDisksOfItsGroup) {
  serve();
  init();
  serve(/*without=*/{"c1", "c3", "s0"});
  const Ran check = duet({"check"});
  EXPECT_EQ(check.status, 0) << check.said;
  for (const char* const note :
       {"filer a: ", "filer b: ",
        "note: redundancy group tank: disk 1, shelf+unix://s#c1, is not used: ",
        "note: redundancy group tank: disk 3, shelf+unix://s#c3, is not used: "}) {
    EXPECT_THAT(check.said, HasSubstr(note));
  }
  serve();
  expect_ready(1, 1);  // nothing of that is on the disks
  serve(/*without=*/{"c0", "c3"});
  const Ran blind = duet({"check"});
  EXPECT_EQ(blind.status, 2) << blind.said;
  EXPECT_THAT(blind.said, HasSubstr("no mailbox disk of node a is reached, so nobody knows whether "
                                    "it lives"));
  serve(/*without=*/{"c0", "c1", "c2"});
  const Ran lost = duet({"check"});
  EXPECT_EQ(lost.status, 2) << lost.said;
  EXPECT_THAT(lost.said, HasSubstr("redundancy group tank: too few disks"));
}

TEST_F(PairGroupsTest, NoFilerOnGroupsIsCheckedWhileANodeLives) {
  serve();
  init();
  const BeatingNode b(
      mailbox::Node::kB, 0b10,
      [this](os::EpollScheduler& scheduler) {
        return open_on(scheduler, "c1", shelf::make_key(1, 7));
      },
      pair_);
  const Ran check = duet({"check", "--node", "a"});
  EXPECT_EQ(check.status, 2) << check.said;
  EXPECT_THAT(check.said,
              HasSubstr("filer a cannot be checked: node b is alive and serves filer "
                        "b; stop its duetd; each node writes to all redundancy groups"));
  const Ran init_a = duet({"init", "--node", "a", "--force"});
  EXPECT_EQ(init_a.status, 1) << init_a.said;
  EXPECT_THAT(init_a.said, HasSubstr("nothing was touched, because node b is alive"));
}

}  // namespace
}  // namespace duet::cli
