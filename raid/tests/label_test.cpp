// Labels: what is on the disks is checked, and a group is found among any disks.

#include "raid/label.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "buffer.h"
#include "sim/random.h"

namespace duet::raid {
namespace {

GroupLabel example(std::uint32_t disks = 4, Level level = Level::kSingleParity) {
  GroupLabel label;
  label.level = static_cast<std::uint32_t>(level);
  label.group = {1, 2};
  label.disks = static_cast<std::uint16_t>(disks);
  label.chunk_blocks = 16;
  label.stripes = 100;
  label.sequence = 10;
  label.generation = 8;
  label.holders = 1;
  label.managers = 3;
  label.nodes = 3;
  for (std::uint32_t i = 0; i < disks; ++i) {
    label.members[i].id = {7, 70 + i};
  }
  return label;
}
Result<GroupLabel> on_disk(GroupLabel label, std::uint32_t own) {
  label.own = own;
  label.own_id = label.members[own].id;
  const Buffer block(1);
  encode_label(label, block.bytes());
  return decode_label(block.bytes());
}
std::vector<Result<GroupLabel>> all_disks(const GroupLabel& label) {
  std::vector<Result<GroupLabel>> labels;
  for (std::uint32_t i = 0; i < label.disks; ++i) {
    labels.push_back(on_disk(label, i));
  }
  return labels;
}
constexpr GroupId kGroup = {1, 2};

TEST(Assembly, OfTwoLabelsWithOneNumberThatOfTheViewThatNeverBeganDoesNotCount) {
  // The leader of view 16 got to disk 0 alone; the next one could not read disk 0, and said so.
  GroupLabel begun = example();
  ++begun.sequence;
  GroupLabel never = begun;
  never.generation = 16;
  begun.members[0].state = static_cast<std::uint32_t>(DiskState::kFailed);
  for (const std::uint32_t disk : {0U, 3U}) {
    std::vector<Result<GroupLabel>> labels = all_disks(begun);
    labels[0] = on_disk(never, 0);
    std::swap(labels[0], labels[disk]);
    const Result<Assembly> found = assemble(kGroup, labels, false);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().label.generation, 8U);
    ASSERT_EQ(found.value().refused.size(), 1U);
    EXPECT_EQ(found.value().refused[0].candidate, disk);
  }
}

TEST(Assembly, ALeadersLastLabelThatOneDiskGotDoesNotCountAgainstItsSuccessors) {
  // Of the same view: a watermark; the next leader could not read disk 0, and said so.
  GroupLabel successor = example();
  ++successor.sequence;
  GroupLabel last = successor;
  last.generation = 8;
  successor.term = 1;
  successor.members[0].state = static_cast<std::uint32_t>(DiskState::kFailed);
  for (const std::uint32_t disk : {0U, 3U}) {
    std::vector<Result<GroupLabel>> labels = all_disks(successor);
    labels[0] = on_disk(last, 0);
    std::swap(labels[0], labels[disk]);
    const Result<Assembly> found = assemble(kGroup, labels, false);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().label.term, 1U);
    ASSERT_EQ(found.value().refused.size(), 1U);
    EXPECT_EQ(found.value().refused[0].candidate, disk);
  }
}

TEST(Assembly, ASpareThatBecameAMemberInTheNewestLabelNeedNotHaveGotIt) {
  GroupLabel old = example();
  GroupLabel newer = example();
  newer.sequence = 20;
  newer.members[1] = {
      .id = {7, 99}, .state = static_cast<std::uint32_t>(DiskState::kRebuilding), .since = 20};
  old.members[1].id = {7, 99};  // for on_disk: it is this disk's label, as a spare
  std::vector<Result<GroupLabel>> labels = all_disks(newer);
  labels[1] = on_disk(old, 1);
  ASSERT_TRUE(assemble(kGroup, labels, false).ok());
  EXPECT_TRUE(assemble(kGroup, labels, false).value().members[1].has_value());
  // Once there is another label, it has missed one.
  ++newer.sequence;
  labels = all_disks(newer);
  labels[1] = on_disk(old, 1);
  EXPECT_FALSE(assemble(kGroup, labels, false).value().members[1].has_value());
}

