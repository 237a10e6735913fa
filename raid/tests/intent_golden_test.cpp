// Intents as bytes, written by hand from raid/FORMAT.md: what other programs, and later versions,
// find in the memory.  Nothing here comes from the code that writes them, the checksums neither.

#include <gtest/gtest.h>

#include "intent_log.h"
#include "raid/lone_peers.h"
#include "steps.h"

namespace duet::raid::testing {
namespace {

// Bytes of a memory.
struct Image {
  explicit Image(std::size_t size) : bytes(size) {}
  void put(std::size_t at, std::string_view hex) {
    for (std::size_t i = 0; i + 1 < hex.size(); i += 3) {
      bytes[at++] = static_cast<std::byte>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16));
    }
  }
  // One block of the same bytes.
  void put_page(std::size_t at, std::uint8_t value) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 4096, std::byte{value});
  }
  std::vector<std::byte> bytes;
};
void load_image(const Image& image, sim::SimPersistentMemory& memory) {
  memory.store(0, image.bytes);
  ASSERT_TRUE(memory.persist().ok());
}

// ---- a memory of 4 slots and 16 pages, of node 0, in which an intent of each kind stands ----

constexpr MemoryLayout kLayout = {.slots = 4, .pages = 16};
constexpr std::size_t kSlot0 = 4096;
constexpr std::size_t kSlot1 = kSlot0 + 256;
constexpr std::size_t kSlot2 = kSlot1 + 256;
constexpr std::size_t kPages = 8192;              // 4 x 256 bytes, rounded to 4096
constexpr std::size_t kEnd = kPages + 16 * 4096;  // and no other node's

// Single parity, on 5 disks and before on 4, chunks of 2 blocks.
GroupLabel label_of_image() {
  GroupLabel label;
  label.level = 5;
  label.disks = 5;
  label.disks_before = 4;
  label.chunk_blocks = 2;
  label.stripes = 0x300;
  return label;
}

Image image() {
  Image image(kEnd);
  // Memory header: sequence 0, in no view yet.
  image.put(0, "44 55 52 49 4E 54 31 00");   // magic
  image.put(8, "02 00 00 00 00 00 00 00");   // version, node
  image.put(16, "11 00 00 00 00 00 00 00");  // group
  image.put(24, "22 00 00 00 00 00 00 00");
  image.put(32, "04 00 00 00 10 00 00 00");  // slots, pages
  image.put(124, "0B 30 94 08");             // checksum
  // The other copy: sequence 1, generation 8, before it 1.
  image.put(2048, "44 55 52 49 4E 54 31 00");
  image.put(2048 + 8, "02 00 00 00 00 00 00 00");
  image.put(2048 + 16, "11 00 00 00 00 00 00 00");
  image.put(2048 + 24, "22 00 00 00 00 00 00 00");
  image.put(2048 + 32, "04 00 00 00 10 00 00 00");
  image.put(2048 + 40, "01 00 00 00 00 00 00 00");  // sequence
  image.put(2048 + 48, "08 00 00 00 00 00 00 00");  // generation
  image.put(2048 + 56, "01 00 00 00 00 00 00 00");  // the one before
  image.put(2048 + 124, "AE 3B 81 77");
  // Content: of stripe 3 of 4 disks, both rows of column 0, row 1 of column 2, and P.
  image.put(kSlot0, "44 49 4E 54 01 00 04 00");       // magic, kind, disks
  image.put(kSlot0 + 8, "01 00 00 00 00 00 00 00");   // number
  image.put(kSlot0 + 16, "03 00 00 00 00 00 00 00");  // stripe
  image.put(kSlot0 + 24, "00 00 02 00 08 00 00 00");  // first row, rows, check columns
  image.put(kSlot0 + 32, "00 00 00 00 05 00 00 00");  // first page, pages
  image.put(kSlot0 + 40, "00 00 02 00 00 00 00 00");  // columns 0 and 1
  image.put(kSlot0 + 48, "01 00 01 00 00 00 00 00");  // columns 2 and 3
  image.put(kSlot0 + 240, "C9 08 6D E4");             // checksum of the pages
  image.put(kSlot0 + 252, "4B 94 3E E8");             // checksum
  // Partial: of stripe 0x102 of 5 disks, row 1 of column 1; P of the other columns.
  image.put(kSlot1, "44 49 4E 54 02 00 05 00");
  image.put(kSlot1 + 8, "02 00 00 00 00 00 00 00");
  image.put(kSlot1 + 16, "02 01 00 00 00 00 00 00");
  image.put(kSlot1 + 24, "01 00 01 00 10 00 00 00");
  image.put(kSlot1 + 32, "05 00 00 00 01 00 00 00");
  image.put(kSlot1 + 40, "00 00 00 00 01 00 01 00");
  image.put(kSlot1 + 240, "22 F3 31 97");
  image.put(kSlot1 + 252, "B0 E2 00 C8");
  // Move: stripe 0x203 of 5 disks as a whole.
  image.put(kSlot2, "44 49 4E 54 03 00 05 00");
  image.put(kSlot2 + 8, "03 00 00 00 00 00 00 00");
  image.put(kSlot2 + 16, "03 02 00 00 00 00 00 00");
  image.put(kSlot2 + 24, "00 00 02 00 10 00 00 00");
  image.put(kSlot2 + 32, "06 00 00 00 0A 00 00 00");
  image.put(kSlot2 + 40, "00 00 02 00 00 00 02 00");
  image.put(kSlot2 + 48, "00 00 02 00 00 00 02 00");
  image.put(kSlot2 + 240, "2B BA E6 7E");
  image.put(kSlot2 + 252, "90 34 73 64");
  for (std::uint8_t page = 0; page < 16; ++page) {
    image.put_page(kPages + page * std::size_t{4096}, static_cast<std::uint8_t>(0x30 + page));
  }
  return image;
}

