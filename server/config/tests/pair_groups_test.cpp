// Redundancy groups in a pair: what the file may say of them, and which of their disks carry the
// mailbox.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/config.h"
#include "refusal.h"

namespace duet::config {
namespace {

using ::testing::ElementsAre;
using testing::refusal;

constexpr std::string_view kHead = R"(pair:
  name: sample
  interconnect:
    transport: shared-memory
    directory: run/link
)";

constexpr std::string_view kNodes = R"(nodes:
  a:
    memory: {path: run/a/memory, size: 128MiB}
    mirror: {path: run/a/mirror, size: 128MiB}
    admin: {socket: run/a/admin.sock}
  b:
    memory: {path: run/b/memory, size: 128MiB}
    mirror: {path: run/b/mirror, size: 128MiB}
    admin: {socket: run/b/admin.sock}
)";

// Each item of `disks` is "NAME" of a shelf's disk, and what stands behind it in its braces.
struct Group {
  std::string name, level;
  std::vector<std::string> disks, spares;
  std::vector<std::string> virtual_disks{"a"};
};

std::string item(const std::string& disk) { return "{url: \"shelf+unix://s#" + disk + "}\n"; }

std::string text_of(const Group& group) {
  std::string text = "  - name: " + group.name + "\n    level: " + group.level + "\n    disks:\n";
  for (const std::string& disk : group.disks) {
    text += "      - " + item(disk);
  }
  for (const std::string& spare : group.spares) {
    text += (&spare == group.spares.data() ? "    spares:\n      - " : "      - ") + item(spare);
  }
  text += "    virtual_disks:\n";
  for (const std::string& disk : group.virtual_disks) {
    const bool last = &disk == &group.virtual_disks.back();
    text += "      - {name: " + disk + (last ? "}\n" : ", size: 1GiB}\n");
  }
  return text;
}

// Disks of a filer: "raid: GROUP/DISK", or "NAME" as above.
std::string text_of(const std::vector<Group>& groups, const std::vector<std::string>& a,
                    const std::vector<std::string>& b) {
  std::string text(kHead);
  text += "raid:\n";
  for (const Group& group : groups) {
    text += text_of(group);
  }
  text += kNodes;
  text += "filers:\n";
  for (const char filer : {'a', 'b'}) {
    text += std::string("  ") + filer + ":\n    home: " + filer + "\n    addresses: [127.0.1." +
            (filer == 'a' ? "1" : "2") + "]\n    disks:\n";
    for (const std::string& disk : filer == 'a' ? a : b) {
      text += "      - " + (disk.starts_with("raid: ") ? disk + "\n" : item(disk));
    }
  }
  return text;
}

// Disks with nothing behind them: c0", c1", ...
std::vector<std::string> disks(const std::string& letter, int count) {
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) {
    all.push_back(letter + std::to_string(i) + "\"");
  }
  return all;
}

Group shared(const std::string& level, int count) {
  return {"tank", level, disks("c", count), {}, {"a", "b"}};
}
std::string shared_text(const Group& group) {
  return text_of({group}, {"raid: tank/a"}, {"raid: tank/b"});
}

// What each disk of the groups carries: "A", "B": a member of that node; "R": the record; "-".
std::string roles(const std::vector<Disk>& disks) {
  std::string text;
  for (const Disk& disk : disks) {
    text += disk.mailbox ? (disk.home == 0 ? "A" : "B") : disk.arbitration ? "R" : "-";
  }
  return text;
}
std::string roles(std::string_view text) {
  const Outcome<Config> outcome = parse(text, "d.yaml");
  if (!outcome.ok()) {
    return outcome.error().text();
  }
  std::string all;
  for (const RaidGroup& group : outcome.value().groups) {
    all += (all.empty() ? "" : " ") + roles(group.disks);
  }
  for (const Filer& filer : outcome.value().filers) {
    std::vector<Disk> own;
    for (const Disk& disk : filer.disks) {
      if (!disk.is_virtual()) {
        own.push_back(disk);
      }
    }
    all += own.empty() ? "" : " | " + roles(own);
  }
  return all;
}

std::string name_of(const Disk& disk) {
  return disk.path.text.substr(disk.path.text.find('#') + 1);
}

Config parsed(std::string_view text) {
  Outcome<Config> outcome = parse(text, "d.yaml");
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  return outcome.ok() ? std::move(outcome.value()) : Config{};
}

