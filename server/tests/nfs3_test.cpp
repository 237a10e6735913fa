// NFSv3: the exact bytes of every procedure, against a filer that says what it was asked.

#include "server/nfs3.h"

#include <gtest/gtest.h>

#include <functional>

#include "fake_filer.h"
#include "test_client.h"

namespace duet::server::test {
namespace {

constexpr std::uint32_t kXid = 0x77;

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Nfs3Test : public ::testing::Test {
 protected:
  Nfs3Test() {
    wafl::Attributes& a = fake_.file.attributes;
    a.type = wafl::FileType::kBlockDevice;
    a.mode = 0644;
    a.links = 2;
    a.uid = 11;
    a.gid = 12;
    a.size_bytes = 0x1'0000'0001;
    a.used_bytes = 8192;
    a.device = {8, 9};
    a.atime = wafl::Timestamp{1'000'000'002};
    a.mtime = wafl::Timestamp{3'000'000'004};
    a.ctime = wafl::Timestamp{5'000'000'006};
    fake_.file.fsid = 0xF51D;
    fake_.file.fileid = 0xF11E;
    fake_.before = {77, wafl::Timestamp{7'000'000'008}, wafl::Timestamp{9'000'000'010}};
    fake_.new_handle.size = 5;
    for (std::size_t i = 0; i < 5; ++i) {
      fake_.new_handle.data[i] = static_cast<std::byte>('A' + i);
    }
  }

  static Wire attributes() {
    return Wire()
        .u32(3)
        .u32(0644)
        .u32(2)
        .u32(11)
        .u32(12)
        .u64(0x1'0000'0001)
        .u64(8192)
        .u32(8)
        .u32(9)
        .u64(0xF51D)
        .u64(0xF11E)
        .u32(1)
        .u32(2)
        .u32(3)
        .u32(4)
        .u32(5)
        .u32(6);
  }
  static Wire post() { return Wire().u32(1).add(attributes()); }
  static Wire wcc() { return Wire().u32(1).u64(77).u32(7).u32(8).u32(9).u32(10).add(post()); }
  static Wire no_wcc() { return Wire().u32(0).u32(0); }
  static Wire handle() { return Wire().text("ABCDE"); }
  static Wire where() { return Wire().text("dir").text("name"); }
  // mode, uid, gid, size set; atime by the client, mtime by the server.
  static Wire set_all() {
    return Wire()
        .u32(1)
        .u32(0600)
        .u32(1)
        .u32(21)
        .u32(1)
        .u32(22)
        .u32(1)
        .u64(4096)
        .u32(2)
        .u32(50)
        .u32(60)
        .u32(1);
  }
  static Wire set_nothing() { return Wire().u32(0).u32(0).u32(0).u32(0).u32(0).u32(0); }

  std::vector<std::byte> exchange(const Wire& bytes) {
    TestClient client(scheduler_, service_);
    client.send(bytes);
    EXPECT_TRUE(scheduler_.run());
    return client.received();
  }
  void expect(std::uint32_t procedure, const Wire& arguments, const Wire& results) {
    EXPECT_EQ(exchange(nfs_call(kXid, procedure, arguments)), success(kXid, results).bytes());
    EXPECT_EQ(fake_.buffers_alive, 0U);
  }
  // With the filer's error.
  void expect_error(std::uint32_t procedure, const Wire& arguments, const Wire& rest) {
    fake_.error = Errc::kStaleHandle;
    expect(procedure, arguments, Wire().u32(70).add(rest));
    fake_.error.reset();
  }
  void expect_garbage(std::uint32_t procedure, const Wire& arguments) {
    const std::uint32_t before = fake_.requests;
    EXPECT_EQ(exchange(nfs_call(kXid, procedure, arguments)), accepted(kXid, 4).bytes());
    EXPECT_EQ(fake_.requests, before);
  }
  void expect_set_all() {
    EXPECT_EQ(fake_.attributes.mode, 0600U);
    EXPECT_EQ(fake_.attributes.uid, 21U);
    EXPECT_EQ(fake_.attributes.gid, 22U);
    EXPECT_EQ(fake_.attributes.size_bytes, 4096U);
    EXPECT_EQ(fake_.attributes.set_atime, filer::SetTime::kClientTime);
    EXPECT_EQ(fake_.attributes.atime, wafl::Timestamp{50'000'000'060});
    EXPECT_EQ(fake_.attributes.set_mtime, filer::SetTime::kServerTime);
  }

  sim::SimScheduler scheduler_{3};
  FakeFiler fake_;
  std::unique_ptr<filer::Filer> filer_ = fake_.make();
  Nfs3Program program_{*filer_};
  Service service_{scheduler_, {&program_}};
};

TEST_F(Nfs3Test, Null) { expect(0, Wire(), Wire()); }

TEST_F(Nfs3Test, Getattr) {
  expect(1, Wire().text("fh"), Wire().u32(0).add(attributes()));
  EXPECT_EQ(text_of(fake_.handle), "fh");
  EXPECT_EQ(fake_.caller.credentials.uid, 1000U);
  expect_error(1, Wire().text("fh"), Wire());
}

TEST_F(Nfs3Test, Setattr) {
  const Wire guarded = Wire().text("fh").add(set_all()).u32(1).u32(70).u32(80);
  expect(2, guarded, Wire().u32(0).add(wcc()));
  expect_set_all();
  EXPECT_EQ(fake_.guard, wafl::Timestamp{70'000'000'080});
  expect(2, Wire().text("fh").add(set_nothing()).u32(0), Wire().u32(0).add(wcc()));
  EXPECT_FALSE(fake_.guard.has_value());
  EXPECT_FALSE(fake_.attributes.mode.has_value());
  expect_error(2, guarded, wcc());
}

TEST_F(Nfs3Test, SetattrRefusesImpossibleNanoseconds) {
  const Wire times = Wire().u32(0).u32(0).u32(0).u32(0).u32(2).u32(5).u32(1'000'000'000).u32(0);
  expect(2, Wire().text("fh").add(times).u32(0), Wire().u32(22).add(no_wcc()));
  expect(8, where().u32(0).add(times), Wire().u32(22).add(no_wcc()));
  expect(9, where().add(times), Wire().u32(22).add(no_wcc()));
  EXPECT_EQ(fake_.requests, 0U);
}

TEST_F(Nfs3Test, Lookup) {
  expect(3, where(), Wire().u32(0).add(handle()).add(post()).add(post()));
  EXPECT_EQ(text_of(fake_.handle), "dir");
  EXPECT_EQ(fake_.name, "name");
  expect_error(3, where(), post());
}

TEST_F(Nfs3Test, Access) {
  expect(4, Wire().text("fh").u32(0x1F), Wire().u32(0).add(post()).u32(0x1F));
  expect_error(4, Wire().text("fh").u32(1), post());
}

TEST_F(Nfs3Test, Readlink) {
  fake_.contents = "to/there";
  expect(5, Wire().text("fh"), Wire().u32(0).add(post()).text("to/there"));
  expect_error(5, Wire().text("fh"), post());
}

Wire read_results(std::string_view data, bool end) {
  return Wire().u32(static_cast<std::uint32_t>(data.size())).u32(end ? 1 : 0).text(data);
}

TEST_F(Nfs3Test, ReadGathersBuffersAndPadsWithZeros) {
  fake_.contents = std::string(10'001, 'r');
  fake_.contents[5000] = 's';
  expect(6, Wire().text("fh").u64(1).u32(20'000),
         Wire().u32(0).add(post()).add(read_results(fake_.contents.substr(1), true)));
  expect(6, Wire().text("fh").u64(0).u32(4099),
         Wire().u32(0).add(post()).add(read_results(fake_.contents.substr(0, 4099), false)));
  expect(6, Wire().text("fh").u64(20'000).u32(5),
         Wire().u32(0).add(post()).add(read_results("", true)));
  expect_error(6, Wire().text("fh").u64(0).u32(1), post());
}

TEST_F(Nfs3Test, ReadIsCutAtTheTransferSize) {
  fake_.contents = std::string((1U << 20U) + 5, 'x');
  const std::string_view cut = std::string_view(fake_.contents).substr(0, 1U << 20U);
  expect(6, Wire().text("fh").u64(0).u32(0xFFFF'FFFF),
         Wire().u32(0).add(post()).add(read_results(cut, false)));
}

TEST_F(Nfs3Test, WriteIsAnsweredFileSyncWhateverWasAsked) {
  for (const std::uint32_t stable : {0U, 1U, 2U}) {
    expect(7, Wire().text("fh").u64(9).u32(5).u32(stable).text("hello"),
           Wire().u32(0).add(wcc()).u32(5).u32(2).u64(0xA1A2A3A4A5A6A7A8));
    EXPECT_EQ(fake_.data, "hello");
    EXPECT_EQ(fake_.offset, 9U);
  }
  expect_error(7, Wire().text("fh").u64(9).u32(5).u32(2).text("hello"), wcc());
}

TEST_F(Nfs3Test, WriteTakesAMegabyteInThePiecesInWhichItLies) {
  std::string data(1U << 20U, ' ');
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<char>(i * 7 + i / 256);
  }
  expect(7, Wire().text("fh").u64(0).u32(1U << 20U).u32(2).text(data),
         Wire().u32(0).add(wcc()).u32(1U << 20U).u32(2).u64(0xA1A2A3A4A5A6A7A8));
  EXPECT_TRUE(fake_.data == data);
  EXPECT_GT(fake_.pieces, 10U);
  EXPECT_LT(fake_.pieces, 25U);
}

TEST_F(Nfs3Test, WriteTakesCountBytesOfLongerDataAndRefusesShorter) {
  expect(7, Wire().text("fh").u64(0).u32(3).u32(2).text("hello"),
         Wire().u32(0).add(wcc()).u32(3).u32(2).u64(0xA1A2A3A4A5A6A7A8));
  EXPECT_EQ(fake_.data, "hel");
  expect_garbage(7, Wire().text("fh").u64(0).u32(6).u32(2).text("hello"));
  expect(7, Wire().text("fh").u64(0).u32(0).u32(2).text(""),
         Wire().u32(0).add(wcc()).u32(0).u32(2).u64(0xA1A2A3A4A5A6A7A8));
}

TEST_F(Nfs3Test, Create) {
  const Wire created = Wire().u32(0).u32(1).add(handle()).add(post()).add(wcc());
  expect(8, where().u32(0).add(set_all()), created);
  EXPECT_EQ(fake_.mode, filer::CreateMode::kUnchecked);
  expect_set_all();
  expect(8, where().u32(1).add(set_nothing()), created);
  EXPECT_EQ(fake_.mode, filer::CreateMode::kGuarded);
  expect(8, where().u32(2).u64(0x1122334455667788), created);
  EXPECT_EQ(fake_.mode, filer::CreateMode::kExclusive);
  EXPECT_EQ(fake_.verifier, 0x1122334455667788U);
  expect_error(8, where().u32(2).u64(1), wcc());
}

TEST_F(Nfs3Test, Mkdir) {
  expect(9, where().add(set_all()), Wire().u32(0).u32(1).add(handle()).add(post()).add(wcc()));
  EXPECT_EQ(fake_.type, wafl::FileType::kDirectory);
  expect_set_all();
  expect_error(9, where().add(set_all()), wcc());
}

TEST_F(Nfs3Test, Symlink) {
  expect(10, where().add(set_all()).text("target"),
         Wire().u32(0).u32(1).add(handle()).add(post()).add(wcc()));
  EXPECT_EQ(fake_.type, wafl::FileType::kSymlink);
  EXPECT_EQ(fake_.data, "target");
  expect_error(10, where().add(set_all()).text("target"), wcc());
}

TEST_F(Nfs3Test, MknodMakesDevicesFifosAndSockets) {
  const Wire made = Wire().u32(0).u32(1).add(handle()).add(post()).add(wcc());
  expect(11, where().u32(3).add(set_all()).u32(8).u32(1), made);
  EXPECT_EQ(fake_.type, wafl::FileType::kBlockDevice);
  EXPECT_EQ(fake_.device, (wafl::Device{8, 1}));
  expect(11, where().u32(4).add(set_all()).u32(4).u32(2), made);
  EXPECT_EQ(fake_.type, wafl::FileType::kCharacterDevice);
  expect(11, where().u32(6).add(set_all()), made);
  EXPECT_EQ(fake_.type, wafl::FileType::kSocket);
  expect(11, where().u32(7).add(set_all()), made);
  EXPECT_EQ(fake_.type, wafl::FileType::kFifo);
  expect_error(11, where().u32(7).add(set_all()), wcc());
}

TEST_F(Nfs3Test, MknodMakesNothingElse) {
  for (const std::uint32_t type : {0U, 1U, 2U, 5U, 8U, 0xFFFF'FFFFU}) {
    expect(11, where().u32(type), Wire().u32(10007).add(no_wcc()));
  }
  EXPECT_EQ(fake_.requests, 0U);
}

TEST_F(Nfs3Test, RemoveAndRmdir) {
  expect(12, where(), Wire().u32(0).add(wcc()));
  EXPECT_EQ(fake_.asked, "REMOVE");
  expect_error(12, where(), wcc());
  expect(13, where(), Wire().u32(0).add(wcc()));
  EXPECT_EQ(fake_.asked, "RMDIR");
  EXPECT_EQ(fake_.name, "name");
  expect_error(13, where(), wcc());
}

TEST_F(Nfs3Test, Rename) {
  expect(14, where().text("dir2").text("name2"), Wire().u32(0).add(wcc()).add(wcc()));
  EXPECT_EQ(fake_.name, "name");
  EXPECT_EQ(text_of(fake_.other_handle), "dir2");
  EXPECT_EQ(fake_.other_name, "name2");
  expect_error(14, where().text("dir2").text("name2"), Wire().add(wcc()).add(wcc()));
}

TEST_F(Nfs3Test, Link) {
  expect(15, Wire().text("fh").add(where()), Wire().u32(0).add(post()).add(wcc()));
  EXPECT_EQ(text_of(fake_.handle), "fh");
  EXPECT_EQ(text_of(fake_.other_handle), "dir");
  expect_error(15, Wire().text("fh").add(where()), Wire().add(post()).add(wcc()));
}

TEST_F(Nfs3Test, Readdir) {
  fake_.entries = {{1, 10, ".", {}, {}}, {2, 20, "entry", {}, {}}};
  const Wire entries = Wire()
                           .u64(0x0102030405060708)
                           .u32(1)
                           .u64(1)
                           .text(".")
                           .u64(10)
                           .u32(1)
                           .u64(2)
                           .text("entry")
                           .u64(20)
                           .u32(0)
                           .u32(1);
  expect(16, Wire().text("d").u64(3).u64(4).u32(4096), Wire().u32(0).add(post()).add(entries));
  EXPECT_EQ(fake_.cookie, 3U);
  EXPECT_EQ(fake_.verifier, 4U);
  EXPECT_EQ(fake_.count, 4096U);
  EXPECT_EQ(fake_.asked, "READDIR");
  expect_error(16, Wire().text("d").u64(3).u64(4).u32(4096), post());
}

TEST_F(Nfs3Test, Readdirplus) {
  fake_.entries = {{2, 20, "entry", fake_.file, fake_.new_handle}, {3, 30, "bare", {}, {}}};
  const Wire entries = Wire()
                           .u64(0x0102030405060708)
                           .u32(1)
                           .u64(2)
                           .text("entry")
                           .u64(20)
                           .add(post())
                           .u32(1)
                           .add(handle())
                           .u32(1)
                           .u64(3)
                           .text("bare")
                           .u64(30)
                           .u32(0)
                           .u32(0)
                           .u32(0)
                           .u32(1);
  expect(17, Wire().text("d").u64(3).u64(4).u32(512).u32(0xFFFF'FFFF),
         Wire().u32(0).add(post()).add(entries));
  EXPECT_EQ(fake_.asked, "READDIRPLUS");
  EXPECT_EQ(fake_.count, 512U);
  EXPECT_EQ(fake_.reply_bytes_max, 1U << 20U);
  expect_error(17, Wire().text("d").u64(3).u64(4).u32(512).u32(4096), post());
}

TEST_F(Nfs3Test, Fsstat) {
  expect(18, Wire().text("fh"),
         Wire().u32(0).add(post()).u64(1).u64(2).u64(3).u64(4).u64(5).u64(6).u32(0));
  expect_error(18, Wire().text("fh"), post());
}

TEST_F(Nfs3Test, Fsinfo) {
  constexpr std::uint32_t kMega = 1U << 20U;
  expect(19, Wire().text("fh"),
         Wire()
             .u32(0)
             .add(post())
             .u32(kMega)
             .u32(kMega)
             .u32(4096)
             .u32(kMega)
             .u32(kMega)
             .u32(4096)
             .u32(65536)
             .u64(std::uint64_t{1} << 60U)
             .u32(0)
             .u32(1)
             .u32(0x1B));
  expect_error(19, Wire().text("fh"), post());
}

TEST_F(Nfs3Test, Pathconf) {
  expect(20, Wire().text("fh"),
         Wire().u32(0).add(post()).u32(65'000).u32(255).u32(1).u32(1).u32(0).u32(1));
  expect_error(20, Wire().text("fh"), post());
}

TEST_F(Nfs3Test, Commit) {
  expect(21, Wire().text("fh").u64(5).u32(6), Wire().u32(0).add(wcc()).u64(0xA1A2A3A4A5A6A7A8));
  EXPECT_EQ(fake_.offset, 5U);
  EXPECT_EQ(fake_.count, 6U);
  expect_error(21, Wire().text("fh").u64(5).u32(6), wcc());
}

TEST_F(Nfs3Test, TimesThatDoNotFitBecomeTheNearestThatDo) {
  fake_.file.attributes.atime = wafl::Timestamp{-1};
  fake_.file.attributes.mtime = wafl::Timestamp{5'000'000'000'000'000'000};
  const std::vector<std::byte> reply = exchange(nfs_call(kXid, 1, Wire().text("fh")));
  const Wire times = Wire().u64(0).u32(0xFFFF'FFFF).u32(999'999'999).u32(5).u32(6);
  ASSERT_GE(reply.size(), times.size());
  EXPECT_TRUE(std::equal(times.bytes().rbegin(), times.bytes().rend(), reply.rbegin()));
}

TEST_F(Nfs3Test, NamesThatAreTooLongReachTheFilerAsTooLong) {
  for (const std::size_t bytes : {256U, 300U, 100'000U}) {
    expect(3, Wire().text("dir").text(std::string(bytes, 'n')),
           Wire().u32(0).add(handle()).add(post()).add(post()));
    EXPECT_EQ(fake_.name.size(), 256U);
  }
  expect(3, Wire().text("dir").text(std::string(255, 'n')),
         Wire().u32(0).add(handle()).add(post()).add(post()));
  EXPECT_EQ(fake_.name.size(), 255U);
}

TEST_F(Nfs3Test, RefusesArgumentsThatAreNone) {
  for (std::uint32_t procedure = 1; procedure < 22; ++procedure) {
    expect_garbage(procedure, Wire());
    expect_garbage(procedure, Wire().text(std::string(65, 'h')).u64(0).u64(0).u64(0));
    expect_garbage(procedure, Wire().u32(0xFFFF'FFFF));
  }
  expect_garbage(8, where().u32(3).add(set_nothing()));                  // createmode3
  expect_garbage(7, Wire().text("fh").u64(0).u32(1).u32(3).text("x"));   // stable_how
  expect_garbage(9, where().u32(0).u32(0).u32(0).u32(0).u32(3).u32(0));  // time_how
  expect_garbage(9, where().u32(2).u32(0).u32(0).u32(0).u32(0).u32(0));  // bool
}

TEST_F(Nfs3Test, EveryPrefixOfArgumentsIsGarbage) {
  const Wire whole = where().u32(0).add(set_all());
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const std::string_view all(reinterpret_cast<const char*>(whole.bytes().data()), whole.size());
    expect_garbage(8, Wire().raw(all.substr(0, bytes)));
  }
}

TEST_F(Nfs3Test, EveryErrorHasItsStatus) {
  const std::vector<std::pair<Errc, std::uint32_t>> table{
      {Errc::kNotFound, 2},      {Errc::kExists, 17},       {Errc::kNotDirectory, 20},
      {Errc::kIsDirectory, 21},  {Errc::kNotEmpty, 66},     {Errc::kAccess, 13},
      {Errc::kNotOwner, 1},      {Errc::kReadOnly, 30},     {Errc::kNameTooLong, 63},
      {Errc::kInvalid, 22},      {Errc::kBadType, 22},      {Errc::kFileTooBig, 27},
      {Errc::kTooManyLinks, 31}, {Errc::kNoSpace, 28},      {Errc::kOverLimit, 28},
      {Errc::kStaleHandle, 70},  {Errc::kBadHandle, 10001}, {Errc::kBadCookie, 10003},
      {Errc::kTooSmall, 10005},  {Errc::kCrossVolume, 18},  {Errc::kNotSupported, 10004},
      {Errc::kOutOfSync, 10002}, {Errc::kTryAgain, 10008},  {Errc::kIo, 5},
      {Errc::kCorrupt, 5},       {Errc::kRefused, 10006}};
  for (const auto& [error, status] : table) {
    fake_.error = error;
    expect(1, Wire().text("fh"), Wire().u32(status));
  }
}

TEST_F(Nfs3Test, AFencedOrClosingFilerGivesNoAnswer) {
  for (const Errc error : {Errc::kFenced, Errc::kClosed}) {
    fake_.error = error;
    for (std::uint32_t procedure = 1; procedure < 22; ++procedure) {
      const Wire arguments = Wire().text("a").u64(0).u64(0).u64(0).u64(0).u64(0).u64(0);
      const std::vector<std::byte> reply = exchange(nfs_call(kXid, procedure, arguments));
      const bool garbage = reply == accepted(kXid, 4).bytes();
      const bool bad_type = procedure == 11 && reply.size() == 40;
      EXPECT_TRUE(reply.empty() || garbage || bad_type) << procedure;
    }
  }
}

TEST_F(Nfs3Test, ChangesCarryTheChecksumOfTheirArgumentsAndOthersDoNot) {
  exchange(nfs_call(kXid, 12, where()));
  EXPECT_EQ(fake_.caller.checksum, crc32c(where().bytes()));
  EXPECT_EQ(fake_.caller.procedure, 12U);
  EXPECT_EQ(fake_.caller.xid, kXid);
  exchange(nfs_call(kXid, 3, where()));
  EXPECT_EQ(fake_.caller.checksum, 0U);
}

TEST_F(Nfs3Test, CountsCallsAndErrorsByProcedure) {
  expect(1, Wire().text("fh"), Wire().u32(0).add(attributes()));
  expect_error(1, Wire().text("fh"), Wire());
  const ProcedureStatistics& getattr = *program_.statistics(1);
  EXPECT_EQ(getattr.calls, 2U);
  EXPECT_EQ(getattr.errors, 1U);
  EXPECT_EQ(std::string(Nfs3Program::procedure_name(17)), "READDIRPLUS");
}

TEST_F(Nfs3Test, AReadsBuffersGoBackWhenItsClientLeavesBeforeTheReply) {
  fake_.contents = std::string(50'000, 'r');
  WaitList gate(scheduler_);
  fake_.gate = &gate;
  TestClient client(scheduler_, service_);
  client.send(nfs_call(kXid, 6, Wire().text("fh").u64(0).u32(50'000)));
  EXPECT_TRUE(scheduler_.run());
  client.close();
  fake_.gate = nullptr;
  gate.wake_all();
  EXPECT_TRUE(scheduler_.run());
  EXPECT_EQ(fake_.buffers_alive, 0U);
  EXPECT_EQ(service_.statistics().connections, 0U);
}

}  // namespace
}  // namespace duet::server::test
