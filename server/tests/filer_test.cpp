// The server in front of a real filer, over a simulated network: what is written is read.

#include "filer/filer.h"

#include <gtest/gtest.h>

#include "server/mount.h"
#include "server/nfs3.h"
#include "test_client.h"
#include "world.h"

namespace duet::server::test {
namespace {

class FilerTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  // The results of an accepted call, behind its header.
  ConstBytes call(std::uint32_t program, std::uint32_t procedure, const Wire& arguments) {
    const std::size_t before = client_.received().size();
    client_.send(record(call_to(++xid_, program, 3, procedure, arguments, sys_auth(0, 0, {}))));
    const auto whole = [&] {
      const std::vector<std::byte>& got = client_.received();
      return got.size() >= before + 4 &&
             got.size() >= before + 4 + (load_big32(got.data() + before) & ~kLastFragment);
    };
    EXPECT_TRUE(world_.scheduler.run_until(whole, 50'000'000));
    const ConstBytes reply = ConstBytes(client_.received()).subspan(before);
    EXPECT_EQ(load_big32(reply.data() + 24), 0U);  // SUCCESS
    return reply.subspan(28);
  }
  // The handle behind a status 0, or behind status 0 and TRUE.
  static std::string handle_in(ConstBytes results, bool optional) {
    XdrReader in(results);
    EXPECT_EQ(in.u32(), 0U);
    if (optional) {
      EXPECT_TRUE(in.boolean());
    }
    const ConstBytes handle = in.opaque(64);
    EXPECT_TRUE(in.ok());
    return {reinterpret_cast<const char*>(handle.data()), handle.size()};
  }

  filer::testing::World world_{GetParam()};
  Nfs3Program nfs_{*world_.filer};
  MountList list_;
  MountProgram mount_{*world_.filer, list_};
  Service service_{world_.scheduler, {&nfs_, &mount_}};
  TestClient client_{world_.scheduler, service_};
  std::uint32_t xid_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Seeds, FilerTest, ::testing::Range<std::uint64_t>(1, 5));

TEST_P(FilerTest, WhatIsWrittenIsRead) {
  const std::string root = handle_in(call(kMountProgram, 1, Wire().text("/vol0")), false);
  const Wire make =
      Wire().text(root).text("file").u32(1).u32(1).u32(0644).u32(0).u32(0).u32(0).u32(0).u32(0);
  const std::string file = handle_in(call(kNfsProgram, 8, make), true);
  std::string data(300'001, ' ');
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<char>(i * 31 + i / 4096);
  }
  const auto bytes = static_cast<std::uint32_t>(data.size());
  const ConstBytes written =
      call(kNfsProgram, 7, Wire().text(file).u64(5).u32(bytes).u32(2).text(data));
  EXPECT_EQ(load_big32(written.data()), 0U);
  EXPECT_EQ(handle_in(call(kNfsProgram, 3, Wire().text(root).text("file")), false), file);

  XdrReader in(call(kNfsProgram, 6, Wire().text(file).u64(0).u32(1U << 20U)));
  EXPECT_EQ(in.u32(), 0U);
  in.skip(4 + 84);  // attributes
  EXPECT_EQ(in.u32(), bytes + 5);
  EXPECT_TRUE(in.boolean());
  const ConstBytes read = in.opaque(1U << 20U);
  EXPECT_TRUE(in.ok());
  const std::string expected = std::string(5, '\0') + data;
  EXPECT_TRUE(std::string(reinterpret_cast<const char*>(read.data()), read.size()) == expected);
}

TEST_P(FilerTest, AStrangersHandleIsRefused) {
  const ConstBytes reply = call(kNfsProgram, 1, Wire().text(std::string(32, 'x')));
  EXPECT_EQ(load_big32(reply.data()), 10001U);  // BADHANDLE
}

}  // namespace
}  // namespace duet::server::test