std::vector<Intent> intents() {
  Intent content = {.stripe = Stripe{3}, .disks = 4, .row_count = 2, .check = 8};
  content.spans[0] = {0, 2};
  content.spans[2] = {1, 1};
  Intent partial = {.kind = IntentKind::kPartial,
                    .stripe = Stripe{0x102},
                    .disks = 5,
                    .first_row = 1,
                    .row_count = 1,
                    .check = 16};
  partial.spans[1] = {1, 1};
  Intent move = {
      .kind = IntentKind::kMove, .stripe = Stripe{0x203}, .disks = 5, .row_count = 2, .check = 16};
  for (std::size_t column = 0; column < 4; ++column) {
    move.spans[column] = {0, 2};
  }
  return {content, partial, move};
}
constexpr std::array<std::size_t, 3> kPageCounts = {5, 1, 10};

TEST(IntentGolden, AreReadFromTheirBytes) {
  sim::SimPersistentMemory memory(kEnd);
  load_image(image(), memory);
  const Result<IntentMemory> opened = IntentMemory::open(memory, {0x11, 0x22}, NodeId{0});
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.value().layout(), kLayout);
  EXPECT_EQ(opened.value().generation(), Generation{8});
  EXPECT_EQ(opened.value().before(), Generation{1});
  const std::vector<FoundIntent> found = opened.value().scan(NodeId{0}, label_of_image());
  const std::vector<Intent> expected = intents();
  ASSERT_EQ(found.size(), expected.size());
  std::uint8_t page = 0x30;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Intent& intent = found[i].intent;
    EXPECT_EQ(intent.kind, expected[i].kind);
    EXPECT_EQ(intent.stripe, expected[i].stripe);
    EXPECT_EQ(intent.disks, expected[i].disks);
    EXPECT_EQ(intent.first_row, expected[i].first_row);
    EXPECT_EQ(intent.row_count, expected[i].row_count);
    EXPECT_EQ(intent.check, expected[i].check);
    EXPECT_EQ(intent.spans, expected[i].spans);
    ASSERT_EQ(found[i].pages.size(), kPageCounts[i] * 4096);
    for (std::size_t at = 0; at < found[i].pages.size(); at += 4096, ++page) {
      EXPECT_EQ(found[i].pages[at], std::byte{page});
    }
  }
}

TEST(IntentGolden, AreWrittenAsTheirBytes) {
  sim::SimPersistentMemory memory(kEnd);
  ASSERT_TRUE(IntentMemory::format(memory, {0x11, 0x22}, NodeId{0}, kLayout).ok());
  IntentMemory opened = IntentMemory::open(memory, {0x11, 0x22}, NodeId{0}).value();
  ASSERT_TRUE(opened.set_generation(Generation{8}, Generation{1}).ok());
  sim::SimScheduler scheduler(1);
  LonePeers peers;
  IntentLog log(scheduler, opened, peers, NodeId{0});
  const Image wanted = image();
  const std::vector<Intent> all = intents();
  std::size_t at = kPages;
  std::vector<IntentLog::Handle> lives;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t size = kPageCounts[i] * 4096;
    const std::array<ConstBytes, 1> pages = {ConstBytes(wanted.bytes).subspan(at, size)};
    const Result<IntentLog::Handle> begun = log.begin(all[i], pages);
    ASSERT_TRUE(begun.ok());
    lives.push_back(begun.value());
    at += size;
  }
  for (std::size_t i = 0; i < kEnd; ++i) {
    ASSERT_EQ(memory.bytes()[i], wanted.bytes[i]) << "at " << i;
  }
}

