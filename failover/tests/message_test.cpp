// The bytes of the messages, as FORMAT.md shows them.

#include "failover/pair_message_format.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace duet::failover {
namespace {

std::uint8_t at(ConstBytes bytes, std::size_t offset) {
  return static_cast<std::uint8_t>(bytes[offset]);
}

TEST(PairMessages, WhatANodeTellsItsPartnerStandsWhereTheFormatSays) {
  KnowledgeMessage message;
  message.verb = static_cast<std::uint32_t>(KnowledgeVerb::kKnown);
  message.disk_count = 6;
  message.pair = {0x11, 0x12};
  message.incarnation = 0x13;
  message.to = 0x14;
  message.number = 0x15;
  message.place = 0x16;
  message.place_disk = {0x17, 0x18};
  message.members[0] = {.generation = 0x19, .count = 2, .disks = {{{0x1A, 0x1B}}}};
  message.members[1] = {.generation = 0x1C, .count = 3, .disks = {{{0x1D, 0x1E}}}};
  message.disks[0] = {0x21, 0x22};
  message.disks[63] = {0x23, 0x24};
  const ConstBytes bytes = bytes_of(message);
  ASSERT_EQ(bytes.size(), 1232U);
  constexpr std::array<std::pair<std::size_t, std::uint8_t>, 24> kExpected{{
      {0, 0x44},   {1, 0x4C},  {2, 0x50},   {3, 0x4B},   {4, 1},      {8, 2},
      {12, 6},     {16, 0x11}, {24, 0x12},  {32, 0x13},  {40, 0x14},  {48, 0x15},
      {56, 0x16},  {64, 0x17}, {72, 0x18},  {80, 0x19},  {88, 2},     {96, 0x1A},
      {144, 0x1C}, {152, 3},   {160, 0x1D}, {208, 0x21}, {216, 0x22}, {208 + 63 * 16, 0x23},
  }};
  for (const auto& [offset, value] : kExpected) {
    EXPECT_EQ(at(bytes, offset), value) << offset;
  }
}

TEST(PairMessages, NoTwoKindsAreOfOneSize) {
  EXPECT_EQ(sizeof(PairMessage), 64U);
  EXPECT_EQ(sizeof(PlaceMessage), 176U);
  EXPECT_EQ(sizeof(KnowledgeMessage), 1232U);
}

}  // namespace
}  // namespace duet::failover
