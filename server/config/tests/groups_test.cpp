#include <gtest/gtest.h>

#include <string>

#include "config/config.h"
#include "nvlog/request_log.h"
#include "refusal.h"

namespace duet::config {
namespace {

using testing::BadFile;
using testing::refusal;

constexpr std::string_view kGood = R"(pair:
  name: sample
raid:
  - name: tank
    level: raid6
    chunk: 32KiB
    disks:
      - {path: run/0.img, size: 1GiB}
      - {path: run/1.img, size: 1GiB}
      - {path: run/2.img, size: 1GiB}
      - {path: run/3.img, size: 1GiB}
      - {path: run/4.img, size: 1GiB}
    spares:
      - {path: run/5.img, size: 1GiB}
    virtual_disks:
      - {name: fast, size: 1GiB}
      - {name: rest}
nodes:
  a:
    memory: {path: run/nvlog.pmem, size: 128MiB}
    admin: {socket: run/admin.sock}
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    disks:
      - raid: tank/fast
      - {path: run/own.img, size: 1GiB}
      - raid: tank/rest
)";

std::string with(std::string_view from, std::string_view to) {
  return testing::replaced(kGood, from, to);
}

TEST(Groups, AreReadAsTheyStand) {
  const Outcome<Config> outcome = parse(kGood, "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const Config& config = outcome.value();
  const RaidGroup* const group = config.group("tank");
  ASSERT_NE(group, nullptr);
  EXPECT_EQ(group->level, raid::Level::kDoubleParity);
  EXPECT_EQ(group->chunk_blocks, 8U);
  ASSERT_EQ(group->disks.size(), 5U);
  EXPECT_EQ(group->disks[4].path.text, "run/4.img");
  EXPECT_EQ(group->disks[4].path.line, 12);
  ASSERT_EQ(group->spares.size(), 1U);
  EXPECT_EQ(group->background_bytes_per_s, 0U) << "no bound";
  ASSERT_EQ(group->virtual_disks.size(), 2U);
  EXPECT_EQ(group->virtual_disks[0].size_bytes, 1ULL << 30U);
  EXPECT_EQ(group->virtual_disks[1].size_bytes, 0U);
  const std::vector<Disk>& disks = config.filer("a")->disks;
  ASSERT_EQ(disks.size(), 3U);
  EXPECT_TRUE(disks[0].is_virtual());
  EXPECT_EQ(disks[0].group, "tank");
  EXPECT_EQ(disks[0].virtual_disk, "fast");
  EXPECT_FALSE(disks[1].is_virtual());
  EXPECT_EQ(config.groups_of(*config.node("a")), std::vector<const RaidGroup*>{group});
}

TEST(Groups, TheirBackgroundWorkHasARate) {
  const Outcome<Config> outcome =
      parse(with("chunk: 32KiB", "chunk: 32KiB\n    background: 50MiB"), "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_EQ(outcome.value().group("tank")->background_bytes_per_s, 50ULL << 20U);
}

TEST(Groups, GeometryComesFromTheSmallestDisk) {
  const Outcome<Config> outcome = parse(kGood, "d.yaml");
  ASSERT_TRUE(outcome.ok());
  const raid::Geometry geometry = outcome.value().group("tank")->geometry(1ULL << 30U);
  EXPECT_TRUE(geometry.valid());
  EXPECT_EQ(geometry.stripes, ((1U << 18U) - raid::kDataStartBlock) / 8);
  EXPECT_LE(geometry.disk_blocks(), 1U << 18U);
  EXPECT_EQ(outcome.value().group("tank")->geometry(4096).stripes, 0U);
}

TEST(Groups, IntentsLieBehindTheLogOfANodesMemory) {
  const Outcome<Config> outcome = parse(kGood, "d.yaml");
  ASSERT_TRUE(outcome.ok());
  const Config& config = outcome.value();
  const std::vector<const RaidGroup*> groups = config.groups_of(*config.node("a"));
  const std::uint64_t bytes = 128ULL << 20U;
  const MemoryMap one = map_memory(groups, bytes);
  ASSERT_EQ(one.intents.size(), 1U);
  EXPECT_EQ(one.intents[0].offset + one.intents[0].bytes, bytes);
  EXPECT_EQ(one.intents[0].offset, one.log_bytes);
  EXPECT_EQ(one.intents[0].offset % 4096, 0U);
  EXPECT_GE(one.log_bytes, nvlog::region_bytes(nvlog::half_bytes_min()));
  // A stripe of any group with this chunk is an intent, also when all of it is written in place.
  EXPECT_GE(groups[0]->intents().pages, raid::kDisksMax * groups[0]->chunk_blocks);
  // A second group, of another chunk, leaves the first one's intents where they are.
  RaidGroup other = *groups[0];
  other.chunk_blocks = 64;
  const MemoryMap two = map_memory({groups[0], &other}, bytes);
  EXPECT_EQ(two.intents[0].offset, one.intents[0].offset);
  EXPECT_EQ(two.intents[1].offset + two.intents[1].bytes, one.intents[0].offset);
  EXPECT_EQ(two.log_bytes, two.intents[1].offset);
  // No group: all of it is the log's, as ever.
  EXPECT_EQ(map_memory({}, bytes + 512).log_bytes, bytes + 512);
}

class GroupsRefuse : public ::testing::TestWithParam<BadFile> {};

TEST_P(GroupsRefuse, WithTheLineAndTheRemedy) {
  EXPECT_EQ(refusal(with(GetParam().from, GetParam().to)), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Each, GroupsRefuse,
    ::testing::Values(
        BadFile{"tank/rest", "tonk/rest",
                "d.yaml:29: filers.a.disks.raid: there is no virtual disk \"tonk/rest\"; write "
                "GROUP/DISK, one of: tank/fast, tank/rest"},
        BadFile{"tank/rest", "tank",
                "d.yaml:29: filers.a.disks.raid: there is no virtual disk \"tank\"; write "
                "GROUP/DISK, one of: tank/fast, tank/rest"},
        BadFile{
            "tank/rest", "tank/fast",
            "d.yaml:29: virtual disk tank/fast is used twice; the first is in line 27; give each "
            "filer virtual disks of its own"},
        BadFile{
            "- raid: tank/rest", "- {raid: tank/rest, size: 1GiB}",
            "d.yaml:29: filers.a.disks.size: a virtual disk has none: the group says what it is; "
            "remove it, or `raid`"},
        BadFile{"raid6", "raid4",
                "d.yaml:5: raid.level: \"raid4\" is not known; write raid1 (2 or 3 disks with the "
                "same), raid5 (one disk may fail) or raid6 (two)"},
        BadFile{"raid6", "raid1",
                "d.yaml:4: raid.tank.disks: raid1 has 2 to 3 disks, here are 5; make two groups of "
                "them, or choose another level"},
        BadFile{
            "      - {path: run/0.img, size: 1GiB}\n      - {path: run/1.img, size: 1GiB}\n", "",
            "d.yaml:4: raid.tank.disks: raid6 has 4 to 32 disks, here are 3; add disks, or choose "
            "another level"},
        BadFile{
            "chunk: 32KiB", "chunk: 33KiB",
            "d.yaml:6: raid.chunk: it is no multiple of 4 KiB up to 4 MiB; write a size such as "
            "64KiB"},
        BadFile{"chunk: 32KiB", "chnk: 32KiB",
                "d.yaml:6: raid.chnk: no such key; correct or remove it; known here: name, level, "
                "disks, spares, chunk, background, virtual_disks"},
        BadFile{
            "chunk: 32KiB", "background: 50M",
            "d.yaml:6: raid.background: \"50M\" is not a size; write a whole number and a unit: "
            "KiB, MiB, GiB or TiB"},
        BadFile{"chunk: 32KiB", "background: 50",
                "d.yaml:6: raid.background: \"50\" is not a size; write a whole number and a unit: "
                "KiB, MiB, GiB or TiB"},
        BadFile{"chunk: 32KiB", "background: 0MiB",
                "d.yaml:6: raid.background: 0MiB is too small; give it at least 1 MiB"},
        BadFile{"chunk: 32KiB", "background: 1000KiB",
                "d.yaml:6: raid.background: 1000KiB is too small; give it at least 1 MiB"},
        BadFile{
            "run/1.img", "run/0.img",
            "d.yaml:9: run/0.img is used twice; the first is in line 8; give each disk, memory and "
            "socket a path of its own"},
        BadFile{"run/5.img, size: 1GiB", "run/5.img, size: 512MiB",
                "d.yaml:14: raid.tank.spares: run/5.img has 512 MiB, and the smallest disk of the "
                "group 1 GiB; a spare must be able to replace any disk: make it as large"},
        BadFile{
            "fast, size: 1GiB", "fast, size: 4GiB",
            "d.yaml:16: raid.tank.virtual_disks: 3.0 GiB is left in the group for fast, which has "
            "3.0 GiB in all; make the virtual disks smaller, or the group's disks larger; the "
            "last virtual disk gets the rest when it has no size"},
        BadFile{
            "{name: fast, size: 1GiB}", "{name: fast}",
            "d.yaml:16: raid.virtual_disks.size is missing; add it; only the last virtual disk can "
            "do without, and gets the rest"},
        BadFile{
            "{name: rest}", "{name: fast}",
            "d.yaml:17: virtual disk \"fast\" stands here twice; the first is in line 16; rename "
            "one of them"},
        BadFile{
            "{name: rest}", "{name: a/b}",
            "d.yaml:17: raid.virtual_disks.name: \"a/b\" cannot be a name; use 1 to 63 letters, "
            "digits, '-', '_' and '.', not beginning with '-' or '.'"},
        BadFile{
            "{name: rest}", "{name: abcdefghijklmnopqrstuvwxyz012345}",
            "d.yaml:17: raid.virtual_disks.name: \"abcdefghijklmnopqrstuvwxyz012345\" is longer "
            "than 31 characters; shorten it"},
        BadFile{"size: 128MiB", "size: 64MiB",
                "d.yaml:20: nodes.a.memory: 64 MiB is too small: the log needs 64 MiB of it, the "
                "redundancy groups 8.3 MiB; give it at least 73 MiB, or the groups smaller chunks"},
        BadFile{
            "      - raid: tank/fast\n      - {path: run/own.img, size: 1GiB}\n      - raid: "
            "tank/rest\n",
            "      - {path: run/own.img, size: 1GiB}\n",
            "d.yaml:4: raid.tank: no filer uses a virtual disk of it; write `- raid: tank/fast` "
            "under a filer's `disks`, or remove the group"},
        BadFile{
            "{path: run/0.img, size: 1GiB}", "{path: run/0.img, size: 1GiB, mailbox: a}",
            "d.yaml:8: raid.disks.mailbox: no such key; correct or remove it; known here: path, "
            "size"},
        BadFile{"- raid: tank/rest", "- {raid: tank/rest, mailbox: true}",
                "d.yaml:29: filers.a.disks.mailbox: only a pair shares disks; remove it, or add "
                "`interconnect` to `pair`"}));

TEST(Groups, ASecondOneWithTheSameNameIsRefused) {
  const std::string text(kGood);
  const std::size_t from = text.find("  - name: tank");
  const std::size_t to = text.find("nodes:");
  const std::string again = text.substr(0, to) + text.substr(from, to - from) + text.substr(to);
  EXPECT_EQ(
      refusal(again),
      "d.yaml:18: redundancy group \"tank\" stands here twice; the first is in line 4; rename "
      "one of them");
}

}  // namespace
}  // namespace duet::config