// ---- what the pages of an intent are ----

// Double parity on 5 disks, chunks of 4 blocks: two intents that a node left when it was killed.
TEST(IntentGolden, PagesAreCarriedOutWhereTheFormatSaysTheyBelong) {
  constexpr std::size_t kSlots = 4096;
  constexpr std::size_t kFirstPage = 4096 + 4096;  // 16 slots of 256 bytes
  constexpr Geometry kDouble = {
      .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 4, .stripes = 6};
  World world(71, {.geometry = kDouble, .nodes = 1});
  boot_all(world);
  ASSERT_TRUE(write(world, 0, 0, 1, 3).ok());
  const GroupLabel label = world.group(0)->status().label;
  const auto cell = [&](std::uint64_t stripe, std::uint32_t column, std::uint32_t row) {
    return world.cell(label, {Stripe{stripe}, 5}, column, row);
  };
  world.kill(0);
  sim::SimPersistentMemory& memory = *world.memories[0];
  Image image(memory.bytes().size());
  copy_bytes(memory.bytes(), image.bytes);
  // Content: of stripe 2, rows 1 and 2 of column 0, row 2 of column 1, and both rows of P and Q.
  image.put(kSlots, "44 49 4E 54 01 00 05 00");
  image.put(kSlots + 8, "01 00 00 00 00 00 00 00");
  image.put(kSlots + 16, "02 00 00 00 00 00 00 00");
  image.put(kSlots + 24, "01 00 02 00 18 00 00 00");
  image.put(kSlots + 32, "00 00 00 00 07 00 00 00");
  image.put(kSlots + 40, "01 00 02 00 02 00 01 00");
  std::fill_n(image.bytes.begin() + kSlots + 48, 192, std::byte{0});
  image.put(kSlots + 240, "64 80 06 55 00 00 00 00 00 00 00 00 AB F8 E3 F8");
  // Partial: of stripe 3, row 0 of column 2; P of the other columns.
  constexpr std::size_t kSecond = kSlots + 256;
  image.put(kSecond, "44 49 4E 54 02 00 05 00");
  image.put(kSecond + 8, "02 00 00 00 00 00 00 00");
  image.put(kSecond + 16, "03 00 00 00 00 00 00 00");
  image.put(kSecond + 24, "00 00 01 00 08 00 00 00");
  image.put(kSecond + 32, "07 00 00 00 01 00 00 00");
  image.put(kSecond + 40, "00 00 00 00 00 00 00 00");
  image.put(kSecond + 48, "00 00 01 00 00 00 00 00");
  std::fill_n(image.bytes.begin() + kSecond + 56, 184, std::byte{0});
  image.put(kSecond + 240, "E2 F7 C0 43 00 00 00 00 00 00 00 00 B5 F4 9D FA");
  for (std::uint8_t page = 0; page < 8; ++page) {
    image.put_page(kFirstPage + page * std::size_t{4096}, static_cast<std::uint8_t>(0x50 + page));
  }
  load_image(image, memory);
  const Buffer written = filled(1, 9);
  world.disks[world.member(label, kDouble.disk_of(Stripe{3}, 2))]->put(
      kDouble.disk_block(Stripe{3}, 0), written.bytes());

  boot_all(world);
  const auto all_of = [](std::uint8_t value) {
    sim::SimDisk::Block block{};
    block.fill(std::byte{value});
    return block;
  };
  // Data columns one after the other, then P, then Q; row by row in each.
  EXPECT_EQ(cell(2, 0, 1), all_of(0x50));
  EXPECT_EQ(cell(2, 0, 2), all_of(0x51));
  EXPECT_EQ(cell(2, 1, 2), all_of(0x52));
  EXPECT_EQ(cell(2, 3, 1), all_of(0x53));
  EXPECT_EQ(cell(2, 3, 2), all_of(0x54));
  EXPECT_EQ(cell(2, 4, 1), all_of(0x55));
  EXPECT_EQ(cell(2, 4, 2), all_of(0x56));
  EXPECT_EQ(cell(2, 1, 1), all_of(0)) << "not written";
  EXPECT_EQ(cell(2, 0, 0), all_of(0)) << "not written";
  // P is what the page says, and what stands in the cell that was written.
  sim::SimDisk::Block sum = all_of(0x57);
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] ^= written.bytes()[i];
  }
  EXPECT_EQ(cell(3, 3, 0), sum);
  EXPECT_TRUE(same_bytes(cell(3, 2, 0), written.bytes())) << "as it was found";
}

}  // namespace
}  // namespace duet::raid::testing
