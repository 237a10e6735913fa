// The label keeps who may use a disk, whatever power loss tears.

#include "shelf/label.h"

#include <fstream>
#include <sstream>
#include <string>

#include "fixture.h"
#include "shelf/label_format.h"

namespace duet::shelf::testing {
namespace {

DiskState state_of(std::uint64_t n) {
  DiskState state;
  for (std::uint64_t i = 0; i <= n % 4; ++i) {
    state.keys.push_back(make_key(static_cast<std::uint8_t>(i), n + 1));
  }
  state.reservation = n % 2 == 0 ? Reservation::kWriteExclusive : Reservation::kExclusiveAccess;
  state.holder = state.keys.back();
  state.generation = n;
  state.epoch = 10 * n;
  return state;
}

class LabelTest : public ::testing::Test {
 protected:
  sim::SimScheduler scheduler_{7};
  sim::SimDisk disk_{"label", kLabelBlocks};
};

Result<DiskState> loaded(std::uint64_t seed, sim::SimDisk& disk, bool peek = false) {
  sim::SimScheduler scheduler(seed);
  sim::SimBlockDevice device(scheduler, disk);
  Label label(device);
  const Status status = run(scheduler, peek ? label.peek() : label.load());
  if (!status.ok()) {
    return status.error();
  }
  EXPECT_EQ(label.disk(), kIdentity);
  return label.state();
}

void create(sim::SimScheduler& scheduler, sim::SimDisk& disk) {
  sim::SimBlockDevice device(scheduler, disk);
  Label label(device);
  ASSERT_TRUE(run(scheduler, label.create(kIdentity)).ok());
}

TEST_F(LabelTest, GivesBackWhatWasSaved) {
  sim::SimBlockDevice device(scheduler_, disk_);
  Label label(device);
  ASSERT_TRUE(run(scheduler_, label.create(kIdentity)).ok());
  for (std::uint64_t n = 0; n < 5; ++n) {
    ASSERT_TRUE(run(scheduler_, label.save(state_of(n))).ok());
    const auto found = loaded(n, disk_, true);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value(), state_of(n));
  }
}

TEST_F(LabelTest, SaysThatThereIsNoneOnlyWhereAllIsZero) {
  EXPECT_EQ(loaded(1, disk_).error().code, Errc::kNotFound);
  disk_.flip_bit(0, 17, 3);
  EXPECT_EQ(loaded(1, disk_).error().code, Errc::kCorrupt);
  sim::SimDisk small("small", kLabelBlocks - 1);
  EXPECT_EQ(loaded(1, small).error().code, Errc::kInvalid);
}

// At every event of a history of saves the power is lost, in every way that the disk's cache
// allows, twice: the second time while the first loss is being mended.
TEST_F(LabelTest, IsNeverOlderThanTheLastSaveWheneverPowerIsLost) {
  create(scheduler_, disk_);
  std::uint64_t done = 0;     // saves that succeeded
  std::uint64_t started = 0;  // saves that began
  int images = 0;
  const auto check = [&](sim::SimDisk image, std::uint64_t seed, bool again,
                         const auto& self) -> void {
    sim::Random random(seed);
    image.lose_power(random,
                     seed % 5 == 0 ? sim::SimDisk::Keep::kNothing : sim::SimDisk::Keep::kAny);
    ++images;
    if (again) {
      image.observe([&](const sim::SimDisk::Event&) { self(image, seed * 31 + 1, false, self); });
    }
    const auto found = loaded(seed, image);
    image.observe({});
    ASSERT_TRUE(found.ok()) << found.error().context;
    const bool new_one = started > 0 && found.value() == state_of(started);
    const bool last = done > 0 ? found.value() == state_of(done) : found.value() == DiskState();
    ASSERT_TRUE(new_one || last) << "generation " << found.value().generation << " after " << done;
  };
  disk_.observe([&](const sim::SimDisk::Event&) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      check(disk_, seed, seed % 8 == 0, check);
    }
  });
  sim::SimBlockDevice device(scheduler_, disk_);
  Label label(device);
  ASSERT_TRUE(run(scheduler_, label.load()).ok());
  for (std::uint64_t n = 1; n <= 6; ++n) {
    started = n;
    ASSERT_TRUE(run(scheduler_, label.save(state_of(n))).ok());
    done = n;
  }
  EXPECT_GT(images, 1000);
}