TEST(Label, LooseRegionsCoverWholeStepsOfAnyGroup) {
  for (const std::uint64_t stripes : {7ULL, 8192ULL * 3, 8192ULL * 3 + 1, 1ULL << 39U}) {
    GroupLabel label = example();
    label.stripes = stripes;
    label.step_stripes = 3;
    for (const std::uint64_t stripe : {std::uint64_t{0}, stripes / 2, stripes - 1}) {
      EXPECT_FALSE(is_loose(label, Stripe{stripe})) << stripes;
      set_loose(label, Stripe{stripe});
      EXPECT_TRUE(is_loose(label, Stripe{stripe})) << stripes;
      const std::uint64_t step = stripe / 3 * 3;
      EXPECT_TRUE(is_loose(label, Stripe{step})) << stripes;
      EXPECT_TRUE(is_loose(label, Stripe{std::min(step + 2, stripes - 1)})) << stripes;
    }
  }
}

// Half a mirror that went on elsewhere, by force, says that the other half failed.
TEST(Label, ADiskThatAnotherHistoryUsedIsNotOfBefore) {
  GroupLabel label = example();
  label.sequence = 20;
  mark_failed(label, 1, false, true);
  GroupLabel own = example();
  EXPECT_TRUE(is_of_before(label, own));
  own.sequence = 12;
  mark_failed(own, 0, false, true);
  EXPECT_FALSE(is_of_before(label, own));
  label.members[0].since = 15;  // it had failed, and was rebuilt
  EXPECT_TRUE(is_of_before(label, own));
}

TEST(Label, WhatIsWrittenIsReadAndNoBitOfItMayTurn) {
  const Buffer block(1);
  encode_label(example(), block.bytes());
  ASSERT_TRUE(decode_label(block.bytes()).ok());
  EXPECT_EQ(geometry_of(decode_label(block.bytes()).value()), geometry_of(example()));
  for (std::size_t bit = 0; bit < block.size() * 8; bit += 7) {
    block.bytes()[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(decode_label(block.bytes()).ok()) << "bit " << bit;
    block.bytes()[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Label, NumbersThatContradictEachOtherAreRefusedWhateverTheChecksum) {
  const auto refused = [](auto change) {
    GroupLabel label = example();
    change(label);
    const Buffer block(1);
    encode_label(label, block.bytes());
    return !decode_label(block.bytes()).ok();
  };
  EXPECT_TRUE(refused([](GroupLabel& l) { l.disks = 0; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.disks = 33; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.level = 4; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.chunk_blocks = 0; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.stripes = 0; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.own = 4; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.managers = 7; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.holders = 5; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.holders = 0; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.nodes = 1U << 8U; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.spare_count = 9; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.members[1].state = 9; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.members[1].watermark = 101; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.version = 4; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.expanded = 1; })) << "of what";
  EXPECT_TRUE(refused([](GroupLabel& l) { l.disks_before = 4; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.disks_before = 2; })) << "no group";
  EXPECT_TRUE(refused([](GroupLabel& l) { l.disks_before = 3, l.expanded = 100; }));
  EXPECT_FALSE(refused([](GroupLabel& l) { l.disks_before = 3, l.expanded = 99; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.range_stripes = 0; }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.step_stripes = 0; }));
  EXPECT_TRUE(refused([](GroupLabel& l) {
    l.range_stripes = 2;
    l.step_stripes = 3;
  }));
  EXPECT_TRUE(refused([](GroupLabel& l) { l.members[1].id = l.members[2].id; }));
  EXPECT_TRUE(refused([](GroupLabel& l) {
    l.spare_count = 1;
    l.spares[0] = l.members[2].id;
  }));
}

// Whether a label with a table is refused when it is written and changed afterwards.
bool table_refused(const std::function<void(GroupLabel&)>& change) {
  GroupLabel label = example();
  const std::vector<VirtualDiskEntry> entries = {{"a", {0, 40}}, {"b", {4760, 40}}};
  EXPECT_TRUE(set_virtual_disks(label, entries).ok());
  change(label);
  const Buffer block(1);
  encode_label(label, block.bytes());
  return !decode_label(block.bytes()).ok();
}

TEST(Label, TheTableOfVirtualDisksIsReadAsItWasGiven) {
  GroupLabel label = example();
  std::vector<VirtualDiskEntry> entries = {{std::string(31, 'x'), {4799, 1}}, {"filer-a", {0, 99}}};
  ASSERT_TRUE(set_virtual_disks(label, entries).ok());
  const Buffer block(1);
  encode_label(label, block.bytes());
  const Result<GroupLabel> read = decode_label(block.bytes());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(virtual_disks_of(read.value()), entries);
  entries.clear();
  for (std::uint64_t i = 0; i < 32; ++i) {
    entries.push_back({"v" + std::to_string(i), {3 * i, 3}});
  }
  EXPECT_TRUE(set_virtual_disks(label, entries).ok());
  EXPECT_EQ(virtual_disks_of(label), entries);
  entries.push_back({"v32", {96, 1}});
  EXPECT_FALSE(set_virtual_disks(label, entries).ok());
}

TEST(Label, ATableOfVirtualDisksThatContradictsItselfIsRefused) {
  EXPECT_FALSE(table_refused([](GroupLabel& l) { l.virtual_disks[1].first_block = 40; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].first_block = 39; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].blocks = 41; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].blocks = ~0ULL; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].blocks = 0; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].first_block = 4800; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name[0] = 'a'; })) << "twice";
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name[0] = ' '; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name[0] = '\x7f'; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name[0] = '\xe4'; }));
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name[0] = '\0'; })) << "empty";
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name[5] = 'x'; })) << "behind";
  EXPECT_TRUE(table_refused([](GroupLabel& l) { l.virtual_disks[1].name.fill('x'); })) << "32";
  EXPECT_TRUE(table_refused([](GroupLabel& l) {
    std::swap(l.virtual_disks[1], l.virtual_disks[2]);
  })) << "a gap";
}

