// The evidence matrix (rule 6): every cell, and the table in README.md.

#include "failover/evidence.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <sstream>

namespace duet::failover {
namespace {

constexpr auto kUp = LinkEvidence::kUp;
constexpr auto kLost = LinkEvidence::kLost;
constexpr auto kReset = LinkEvidence::kReset;
constexpr auto kBoth = MailboxEvidence::kBoth;
constexpr auto kOne = MailboxEvidence::kOne;
constexpr auto kNone = MailboxEvidence::kNone;
constexpr auto kChanging = BeatEvidence::kChanging;
constexpr auto kStale = BeatEvidence::kStale;
constexpr auto kClaims = BeatEvidence::kClaims;
constexpr auto kSynced = MirrorEvidence::kSynced;
constexpr auto kSolo = MirrorEvidence::kSolo;

struct Cell {
  LinkEvidence link;
  MailboxEvidence mailbox;
  BeatEvidence beat;
  MirrorEvidence mirror;
  Action action;
  Alarm alarm;
};

// Written by hand from the rules, not by the function.
constexpr std::array kCells{
    Cell{kUp, kBoth, kChanging, kSynced, Action::kNone, Alarm::kNone},
    Cell{kUp, kBoth, kChanging, kSolo, Action::kResync, Alarm::kNone},
    Cell{kUp, kBoth, kStale, kSynced, Action::kNone, Alarm::kMailboxStale},
    Cell{kUp, kBoth, kStale, kSolo, Action::kNone, Alarm::kMailboxStale},
    Cell{kUp, kBoth, kClaims, kSynced, Action::kReadOwner, Alarm::kNone},
    Cell{kUp, kBoth, kClaims, kSolo, Action::kReadOwner, Alarm::kNone},
    Cell{kUp, kOne, kChanging, kSynced, Action::kNone, Alarm::kMemberLost},
    Cell{kUp, kOne, kChanging, kSolo, Action::kResync, Alarm::kMemberLost},
    Cell{kUp, kOne, kStale, kSynced, Action::kNone, Alarm::kMemberLost},
    Cell{kUp, kOne, kStale, kSolo, Action::kResync, Alarm::kMemberLost},
    Cell{kUp, kOne, kClaims, kSynced, Action::kReadOwner, Alarm::kNone},
    Cell{kUp, kOne, kClaims, kSolo, Action::kReadOwner, Alarm::kNone},
    Cell{kUp, kNone, kChanging, kSynced, Action::kNone, Alarm::kMailboxBlind},
    Cell{kUp, kNone, kChanging, kSolo, Action::kResync, Alarm::kMailboxBlind},
    Cell{kUp, kNone, kStale, kSynced, Action::kNone, Alarm::kMailboxBlind},
    Cell{kUp, kNone, kStale, kSolo, Action::kResync, Alarm::kMailboxBlind},
    Cell{kUp, kNone, kClaims, kSynced, Action::kNone, Alarm::kMailboxBlind},
    Cell{kUp, kNone, kClaims, kSolo, Action::kResync, Alarm::kMailboxBlind},

    Cell{kLost, kBoth, kChanging, kSynced, Action::kGoSolo, Alarm::kLinkLost},
    Cell{kLost, kBoth, kChanging, kSolo, Action::kGoSolo, Alarm::kLinkLost},
    Cell{kLost, kBoth, kStale, kSynced, Action::kTakeOver, Alarm::kNone},
    Cell{kLost, kBoth, kStale, kSolo, Action::kGoSolo, Alarm::kSoloPartner},
    Cell{kLost, kBoth, kClaims, kSynced, Action::kReadOwner, Alarm::kNone},
    Cell{kLost, kBoth, kClaims, kSolo, Action::kReadOwner, Alarm::kNone},
    Cell{kLost, kOne, kChanging, kSynced, Action::kGoSolo, Alarm::kMemberLost},
    Cell{kLost, kOne, kChanging, kSolo, Action::kGoSolo, Alarm::kMemberLost},
    Cell{kLost, kOne, kStale, kSynced, Action::kGoSolo, Alarm::kCannotProve},
    Cell{kLost, kOne, kStale, kSolo, Action::kGoSolo, Alarm::kCannotProve},
    Cell{kLost, kOne, kClaims, kSynced, Action::kReadOwner, Alarm::kNone},
    Cell{kLost, kOne, kClaims, kSolo, Action::kReadOwner, Alarm::kNone},
    Cell{kLost, kNone, kChanging, kSynced, Action::kGoSolo, Alarm::kMailboxBlind},
    Cell{kLost, kNone, kChanging, kSolo, Action::kGoSolo, Alarm::kMailboxBlind},
    Cell{kLost, kNone, kStale, kSynced, Action::kGoSolo, Alarm::kMailboxBlind},
    Cell{kLost, kNone, kStale, kSolo, Action::kGoSolo, Alarm::kMailboxBlind},
    Cell{kLost, kNone, kClaims, kSynced, Action::kGoSolo, Alarm::kMailboxBlind},
    Cell{kLost, kNone, kClaims, kSolo, Action::kGoSolo, Alarm::kMailboxBlind},

    Cell{kReset, kBoth, kChanging, kSynced, Action::kResync, Alarm::kNone},
    Cell{kReset, kBoth, kChanging, kSolo, Action::kResync, Alarm::kNone},
    Cell{kReset, kBoth, kStale, kSynced, Action::kAwaitRestart, Alarm::kNone},
    Cell{kReset, kBoth, kStale, kSolo, Action::kAwaitRestart, Alarm::kNone},
    Cell{kReset, kBoth, kClaims, kSynced, Action::kReadOwner, Alarm::kNone},
    Cell{kReset, kBoth, kClaims, kSolo, Action::kReadOwner, Alarm::kNone},
    Cell{kReset, kOne, kChanging, kSynced, Action::kResync, Alarm::kMemberLost},
    Cell{kReset, kOne, kChanging, kSolo, Action::kResync, Alarm::kMemberLost},
    Cell{kReset, kOne, kStale, kSynced, Action::kAwaitRestart, Alarm::kMemberLost},
    Cell{kReset, kOne, kStale, kSolo, Action::kAwaitRestart, Alarm::kMemberLost},
    Cell{kReset, kOne, kClaims, kSynced, Action::kReadOwner, Alarm::kNone},
    Cell{kReset, kOne, kClaims, kSolo, Action::kReadOwner, Alarm::kNone},
    Cell{kReset, kNone, kChanging, kSynced, Action::kAwaitRestart, Alarm::kMailboxBlind},
    Cell{kReset, kNone, kChanging, kSolo, Action::kAwaitRestart, Alarm::kMailboxBlind},
    Cell{kReset, kNone, kStale, kSynced, Action::kAwaitRestart, Alarm::kMailboxBlind},
    Cell{kReset, kNone, kStale, kSolo, Action::kAwaitRestart, Alarm::kMailboxBlind},
    Cell{kReset, kNone, kClaims, kSynced, Action::kAwaitRestart, Alarm::kMailboxBlind},
    Cell{kReset, kNone, kClaims, kSolo, Action::kAwaitRestart, Alarm::kMailboxBlind},
};
static_assert(kCells.size() == 3 * 3 * 3 * 2);

class EvidenceCell : public ::testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Matrix, EvidenceCell, ::testing::Range<std::size_t>(0, kCells.size()));

TEST_P(EvidenceCell, HasItsDecision) {
  const Cell& cell = kCells[GetParam()];
  // Each cell stands where the counting of the table puts it: none is there twice.
  EXPECT_EQ(
      GetParam(),
      ((static_cast<std::size_t>(cell.link) * 3 + static_cast<std::size_t>(cell.mailbox)) * 3 +
       static_cast<std::size_t>(cell.beat)) *
              2 +
          static_cast<std::size_t>(cell.mirror));
  const Verdict verdict = decide(
      {.link = cell.link, .mailbox = cell.mailbox, .beat = cell.beat, .mirror = cell.mirror});
  EXPECT_EQ(name(verdict.action), name(cell.action));
  EXPECT_EQ(name(verdict.alarm), name(cell.alarm));
}

// Every input there is, last words and requests included.
template <typename Check>
void for_all(Check check) {
  for (std::uint8_t i = 0; i < 54; ++i) {
    for (std::uint8_t words = 0; words < 3; ++words) {
      for (const bool asked : {false, true}) {
        check(Evidence{.link = kCells[i].link,
                       .mailbox = kCells[i].mailbox,
                       .beat = kCells[i].beat,
                       .mirror = kCells[i].mirror,
                       .words = WordsEvidence{words},
                       .asked = asked});
      }
    }
  }
}

TEST(Evidence, NobodyTakesOverAPartnerThatMayBeAliveAndServing) {
  for_all([](const Evidence& e) {
    if (decide(e).action != Action::kTakeOver) {
      return;
    }
    EXPECT_EQ(e.beat, kStale);
    const bool silent = e.link == kLost && e.mailbox == kBoth;
    const bool asks = e.asked && e.link == kUp && e.mailbox == kBoth;
    EXPECT_TRUE(silent || asks || e.words == WordsEvidence::kDead);
  });
}

TEST(Evidence, NobodyTakesOverOverASoloMark) {
  for_all([](const Evidence& e) {
    if (e.mirror == kSolo) {
      EXPECT_NE(decide(e).action, Action::kTakeOver);
    }
  });
}

TEST(Evidence, LastWordsAreKnownDeath) {
  for (const LinkEvidence link : {kUp, kLost, kReset}) {
    const Evidence e{.link = link, .mailbox = kOne, .beat = kStale, .words = WordsEvidence::kDead};
    EXPECT_EQ(decide(e).action, Action::kTakeOver);
  }
  EXPECT_NE(decide({.beat = kChanging, .words = WordsEvidence::kDead}).action, Action::kTakeOver)
      << "words of an older life";
}

TEST(Evidence, WhoAskedForTimeGetsIt) {
  for_all([](const Evidence& e) {
    if (e.words == WordsEvidence::kRestarting) {
      EXPECT_NE(decide(e).action, Action::kTakeOver);
    }
  });
}

TEST(Evidence, APausedPartnerThatAsksIsTakenOver) {
  EXPECT_EQ(decide({.beat = kStale, .asked = true}).action, Action::kTakeOver);
  EXPECT_EQ(decide({.beat = kChanging, .asked = true}).action, Action::kNone);
}

TEST(Evidence, EachAlarmHasARemedy) {
  for (std::uint8_t i = 1; i <= static_cast<std::uint8_t>(Alarm::kSoloPartner); ++i) {
    EXPECT_FALSE(remedy(Alarm{i}).empty());
    EXPECT_FALSE(name(Alarm{i}).empty());
  }
}

TEST(Evidence, TheTableInTheReadmeIsTheFunctions) {
  std::ifstream file(FAILOVER_README);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find(evidence_table()), std::string::npos) << "it should be:\n"
                                                                  << evidence_table();
}

}  // namespace
}  // namespace duet::failover