TEST(PairGroups, ASharedGroupsDisksAreSharedBetweenBothNodes) {
  EXPECT_EQ(roles(shared_text(shared("raid1", 3))), "ABR");
  EXPECT_EQ(roles(shared_text(shared("raid5", 3))), "ABR");
  EXPECT_EQ(roles(shared_text(shared("raid6", 4))), "ABR-");
  EXPECT_EQ(roles(shared_text(shared("raid6", 5))), "ABRAB");
  EXPECT_EQ(roles(shared_text(shared("raid6", 7))), "ABRAB--");
}

TEST(PairGroups, AGroupOfOneFilerCarriesTheMailboxOfItsNode) {
  const Group a{"tank-a", "raid5", disks("a", 3), disks("s", 1)};
  const Group b{"tank-b", "raid5", disks("b", 3), {}};
  EXPECT_EQ(roles(text_of({a, b}, {"raid: tank-a/a"}, {"raid: tank-b/a"})), "AAR BB-");
  // The order of the groups does not matter.
  EXPECT_EQ(roles(text_of({b, a}, {"raid: tank-a/a"}, {"raid: tank-b/a"})), "BB- AAR");
  const Group mirror{"tank-a", "raid1", disks("a", 2), {}};
  EXPECT_EQ(roles(text_of({mirror, b}, {"raid: tank-a/a"}, {"raid: tank-b/a"})), "AR BB-");
  EXPECT_EQ(roles(text_of({mirror, b}, {"raid: tank-b/a"}, {"raid: tank-a/a"})), "BB AAR");
}

TEST(PairGroups, AFilersOwnDisksComeFirst) {
  const Group a{"tank-a", "raid5", disks("a", 3), {}};
  EXPECT_EQ(roles(text_of({a}, {"x0\"", "raid: tank-a/a"}, {"y0\"", "y1\""})), "AR- | A | BB");
  EXPECT_EQ(roles(text_of({a}, {"x0\"", "x1\"", "x2\"", "raid: tank-a/a"}, {"y0\""})),
            "--- | AAR | B");
  EXPECT_EQ(roles(text_of({shared("raid6", 4)}, {"x0\"", "raid: tank/a"}, {"raid: tank/b"})),
            "BRAB | A");
  EXPECT_EQ(
      roles(text_of({shared("raid6", 4)}, {"raid: tank/a"}, {"y0\"", "y1\"", "raid: tank/b"})),
      "ARA- | BB");
  EXPECT_EQ(roles(text_of({shared("raid6", 4)}, {"x0\"", "x1\"", "x2\"", "raid: tank/a"},
                          {"raid: tank/b"})),
            "BB-- | AAR");
}

TEST(PairGroups, WhatTheFileNamesCounts) {
  Group group = shared("raid6", 6);
  group.disks[5] = "c5\", mailbox: a";
  EXPECT_EQ(roles(shared_text(group)), "BRB--A");
  group.disks[0] = "c0\", arbitration: true";
  EXPECT_EQ(roles(shared_text(group)), "RBB--A");
  group.disks[1] = "c1\", mailbox: b";
  EXPECT_EQ(roles(shared_text(group)), "RB---A");
  Group alone{"tank-a", "raid5", disks("a", 3), {}};
  alone.disks[2] = "a2\", mailbox: a";
  EXPECT_EQ(roles(text_of({alone}, {"raid: tank-a/a"}, {"y0\""})), "R-A | B");
  alone.disks[0] = "a0\", mailbox: a";
  alone.disks[1] = "a1\", arbitration: true";
  EXPECT_EQ(roles(text_of({alone}, {"raid: tank-a/a"}, {"y0\""})), "ARA | B");
}

TEST(PairGroups, PairDisksAreTheFilersOwnThenTheGroupsWithTheirHomes) {
  const Group b{"tank-b", "raid5", disks("b", 3), disks("s", 1)};
  const Group both{"tank", "raid5", disks("c", 4), disks("t", 1), {"a", "b"}};
  const Config config = parsed(text_of({b, both}, {"x0\"", "raid: tank/a", "x1\""},
                                       {"raid: tank-b/a", "y0\"", "raid: tank/b"}));
  std::vector<std::string> all;
  for (const PairDisk& each : config.pair_disks()) {
    all.push_back(name_of(*each.disk) + (each.group == nullptr ? "" : " of " + each.group->name) +
                  (each.filer == 0 ? " a" : " b") + (each.carries ? " carries" : ""));
  }
  EXPECT_THAT(
      all, ElementsAre("x0 a carries", "x1 a carries", "y0 b carries", "b0 of tank-b b carries",
                       "b1 of tank-b b", "b2 of tank-b b", "s0 of tank-b b", "c0 of tank a carries",
                       "c1 of tank a", "c2 of tank a", "c3 of tank a", "t0 of tank a"));
  EXPECT_TRUE(config.is_shared(*config.group("tank")));
  EXPECT_FALSE(config.is_shared(*config.group("tank-b")));
  EXPECT_TRUE(config.uses(1, *config.group("tank-b")));
}