// Bytes `bytes` of the label from `offset` on, as a number.
std::uint64_t number_at(const Buffer& block, std::size_t offset, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i > 0; --i) {
    value = value << 8U | static_cast<std::uint64_t>(block.bytes()[offset + i - 1]);
  }
  return value;
}

// As raid/FORMAT.md says: whoever changes one of these changes the version, too.
TEST(Label, ItsBytesStandWhereTheFormatSays) {
  GroupLabel label = example(5);
  label.disks_before = 4;
  label.expanded = 0x11;
  label.own = 3;
  label.own_id = {0x1234, 0x5678};
  label.term = 0x22;
  label.owed = 2;
  label.loose[1] = 0x33;
  label.missed[1] = 0x88;
  label.members[1] = {.id = {0x44, 0x55}, .state = 3, .flags = 1, .since = 0x66, .watermark = 0x77};
  const std::vector<VirtualDiskEntry> entries = {{"a", {0x10, 0x20}}, {"bc", {0x40, 0x50}}};
  ASSERT_TRUE(set_virtual_disks(label, entries).ok());
  const Buffer block(1);
  encode_label(label, block.bytes());
  struct Field {
    std::size_t offset;
    std::size_t bytes;
    std::uint64_t value;
  };
  constexpr std::array<Field, 35> kFields = {{{0, 8, 0x0031'4449'4152'5544},
                                              {8, 4, 3},
                                              {12, 4, 5},
                                              {16, 8, 1},
                                              {24, 8, 2},
                                              {32, 2, 5},
                                              {34, 2, 4},
                                              {36, 4, 16},
                                              {40, 8, 100},
                                              {48, 8, 10},
                                              {56, 8, 8},
                                              {64, 2, 1},
                                              {66, 2, 3},
                                              {68, 4, 3},
                                              {72, 4, 3},
                                              {76, 4, 0},
                                              {80, 8, 0x1234},
                                              {88, 8, 0x5678},
                                              {136, 8, 0x44},
                                              {144, 8, 0x55},
                                              {152, 4, 3},
                                              {156, 4, 1},
                                              {160, 8, 0x66},
                                              {168, 8, 0x77},
                                              {1504, 8, 'a'},
                                              {1536, 8, 0x10},
                                              {1544, 8, 0x20},
                                              {1552, 8, 'b' + 256 * 'c'},
                                              {1584, 8, 0x40},
                                              {1592, 8, 0x50},
                                              {3048, 8, 0x22},
                                              {3064, 8, 0x33},
                                              {3576, 8, 0x88},
                                              {4080, 8, 0x11},
                                              {4088, 4, 2}}};
  for (const Field& field : kFields) {
    EXPECT_EQ(number_at(block, field.offset, field.bytes), field.value) << "at " << field.offset;
  }
  const auto checksum = static_cast<std::uint32_t>(number_at(block, 4092, 4));
  std::ranges::fill(block.blocks(0, 1).subspan(4092), std::byte{0});
  EXPECT_EQ(checksum, crc32c(block.bytes()));
}

TEST(Label, AVirtualDiskThatIsAddedTakesTheFirstRoomThatIsLargeEnough) {
  constexpr std::uint64_t kWidth = 48;
  GroupLabel label = example();
  const std::vector<VirtualDiskEntry> entries = {{"a", {2 * kWidth, 5}},
                                                 {"b", {6 * kWidth, kWidth}}};
  ASSERT_TRUE(set_virtual_disks(label, entries).ok());
  ASSERT_TRUE(with_virtual_disk(label, "c", 3 * kWidth - 1).ok());
  ASSERT_TRUE(with_virtual_disk(label, "d", kWidth + 1).ok());
  ASSERT_TRUE(with_virtual_disk(label, "e", 93 * kWidth).ok());
  const std::vector<VirtualDiskEntry> now = virtual_disks_of(label);
  ASSERT_EQ(now.size(), 5U);
  EXPECT_EQ(now[2].part, (Part{3 * kWidth, 3 * kWidth}))
      << "behind the stripe that a has a part of";
  EXPECT_EQ(now[3].part, (Part{0, 2 * kWidth}));
  EXPECT_EQ(now[4].part, (Part{7 * kWidth, 93 * kWidth}));
  EXPECT_EQ(with_virtual_disk(label, "f", 1).error().code, Errc::kNoSpace);
  EXPECT_EQ(with_virtual_disk(label, "f", ~0ULL).error().code, Errc::kNoSpace);
  EXPECT_EQ(with_virtual_disk(label, "e", 1).error().code, Errc::kExists);
  GroupLabel empty = example();
  EXPECT_EQ(with_virtual_disk(empty, "f", 0).error().code, Errc::kInvalid);
  EXPECT_EQ(with_virtual_disk(empty, "f f", 1).error().code, Errc::kInvalid);
}

TEST(Label, NamesThatDoNotFitAreRefusedWhenTheyAreGiven) {
  GroupLabel label = example();
  for (const std::string& name : {std::string(), std::string(32, 'x'), std::string("a\0b", 3)}) {
    const std::vector<VirtualDiskEntry> entries = {{name, {0, 1}}};
    EXPECT_FALSE(set_virtual_disks(label, entries).ok()) << name;
  }
}

TEST(Assemble, AnyOrderOfDisksMakesTheSameGroup) {
  std::vector<Result<GroupLabel>> labels = all_disks(example());
  sim::Random random(3);
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = labels.size() - 1; i > 0; --i) {
      std::swap(labels[i], labels[random.below(i + 1)]);
    }
    const Result<Assembly> found = assemble(kGroup, labels, false);
    ASSERT_TRUE(found.ok());
    EXPECT_TRUE(found.value().refused.empty());
    EXPECT_EQ(found.value().absent, 0U);
    for (std::uint32_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(found.value().members[i].has_value());
      EXPECT_EQ(labels[*found.value().members[i]].value().own, i);
    }
  }
}

