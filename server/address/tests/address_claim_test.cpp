#include "address/address_claim.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace duet::address {
namespace {

// In a process of its own, as each node is one.
Status claim_elsewhere(const os::TcpAddress& address, const AddressClaim::Claimant& claimant,
                       AddressClaim::Other& other) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto taken = AddressClaim::take(address, claimant, other);
    const Errc code = taken.ok() ? Errc{} : taken.error().code;
    const bool told = write(ends[1], &code, sizeof(code)) == sizeof(code) &&
                      write(ends[1], &other, sizeof(other)) == sizeof(other);
    _exit(told ? 0 : 1);
  }
  Errc code{};
  EXPECT_EQ(read(ends[0], &code, sizeof(code)), static_cast<ssize_t>(sizeof(code)));
  EXPECT_EQ(read(ends[0], &other, sizeof(other)), static_cast<ssize_t>(sizeof(other)));
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(ends[0]);
  close(ends[1]);
  return code == Errc{} ? Status(Ok{}) : Status(Error{code, ""});
}

class Claims : public testing::Test {
 protected:
  // Of no other test that may run beside this one.
  const std::uint64_t number_ = static_cast<std::uint64_t>(getpid());
  const AddressClaim::Claimant ours_{.pair = {number_, ~std::uint64_t{0}}, .node = 'a'};
  AddressClaim::Claimant partner_{.pair = ours_.pair, .node = 'b'};
  AddressClaim::Claimant strangers_{.pair = {number_, 0}, .node = 'b'};
  const os::TcpAddress address_ =
      os::TcpAddress::parse("127.3.2.1", static_cast<std::uint16_t>(number_ % 60'000)).value();
  AddressClaim::Other other_;
};

TEST_F(Claims, ThePartnerMayListenAtTheSameAddress) {
  const auto claim = AddressClaim::take(address_, ours_, other_);
  ASSERT_TRUE(claim.ok());
  EXPECT_TRUE(claim_elsewhere(address_, partner_, other_).ok());
}

TEST_F(Claims, AnotherPairMayNotAndLearnsWhoDoes) {
  const auto claim = AddressClaim::take(address_, ours_, other_);
  ASSERT_TRUE(claim.ok());
  const Status refused = claim_elsewhere(address_, strangers_, other_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kExists);
  EXPECT_FALSE(other_.same_pair);
  EXPECT_EQ(other_.process, getpid());
}

TEST_F(Claims, TheSameNodeMayNotASecondTime) {
  const auto claim = AddressClaim::take(address_, ours_, other_);
  ASSERT_TRUE(claim.ok());
  const Status refused = claim_elsewhere(address_, ours_, other_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kExists);
  EXPECT_TRUE(other_.same_pair);
}

TEST_F(Claims, OneThatListensEverywhereIsInTheWayOfAllOthersOfThePort) {
  const auto claim =
      AddressClaim::take(os::TcpAddress{.ip = {}, .port = address_.port}, ours_, other_);
  ASSERT_TRUE(claim.ok());
  EXPECT_FALSE(claim_elsewhere(address_, strangers_, other_).ok());
}

TEST_F(Claims, AnotherAddressOrAnotherPortIsFree) {
  const auto claim = AddressClaim::take(address_, ours_, other_);
  ASSERT_TRUE(claim.ok());
  os::TcpAddress next = address_;
  ++next.port;
  EXPECT_TRUE(claim_elsewhere(next, strangers_, other_).ok());
  next = address_;
  ++next.ip[15];
  EXPECT_TRUE(claim_elsewhere(next, strangers_, other_).ok());
}

TEST_F(Claims, EndWithTheirOwner) {
  {
    const auto claim = AddressClaim::take(address_, ours_, other_);
    ASSERT_TRUE(claim.ok());
  }
  EXPECT_TRUE(claim_elsewhere(address_, strangers_, other_).ok());
  EXPECT_TRUE(AddressClaim::take(address_, ours_, other_).ok()) << "that of the child has ended";
}

}  // namespace
}  // namespace duet::address