TEST(PairGroups, ASharedGroupsMemberCountsAtItsNode) {
  const Config config = parsed(shared_text(shared("raid6", 5)));
  std::vector<std::uint32_t> homes;
  for (const PairDisk& each : config.pair_disks()) {
    homes.push_back(each.filer);
  }
  EXPECT_THAT(homes, ElementsAre(0U, 1U, 0U, 0U, 1U));
}

TEST(PairGroups, EachNodeManagesAllGroupsAndHasOneMapOfItsMemories) {
  const Group a{"tank-a", "raid5", disks("a", 3), {}};
  const Group b{"tank-b", "raid5", disks("b", 3), {}};
  const Config config = parsed(text_of({a, b}, {"raid: tank-a/a"}, {"raid: tank-b/a"}));
  const std::vector<const RaidGroup*> both{config.group("tank-a"), config.group("tank-b")};
  EXPECT_EQ(config.groups_of(*config.node("a")), both);
  EXPECT_EQ(config.groups_of(*config.node("b")), both);
  EXPECT_TRUE(config.on_one_host());
}

TEST(PairGroups, ADiskOfAGroupIsASharedDisk) {
  Group group = shared("raid5", 3);
  group.disks[1] = "c1\", size: 1GiB";
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:11: raid.disks.size: a shared disk is as large as its shelf made it; remove it "
            "(`duet-shelf create --size` makes images)");
  std::string text = shared_text(shared("raid5", 3));
  const std::string url = "url: \"shelf+unix://s#c2\"";
  text.replace(text.find(url), url.size(), "path: c2.img");
  EXPECT_EQ(refusal(text),
            "d.yaml:12: raid.disks.path: in a pair both nodes reach every disk; serve it with "
            "duet-shelf, and write `url: shelf+unix://SOCKET#NAME`");
  text = shared_text(shared("raid5", 3));
  text.replace(text.find(url), url.size(), "url: \"shelf+tls://192.0.2.7:7420/c2\"");
  EXPECT_EQ(refusal(text),
            "d.yaml:12: raid.disks.url: shelf+tls://192.0.2.7:7420/c2: nothing says which key the "
            "shelf has; write `shelf_key_file` in `pair` (`openssl rand -hex 32` makes one for the "
            "shelves and both nodes), or ?key_file=PATH behind the URL");
  group = shared("raid5", 3);
  group.disks[2] = "c0\"";
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:12: shelf+unix://s#c0 is used twice; the first is in line 10; give each disk, "
            "memory and socket a path of its own");
}

TEST(PairGroups, MailboxesAndTheRecordAreNamedWhereTheyCanBe) {
  Group group = shared("raid5", 3);
  group.disks[0] = "c0\", mailbox: true";
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:10: raid.disks.mailbox: \"true\" names no node; write a or b: the node that "
            "keeps its mailbox on this disk");
  group.disks[0] = "c0\", mailbox: b, arbitration: true";
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:10: raid.disks.arbitration: the arbitration disk is no mailbox member: the "
            "loss of one disk must not cost both; give the two to different disks");
  group.disks[0] = "c0\", arbitration: true";
  group.disks[2] = "c2\", arbitration: true";
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:12: two disks are named for arbitration; the first is in line 10; name one of "
            "the pair's disks");
  group = shared("raid5", 3);
  group.spares = {"t0\", mailbox: a"};
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:14: raid.spares.mailbox: a spare carries neither mailbox nor record; remove "
            "it, or name one of the group's `disks`");
  Group alone{"tank-a", "raid5", disks("a", 3), {}};
  alone.disks[1] = "a1\", mailbox: b";
  EXPECT_EQ(refusal(text_of({alone}, {"raid: tank-a/a"}, {"y0\""})),
            "d.yaml:11: raid.tank-a.disks: only filer a uses the group, so node b keeps no mailbox "
            "there; write `mailbox: a`, or name a disk that filer b uses");
  EXPECT_EQ(refusal(text_of({shared("raid5", 3)}, {"raid: tank/a"}, {"y0\", mailbox: b"})),
            "d.yaml:35: filers.b.disks.mailbox: \"b\" is neither true nor false; write true or "
            "false");
  std::string text = shared_text(shared("raid5", 3));
  text.replace(text.find("raid: tank/b"), 12, "{raid: tank/b, mailbox: true}");
  EXPECT_EQ(refusal(text),
            "d.yaml:35: filers.b.disks.mailbox: a virtual disk has none: the group's disks have; "
            "write it at one of the `disks` of the group, or remove `raid`");
  group = shared("raid6", 6);
  for (std::size_t i = 0; i < 4; ++i) {
    group.disks[i] = "c" + std::to_string(i) + "\", mailbox: a";
  }
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:29: filers.a.disks: 4 disks are mailbox members; name one, two or three");
}