TEST_F(LabelTest, SurvivesTheDecayOfEitherCopyAndMendsIt) {
  for (const std::uint64_t copy : {kLabelCopyA, kLabelCopyB}) {
    sim::SimDisk disk("label", kLabelBlocks);
    create(scheduler_, disk);
    {
      sim::SimBlockDevice device(scheduler_, disk);
      Label label(device);
      ASSERT_TRUE(run(scheduler_, label.load()).ok());
      ASSERT_TRUE(run(scheduler_, label.save(state_of(3))).ok());
    }
    const std::uint64_t other = copy == kLabelCopyA ? kLabelCopyB : kLabelCopyA;
    for (int round = 0; round < 2; ++round) {  // the other one, once the first was mended
      disk.flip_bit(round == 0 ? copy : other, 130, 2);
      const auto found = loaded(5, disk);
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(found.value(), state_of(3));
    }
  }
}

TEST_F(LabelTest, RefusesBothCopiesDamaged) {
  create(scheduler_, disk_);
  disk_.flip_bit(kLabelCopyA, 130, 2);
  disk_.flip_bit(kLabelCopyB, 4000, 2);
  EXPECT_EQ(loaded(1, disk_).error().code, Errc::kCorrupt);
}

void put_record(sim::SimDisk& disk, LabelRecord record) {
  record.checksum = 0;
  record.checksum = crc32c(bytes_of(record));
  disk.put(kLabelCopyA, bytes_of(record));
  disk.put(kLabelCopyB, bytes_of(record));
}

TEST_F(LabelTest, RefusesWhatMakesNoSenseThoughItsChecksumIsRight) {
  LabelRecord good;
  good.blocks = kBlocks;
  good.disk = kIdentity.id;
  good.key_count = 2;
  good.keys[0] = 5;
  good.keys[1] = 6;
  good.holder = 6;
  good.reservation = 1;
  put_record(disk_, good);
  ASSERT_TRUE(loaded(1, disk_, true).ok());
  const auto refused = [&](auto change) {
    LabelRecord bad = good;
    change(bad);
    put_record(disk_, bad);
    const auto found = loaded(1, disk_, true);
    return found.ok() ? Errc{} : found.error().code;
  };
  EXPECT_EQ(refused([](LabelRecord& r) { r.key_count = 65; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.key_count = 1; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.keys[1] = 5; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.keys[0] = 0; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.holder = 7; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.holder = 0; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.reservation = 0; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.reservation = 3; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.blocks = 0; }), Errc::kCorrupt);
  EXPECT_EQ(refused([](LabelRecord& r) { r.version = 2; }), Errc::kNotSupported);
  EXPECT_EQ(refused([](LabelRecord& r) { r.incompatible = 1; }), Errc::kNotSupported);
  EXPECT_EQ(refused([](LabelRecord& r) { r.compatible = 1; }), Errc{});
}

// The bytes of FORMAT.md's example, made by another program.
TEST_F(LabelTest, HasTheBytesOfTheFormatDescription) {
  std::ifstream file(std::string(SHELF_TESTDATA) + "/label_v1.hex");
  ASSERT_TRUE(file.good());
  std::array<std::byte, kBlockBytes> golden{};
  std::string word;
  std::size_t at = 0;
  while (file >> word) {
    ASSERT_LT(at, golden.size());
    golden[at++] = static_cast<std::byte>(std::stoul(word, nullptr, 16));
  }
  ASSERT_EQ(at, golden.size());
  disk_.put(kLabelCopyA, golden);
  disk_.put(kLabelCopyB, golden);
  sim::SimBlockDevice device(scheduler_, disk_);
  Label label(device);
  ASSERT_TRUE(run(scheduler_, label.peek()).ok());
  const DiskState expected{.keys = {make_key(0, 7), make_key(1, 9)},
                           .reservation = Reservation::kWriteExclusive,
                           .holder = make_key(1, 9),
                           .generation = 5,
                           .epoch = 12};
  EXPECT_EQ(label.state(), expected);
  EXPECT_EQ(label.disk(), kIdentity);
  // Written again it differs in nothing but the sequence, 42 and 43, and the checksum.
  ASSERT_TRUE(run(scheduler_, label.save(expected)).ok());
  const auto record = load<LabelRecord>(disk_.block(kLabelCopyA), 0);
  LabelRecord same = load<LabelRecord>(golden, 0);
  EXPECT_EQ(same.sequence, 42U);
  same.sequence = 43;
  same.checksum = record.checksum;
  EXPECT_TRUE(same_bytes(bytes_of(record), bytes_of(same)));
}

}  // namespace
}  // namespace duet::shelf::testing