// Why the candidate is not used; empty: it is.
std::string_view refusal_of(const std::vector<Result<GroupLabel>>& labels, std::size_t candidate) {
  const Result<Assembly> found = assemble(kGroup, labels, false);
  if (!found.ok()) {
    return found.error().context;
  }
  for (const Assembly::Refusal& refusal : found.value().refused) {
    if (refusal.candidate == candidate) {
      return refusal.why.context;
    }
  }
  return "";
}

TEST(Assemble, ADiskOfAnotherGroupIsRefusedByName) {
  std::vector<Result<GroupLabel>> labels = all_disks(example());
  GroupLabel other = example();
  other.group = {3, 4};
  labels.push_back(on_disk(other, 0));
  EXPECT_EQ(refusal_of(labels, 4), "the disk belongs to another redundancy group");
  labels.push_back(Error{Errc::kNotFound, "no label of a redundancy group"});
  EXPECT_EQ(refusal_of(labels, 5), "no label of a redundancy group");
}

TEST(Assemble, ADuplicateIsRefusedByName) {
  std::vector<Result<GroupLabel>> labels = all_disks(example());
  labels.push_back(on_disk(example(), 2));
  EXPECT_EQ(refusal_of(labels, 4), "the disk is a duplicate of another");
}

TEST(Assemble, ADiskThatFailedOrWasAwayIsRefusedByName) {
  GroupLabel newer = example();
  newer.sequence = 11;
  newer.members[1].state = static_cast<std::uint32_t>(DiskState::kFailed);
  std::vector<Result<GroupLabel>> labels = all_disks(newer);
  labels[1] = on_disk(example(), 1);
  EXPECT_EQ(refusal_of(labels, 1), "the disk has failed, and the group went on without it");

  newer = example();
  newer.sequence = 12;  // two labels that it has missed
  labels = all_disks(newer);
  labels[1] = on_disk(example(), 1);
  EXPECT_EQ(refusal_of(labels, 1), "the disk is stale: the group went on without it");
  // One: a label that was being written when everything ended.
  newer.sequence = 11;
  labels = all_disks(newer);
  labels[1] = on_disk(example(), 1);
  EXPECT_EQ(refusal_of(labels, 1), "");
}

