#include "server/mount.h"

#include <gtest/gtest.h>

#include "fake_filer.h"
#include "server/portmap.h"
#include "test_client.h"

namespace duet::server::test {
namespace {

constexpr std::uint32_t kXid = 5;

class MountTest : public ::testing::Test {
 protected:
  std::vector<std::byte> exchange(std::uint32_t program, std::uint32_t version,
                                  std::uint32_t procedure, const Wire& arguments) {
    TestClient client(scheduler_, service_);
    client.send(record(call_to(kXid, program, version, procedure, arguments)));
    EXPECT_TRUE(scheduler_.run());
    return client.received();
  }
  void expect_mount(std::uint32_t procedure, const Wire& arguments, const Wire& results) {
    EXPECT_EQ(exchange(100005, 3, procedure, arguments), success(kXid, results).bytes());
  }
  void expect_portmap(std::uint32_t procedure, const Wire& arguments, const Wire& results) {
    EXPECT_EQ(exchange(100000, 2, procedure, arguments), success(kXid, results).bytes());
  }

  sim::SimScheduler scheduler_{5};
  FakeFiler fake_;
  std::unique_ptr<filer::Filer> filer_ = fake_.make();
  MountList list_;
  MountProgram mount_{*filer_, list_};
  PortmapProgram portmap_{mappings_on(20049)};
  Service service_{scheduler_, {&mount_, &portmap_}};
};

TEST_F(MountTest, MntGivesTheHandleAndTheFlavor) {
  fake_.new_handle.size = 3;
  expect_mount(1, Wire().text("/vol0"), Wire().u32(0).text(std::string(3, '\0')).u32(1).u32(1));
  EXPECT_EQ(fake_.name, "/vol0");
  ASSERT_EQ(list_.entries().size(), 1U);
  EXPECT_EQ(list_.entries()[0], (MountList::Entry{"10.1.2.7", "/vol0"}));
}

TEST_F(MountTest, MntSaysWhyNot) {
  fake_.error = Errc::kNotFound;
  expect_mount(1, Wire().text("/x"), Wire().u32(2));
  fake_.error = Errc::kAccess;
  expect_mount(1, Wire().text("/x"), Wire().u32(13));
  fake_.error = Errc::kNotDirectory;
  expect_mount(1, Wire().text("/x"), Wire().u32(20));
  expect_mount(1, Wire().text(std::string(1025, '/')), Wire().u32(63));
  EXPECT_TRUE(list_.entries().empty());
}

TEST_F(MountTest, DumpListsAndUmntForgets) {
  expect_mount(2, Wire(), Wire().u32(0));
  expect_mount(1, Wire().text("/a"), Wire().u32(0).text("").u32(1).u32(1));
  expect_mount(1, Wire().text("/b"), Wire().u32(0).text("").u32(1).u32(1));
  expect_mount(2, Wire(),
               Wire().u32(1).text("10.1.2.7").text("/a").u32(1).text("10.1.2.7").text("/b").u32(0));
  expect_mount(3, Wire().text("/a"), Wire());
  expect_mount(2, Wire(), Wire().u32(1).text("10.1.2.7").text("/b").u32(0));
  expect_mount(4, Wire(), Wire());
  expect_mount(2, Wire(), Wire().u32(0));
}

TEST_F(MountTest, TheListForgetsTheOldestWhenItIsFull) {
  for (std::size_t i = 0; i < MountList::kEntriesMax + 10; ++i) {
    list_.add({"host", std::to_string(i)});
  }
  EXPECT_EQ(list_.entries().size(), MountList::kEntriesMax);
  EXPECT_EQ(list_.entries().front().path, "10");
}

TEST_F(MountTest, OnePathInManySpellingsIsOneEntry) {
  for (const char* path : {"/a/b", "//a///b/", "a/b", "/a/b////"}) {
    expect_mount(1, Wire().text(path), Wire().u32(0).text("").u32(1).u32(1));
  }
  ASSERT_EQ(list_.entries().size(), 1U);
  EXPECT_EQ(list_.entries()[0].path, "/a/b");
  expect_mount(3, Wire().text("/a//b"), Wire());
  EXPECT_TRUE(list_.entries().empty());
}

TEST_F(MountTest, ListsAreNoLongerThanWhatTheirCallIsCharged) {
  Call call;
  for (std::uint32_t i = 0; i < MountList::kEntriesMax; ++i) {
    list_.add({"host", "/" + std::to_string(i) + std::string(1000, 'p')});
  }
  for (int i = 0; i < 3; ++i) {
    fake_.exports.push_back({"/vol", std::vector<std::string>(10'000, "10.0.0.1/32")});
  }
  for (const std::uint32_t procedure : {2U, 5U}) {
    call.procedure = procedure;
    const std::size_t bytes = exchange(100005, 3, procedure, Wire()).size();
    EXPECT_LE(bytes, mount_.reply_bytes(call)) << procedure;
    EXPECT_GT(bytes, mount_.reply_bytes(call) * 9 / 10) << procedure;
  }
  call.procedure = 1;
  EXPECT_EQ(mount_.reply_bytes(call), 0U);
}

TEST_F(MountTest, ExportListsPathsAndClients) {
  fake_.exports = {{"/vol0", {"10.0.0.0/8", "*"}}, {"/vol1", {}}};
  const Wire lines = Wire()
                         .u32(1)
                         .text("/vol0")
                         .u32(1)
                         .text("10.0.0.0/8")
                         .u32(1)
                         .text("*")
                         .u32(0)
                         .u32(1)
                         .text("/vol1")
                         .u32(0)
                         .u32(0);
  expect_mount(5, Wire(), lines);
  EXPECT_EQ(exchange(100005, 1, 5, Wire()), success(kXid, lines).bytes());
}

TEST_F(MountTest, VersionOneMountsNothing) {
  EXPECT_EQ(exchange(100005, 1, 1, Wire().text("/vol0")), accepted(kXid, 3).bytes());
}

TEST_F(MountTest, PortmapNamesThePortOfEveryProgramOverTcp) {
  const auto ask = [](std::uint32_t program, std::uint32_t version, std::uint32_t protocol) {
    return Wire().u32(program).u32(version).u32(protocol).u32(0);
  };
  expect_portmap(3, ask(100003, 3, 6), Wire().u32(20049));
  expect_portmap(3, ask(100005, 3, 6), Wire().u32(20049));
  expect_portmap(3, ask(100003, 3, 17), Wire().u32(0));
  expect_portmap(3, ask(100021, 4, 6), Wire().u32(0));
}

TEST_F(MountTest, PortmapListsItsMappings) {
  Wire list;
  for (const auto& [program, version] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {100000, 2}, {100005, 1}, {100005, 3}, {100003, 3}}) {
    list.u32(1).u32(program).u32(version).u32(6).u32(20049);
  }
  expect_portmap(4, Wire(), list.u32(0));
}

Task<void> keep(Task<Status> task, std::optional<Status>& result) {
  result.emplace(co_await std::move(task));
}

TEST_F(MountTest, AnRpcbindThatSaysNothingIsGivenUp) {
  auto [ours, rpcbinds] = sim::SimStream::make_pair(scheduler_);
  const std::vector<PortMapping> mappings = mappings_on(20049);
  std::optional<Status> told;
  TaskScope scope(scheduler_);
  const Instant before = scheduler_.now();
  scope.spawn(keep(register_programs(scheduler_, *ours, mappings, true), told));
  EXPECT_TRUE(scheduler_.run());
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->error().code, Errc::kIo);
  EXPECT_LE(scheduler_.now() - before, kRpcbindWait + std::chrono::seconds(1));
}

TEST_F(MountTest, PortmapLetsNobodyChangeItOrCallThroughIt) {
  const Wire mapping = Wire().u32(100003).u32(3).u32(6).u32(1);
  expect_portmap(1, mapping, Wire().u32(0));
  expect_portmap(2, mapping, Wire().u32(0));
  EXPECT_EQ(exchange(100000, 2, 5, mapping), accepted(kXid, 3).bytes());
}

}  // namespace
}  // namespace duet::server::test
