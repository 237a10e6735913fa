#include "carried.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duet::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// 0 to 2 are filer a's, 3 and 4 filer b's; each node has two members, and the record is on one.
class Carried : public ::testing::Test {
 protected:
  Carried() {
    status_.members[0].disks = {0, 1};
    status_.members[1].disks = {3, 4};
    status_.arbitration = 2;
  }
  [[nodiscard]] std::string on(std::size_t disk) const {
    return what_is_carried(status_, disks_, disk);
  }
  const std::vector<CarryingDisk> disks_{{"d0", 0}, {"d1", 0}, {"d2", 0}, {"d3", 1}, {"d4", 1}};
  failover::PairStatus status_;
};

TEST_F(Carried, WhatCanBeMovedIsToldWithTheDisksThatCouldTakeIt) {
  EXPECT_EQ(on(0),
            "disk d0 is a mailbox member of node a; no other disk can take its part while the "
            "nodes run: stop both nodes, write `mailbox: a` at another disk instead, in the files "
            "of both, and start both");
  status_.members[1].disks = {3};
  EXPECT_THAT(on(3), HasSubstr("member replace d3 OTHER`, where OTHER is one of d4"));
  EXPECT_THAT(on(2), HasSubstr("arbitration move OTHER`, where OTHER is one of d4"));
  EXPECT_EQ(on(4), "");
}

// What the disks say counts then, not the files.
TEST_F(Carried, NoOneIsSentToTheFilesOnceAMemberWasReplaced) {
  status_.members[0].generation = 1;
  EXPECT_THAT(on(0), AllOf(HasSubstr("so it stays listed"), Not(HasSubstr("stop both"))));
}

TEST_F(Carried, WhoReplacesADiskHearsWhereItMustStay) {
  EXPECT_THAT(note_on_replaced(status_, disks_, 1),
              AllOf(HasSubstr("in the configuration of both nodes"), HasSubstr("of node a")));
  EXPECT_THAT(note_on_replaced(status_, disks_, 2),
              AllOf(HasSubstr("owner record"), HasSubstr("no other disk can take that")));
  status_.arbitration = 4;
  EXPECT_EQ(note_on_replaced(status_, disks_, 2), "");
}

}  // namespace
}  // namespace duet::daemon