TEST(Assemble, ADiskThatWasReplacedIsRefusedByName) {
  GroupLabel newer = example();
  newer.sequence = 11;
  newer.members[1].id = {7, 99};
  std::vector<Result<GroupLabel>> labels = all_disks(newer);
  labels.push_back(on_disk(example(), 1));
  EXPECT_EQ(refusal_of(labels, 4), "the disk is stale: it was replaced in its group");
}

TEST(Assemble, TooFewDisksAreNoGroup) {
  std::vector<Result<GroupLabel>> labels = all_disks(example());
  labels.pop_back();
  ASSERT_TRUE(assemble(kGroup, labels, false).ok());
  EXPECT_EQ(assemble(kGroup, labels, false).value().absent, 8U);
  labels.pop_back();
  EXPECT_EQ(assemble(kGroup, labels, false).error().code, Errc::kIo);
  EXPECT_EQ(assemble(kGroup, {}, false).error().code, Errc::kNotFound);
}

TEST(Assemble, ADiskThatIsNotThereMayBeNewerSoHalfAMirrorNeedsForce) {
  std::vector<Result<GroupLabel>> labels = all_disks(example(2, Level::kMirror));
  labels.pop_back();
  EXPECT_EQ(assemble(kGroup, labels, false).error().code, Errc::kRefused);
  EXPECT_TRUE(assemble(kGroup, labels, true).ok());
  // Not when it is known to have failed: then this is the newer one.
  GroupLabel newer = example(2, Level::kMirror);
  newer.members[1].state = static_cast<std::uint32_t>(DiskState::kFailed);
  labels = all_disks(newer);
  labels.pop_back();
  EXPECT_TRUE(assemble(kGroup, labels, false).ok());
}

}  // namespace
}  // namespace duet::raid