TEST(PairGroups, TooFewDisksForTheMailboxAreRefused) {
  EXPECT_EQ(refusal(shared_text(shared("raid1", 2))),
            "d.yaml:7: raid.tank.disks: no disk is left for the arbitration record; a group that "
            "both filers use has a disk for the mailbox of each node and one for the arbitration "
            "record: give it at least three, or the filers disks of their own");
  Group group = shared("raid5", 3);
  for (std::size_t i = 0; i < 2; ++i) {
    group.disks[i] = "c" + std::to_string(i) + "\", mailbox: a";
  }
  group.disks[2] = "c2\", arbitration: true";
  EXPECT_EQ(refusal(shared_text(group)),
            "d.yaml:7: raid.tank.disks: no disk is left for the mailbox of node b; a group that "
            "both filers use has a disk for the mailbox of each node and one for the arbitration "
            "record: give it at least three, or the filers disks of their own");
  // With disks of a filer beside it two are enough.
  EXPECT_EQ(roles(text_of({shared("raid1", 2)}, {"x0\"", "raid: tank/a"}, {"raid: tank/b"})),
            "BR | A");
}

TEST(PairGroups, AVirtualDiskServesOneFiler) {
  EXPECT_EQ(refusal(text_of({shared("raid5", 3)}, {"raid: tank/a"}, {"raid: tank/a"})),
            "d.yaml:35: virtual disk tank/a is used twice; the first is in line 30; give each "
            "filer virtual disks of its own");
  EXPECT_EQ(refusal(text_of({shared("raid5", 3)}, {"x0\""}, {"y0\""})),
            "d.yaml:7: raid.tank: no filer uses a virtual disk of it; write `- raid: tank/a` under "
            "a filer's `disks`, or remove the group");
}

TEST(PairGroups, ADeadNodeMustBeShutOutByItself) {
  std::string text = shared_text(shared("raid5", 3));
  const std::string directory = "    directory: run/link\n";
  text.insert(text.find(directory) + directory.size(), "  failover: {automatic_takeover: false}\n");
  EXPECT_EQ(refusal(text),
            "d.yaml:8: raid: with automatic_takeover: false a dead node would stop both filers, as "
            "a redundancy group waits for it until it is shut out; remove `automatic_takeover: "
            "false`, or use disks that are redundant themselves");
}

TEST(PairGroups, APairHasSixAtMost) {
  std::vector<Group> groups;
  std::vector<std::string> disks;
  for (int i = 0; i < 7; ++i) {
    const std::string name = "g" + std::to_string(i);
    groups.push_back({name, "raid1", {name + "x\"", name + "y\""}, {}});
    disks.push_back("raid: " + name + "/a");
  }
  EXPECT_EQ(refusal(text_of(groups, disks, {"y0\"", "y1\""})),
            "d.yaml:49: raid: a pair has at most 6 redundancy groups; make fewer and larger ones");
}

TEST(PairGroups, MemoriesHaveRoomForTheIntentsOfAllGroups) {
  std::string text = shared_text(shared("raid5", 3));
  for (std::size_t at = text.find("128MiB"); at != std::string::npos; at = text.find("128MiB")) {
    text.replace(at, 6, "72MiB");
  }
  EXPECT_EQ(refusal(text),
            "d.yaml:18: nodes.a.memory: 72 MiB is too small: the log needs 64 MiB of it, the "
            "redundancy groups 8.3 MiB; give all memories and mirrors at least 73 MiB, or the "
            "groups smaller chunks");
}

}  // namespace
}  // namespace duet::config
