// The sectors' bytes against the golden image, and what is refused.

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "mailbox/sector.h"

namespace duet::mailbox {
namespace {

constexpr std::array<std::uint64_t, 2> kPair{0x0706'0504'0302'0100, 0x0F0E'0D0C'0B0A'0908};

template <typename Record>
void head(Record& record, std::uint32_t subject) {
  record.header.pair = kPair;
  record.header.subject = subject;
  record.header.node = 1;
  record.header.incarnation = 0x11'2233;
  record.header.sequence = 7;
}

BeatSector beat() {
  BeatSector s;
  head(s, 1);
  s.lease_ms = 500;
  s.beat_ms = 100;
  s.state = static_cast<std::uint32_t>(NodeState::kServing);
  s.serving = 2;
  s.membership_generation = 3;
  s.epochs = {0, 9};
  return s;
}
MarkSector mark() {
  MarkSector s;
  head(s, 0);
  s.set = 1;
  s.epoch = 9;
  s.first_unmirrored = 4711;
  return s;
}
ArbitrationSector owners() {
  ArbitrationSector s;
  head(s, 0);
  s.generation = 8;
  s.filers = {OwnerEntry{.owner = 1, .previous = 0, .incarnation = 0x11'2233, .epoch = 9},
              OwnerEntry{.owner = 1, .previous = 1, .incarnation = 0x11'2233, .epoch = 4}};
  return s;
}
WordsSector words() {
  WordsSector s;
  head(s, 1);
  s.dead_incarnation = 0x11'2232;
  s.cause = static_cast<std::uint32_t>(Cause::kCrashed);
  s.restart_ms = 3000;
  s.crashes = 2;
  return s;
}
MembersSector members() {
  MembersSector s;
  head(s, 1);
  s.generation = 3;
  s.count = 2;
  s.disks[0] = {1, 2};
  s.disks[1] = {3, 4};
  s.previous_generation = 2;
  s.previous_count = 1;
  s.previous_disks[0] = {5, 6};
  s.promised_generation = 8;
  s.promised_disk = {7, 9};
  return s;
}
MovedSector moved() {
  MovedSector s;
  head(s, 0);
  s.generation = 8;
  s.disk = {7, 9};
  return s;
}

template <typename Record>
std::array<std::byte, kBlockBytes> block_of(const Record& record) {
  std::array<std::byte, kBlockBytes> block{};
  encode(record, block);
  return block;
}

// Lines of 16 bytes that are not zero: "name offset: hex".
template <typename Record>
std::string dump(const char* name, const Record& record) {
  const auto block = block_of(record);
  std::ostringstream out;
  for (std::size_t at = 0; at < block.size(); at += 16) {
    const ConstBytes line = ConstBytes(block).subspan(at, 16);
    if (std::ranges::all_of(line, [](std::byte b) { return b == std::byte{0}; })) {
      continue;
    }
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%03zx:", at);
    out << name << ' ' << text.data();
    for (const std::byte b : line) {
      std::snprintf(text.data(), text.size(), " %02x", static_cast<unsigned>(b));
      out << text.data();
    }
    out << '\n';
  }
  return out.str();
}

TEST(MailboxFormat, TheSectorsAreTheGoldenOnes) {
  std::ifstream file(MAILBOX_TESTDATA "/sectors_v1.hex");
  std::ostringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(dump("beat", beat()) + dump("mark", mark()) + dump("arbitration", owners()) +
                dump("words", words()) + dump("members", members()) + dump("moved", moved()),
            golden.str());
}

TEST(MailboxFormat, WhatIsWrittenIsReadBack) {
  const auto found = decode<ArbitrationSector>(block_of(owners()), kPair, 0);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found.value().filers, owners().filers);
  EXPECT_EQ(decode<MarkSector>(block_of(mark()), kPair, 0).value().first_unmirrored, 4711U);
  EXPECT_EQ(decode<WordsSector>(block_of(words()), kPair, 1).value().restart_ms, 3000U);
  EXPECT_EQ(decode<MembersSector>(block_of(members()), kPair, 1).value().disks[1][1], 4U);
}

TEST(MailboxFormat, ABlankSectorWasNeverWritten) {
  const std::array<std::byte, kBlockBytes> blank{};
  EXPECT_EQ(decode<BeatSector>(blank, kPair, 1).error().code, Errc::kNotFound);
}

// Rule 1: torn is no information.
TEST(MailboxFormat, EveryTurnedBitIsFound) {
  auto block = block_of(beat());
  for (std::size_t bit = 0; bit < kSectorBytes * 8; ++bit) {
    block[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto found = decode<BeatSector>(block, kPair, 1);
    ASSERT_FALSE(found.ok()) << bit;
    ASSERT_EQ(found.error().code, Errc::kCorrupt) << bit;
    block[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(MailboxFormat, ASectorOfAnotherPairVersionKindOrNodeIsForeign) {
  const auto code = [](const auto& block, std::uint32_t subject, auto pair) {
    return decode<BeatSector>(block, pair, subject).error().code;
  };
  EXPECT_EQ(code(block_of(beat()), 1, std::array<std::uint64_t, 2>{1, 2}), Errc::kForeign);
  EXPECT_EQ(code(block_of(beat()), 0, kPair), Errc::kForeign);
  EXPECT_EQ(code(block_of(words()), 1, kPair), Errc::kForeign);
  BeatSector newer = beat();
  newer.header.version = 2;
  EXPECT_EQ(code(block_of(newer), 1, kPair), Errc::kForeign);
}

}  // namespace
}  // namespace duet::mailbox
