// Intents in memory: torn ones do not count, damaged ones are not believed, and the log keeps its
// order.

#include <gtest/gtest.h>

#include "intent_log.h"
#include "message.h"
#include "world.h"

namespace duet::raid::testing {
namespace {

constexpr Geometry kGeometry = {
    .level = Level::kSingleParity, .disks = 4, .chunk_blocks = 4, .stripes = 8};
GroupLabel label_of(const Geometry& geometry, std::uint32_t before = 0) {
  GroupLabel label;
  label.level = static_cast<std::uint32_t>(geometry.level);
  label.disks = static_cast<std::uint16_t>(geometry.disks);
  label.disks_before = static_cast<std::uint16_t>(before);
  label.chunk_blocks = geometry.chunk_blocks;
  label.stripes = geometry.stripes;
  return label;
}
constexpr MemoryLayout kLayout = {.slots = 4, .pages = 16};

Intent intent_of(std::uint64_t stripe, std::uint32_t row, std::uint32_t rows) {
  Intent intent = {.stripe = Stripe{stripe},
                   .disks = kGeometry.disks,
                   .first_row = row,
                   .row_count = rows,
                   .check = 8};
  intent.spans[1] = {static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(rows)};
  return intent;
}

Result<IntentLog::Handle> begin(IntentLog& log, const Intent& intent, const Buffer& pages) {
  const std::array<ConstBytes, 1> parts = {pages.bytes()};
  const Result<IntentLog::Handle> begun = log.begin(intent, parts);
  if (begun.ok()) {
    log.send(begun.value());
  }
  return begun;
}

struct Memory {
  Memory() : memory(kLayout.memory_bytes(2)) {
    DUET_CHECK(IntentMemory::format(memory, kGroup, NodeId{0}, kLayout).ok());
  }
  IntentMemory open() { return IntentMemory::open(memory, kGroup, NodeId{0}).value(); }
  sim::SimPersistentMemory memory;
};

struct NoPeers final : Peers {
  void attach(PeersUser* /*user*/) override {}
  [[nodiscard]] std::uint64_t session(NodeId /*node*/) const override { return 0; }
  void send(NodeId /*to*/, ConstBytes packet) override { sent.emplace_back(packet.size()); }
  std::uint64_t store(NodeId /*to*/, std::uint64_t /*offset*/,
                      std::span<const ConstBytes> /*parts*/) override {
    return 0;
  }
  [[nodiscard]] std::uint64_t stored(NodeId /*node*/) const override { return 0; }
  std::vector<std::size_t> sent;
};

TEST(IntentMemory, APowerLossLeavesAnIntentWholeOrNotAtAll) {
  int whole = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Memory m;
    IntentMemory memory = m.open();
    sim::SimScheduler scheduler(1);
    NoPeers peers;
    IntentLog log(scheduler, memory, peers, NodeId{0});
    const Buffer pages = filled(4, 5);
    std::vector<sim::SimPersistentMemory> copies;
    m.memory.observe([&](sim::SimPersistentMemory::Event) { copies.push_back(m.memory); });
    ASSERT_TRUE(begin(log, intent_of(3, 1, 2), pages).ok());
    for (sim::SimPersistentMemory& copy : copies) {
      sim::Random random(seed);
      copy.lose_power(random);
      const auto found =
          IntentMemory::open(copy, kGroup, NodeId{0}).value().scan(NodeId{0}, label_of(kGeometry));
      ASSERT_LE(found.size(), 1U);
      if (!found.empty()) {
        ++whole;
        ASSERT_TRUE(same_bytes(found[0].pages, pages.bytes()));
        ASSERT_EQ(found[0].intent.stripe, Stripe{3});
      }
    }
    ASSERT_EQ(m.open().scan(NodeId{0}, label_of(kGeometry)).size(), 1U);
  }
  EXPECT_GE(whole, 200);  // what was persisted
}

TEST(IntentMemory, NoTurnedBitIsBelieved) {
  Memory m;
  IntentMemory memory = m.open();
  sim::SimScheduler scheduler(1);
  NoPeers peers;
  IntentLog log(scheduler, memory, peers, NodeId{0});
  const Buffer pages = filled(2, 5);
  ASSERT_TRUE(begin(log, intent_of(3, 1, 1), pages).ok());
  const std::uint64_t slot = kLayout.slot(NodeId{0}, 0);
  for (std::uint64_t at = slot; at < slot + sizeof(IntentHeader); ++at) {
    sim::SimPersistentMemory copy(m.memory);
    copy.flip_bit(at, at % 8);
    ASSERT_TRUE(IntentMemory::open(copy, kGroup, NodeId{0})
                    .value()
                    .scan(NodeId{0}, label_of(kGeometry))
                    .empty());
  }
  for (std::uint64_t at = 0; at < 2 * kBlockBytes; at += 97) {
    sim::SimPersistentMemory copy(m.memory);
    copy.flip_bit(kLayout.page(NodeId{0}, 0) + at, at % 8);
    ASSERT_TRUE(IntentMemory::open(copy, kGroup, NodeId{0})
                    .value()
                    .scan(NodeId{0}, label_of(kGeometry))
                    .empty());
  }
}

TEST(IntentMemory, NumbersOutsideTheGroupAreNotBelievedWhateverTheChecksum) {
  const auto believed = [](auto change) {
    Memory m;
    Intent intent = intent_of(3, 1, 1);
    change(intent);
    const IntentHeader header = encode_intent(intent, 1, 0, 0);
    m.memory.store(kLayout.slot(NodeId{0}, 0), bytes_of(header));
    return !m.open().scan(NodeId{0}, label_of(kGeometry)).empty();
  };
  EXPECT_TRUE(believed([](Intent& i) { i.check = 0, i.spans = {}; }));  // nothing: harmless
  EXPECT_FALSE(believed([](Intent& i) { i.stripe = Stripe{8}, i.check = 0, i.spans = {}; }));
  EXPECT_FALSE(believed([](Intent& i) { i.check = 1, i.spans = {}, i.row_count = 0; }));
  EXPECT_FALSE(believed([](Intent& i) { i.check = 0, i.first_row = 4, i.spans = {}; }));
  EXPECT_FALSE(believed([](Intent& i) { i.check = 0, i.spans[3] = {1, 1}; }));
  EXPECT_FALSE(believed([](Intent& i) { i.check = 0, i.spans[1] = {0, 65535}; }));
}

TEST(IntentMemory, AnIntentIsOfAGeometryThatTheGroupHas) {
  Geometry more = kGeometry;
  more.disks = 5;
  const auto believed = [](const Intent& intent, const GroupLabel& label) {
    Memory m;
    m.memory.store(kLayout.slot(NodeId{0}, 0), bytes_of(encode_intent(intent, 1, 0, 0)));
    return !m.open().scan(NodeId{0}, label).empty();
  };
  Intent intent = intent_of(3, 1, 1);
  intent.check = 0;
  intent.spans = {};
  EXPECT_TRUE(believed(intent, label_of(kGeometry)));
  EXPECT_TRUE(believed(intent, label_of(more, 4)));
  EXPECT_FALSE(believed(intent, label_of(more)));
  intent.disks = 5;
  EXPECT_TRUE(believed(intent, label_of(more, 4)));
  EXPECT_FALSE(believed(intent, label_of(kGeometry)));
}

TEST(IntentMemory, AnotherGroupsOrNodesMemoryIsRefused) {
  Memory m;
  EXPECT_EQ(IntentMemory::open(m.memory, {9, 9}, NodeId{0}).error().code, Errc::kForeign);
  EXPECT_EQ(IntentMemory::open(m.memory, kGroup, NodeId{1}).error().code, Errc::kForeign);
  sim::SimPersistentMemory blank(kLayout.memory_bytes(2));
  EXPECT_EQ(IntentMemory::open(blank, kGroup, NodeId{0}).error().code, Errc::kNotFound);
}

TEST(IntentMemory, ATornGenerationLeavesTheOneBefore) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Memory m;
    IntentMemory memory = m.open();
    ASSERT_TRUE(memory.set_generation(Generation{8}, Generation{1}).ok());
    std::vector<sim::SimPersistentMemory> copies;
    m.memory.observe([&](sim::SimPersistentMemory::Event) { copies.push_back(m.memory); });
    ASSERT_TRUE(memory.set_generation(Generation{16}, Generation{8}).ok());
    for (sim::SimPersistentMemory& copy : copies) {
      sim::Random random(seed);
      copy.lose_power(random);
      EXPECT_TRUE(IntentMemory::open(copy, kGroup, NodeId{0}).value().counts_in(Generation{8}));
    }
  }
}

// One target, whose session is what the test says.
struct OneTarget final : Peers {
  void attach(PeersUser* /*user*/) override {}
  [[nodiscard]] std::uint64_t session(NodeId /*node*/) const override { return now; }
  void send(NodeId /*to*/, ConstBytes /*packet*/) override {}
  std::uint64_t store(NodeId /*to*/, std::uint64_t offset,
                      std::span<const ConstBytes> parts) override {
    if (now == 0) {
      return 0;
    }
    for (std::uint64_t at = 0; at < parts[0].size(); at += sizeof(IntentHeader)) {
      arrived.insert(offset + at);
    }
    return ++stores;
  }
  [[nodiscard]] std::uint64_t stored(NodeId /*node*/) const override { return stores; }
  void begin_session(std::uint64_t number) {
    now = number;
    stores = 0;
    arrived.clear();
  }
  std::uint64_t now = 0;
  std::uint64_t stores = 0;         // all of them durable
  std::set<std::uint64_t> arrived;  // in this session
};

TEST(IntentLog, StoresOfAnEarlierSessionAreNotCountedByTheNumbersOfTheNext) {
  Memory m;
  IntentMemory memory = m.open();
  sim::SimScheduler scheduler(1);
  OneTarget peers;
  IntentLog log(scheduler, memory, peers, NodeId{0});
  const Buffer pages = filled(2, 5);
  peers.begin_session(1);
  log.set_targets(only(NodeId{1}));
  ASSERT_TRUE(begin(log, intent_of(1, 0, 1), pages).ok());
  peers.begin_session(2);  // and nobody has said so yet
  ASSERT_TRUE(begin(log, intent_of(2, 0, 1), pages).ok());
  ASSERT_TRUE(begin(log, intent_of(3, 0, 1), pages).ok());
  EXPECT_TRUE(log.reached(NodeId{1}));
  for (std::uint32_t slot = 0; slot < 3; ++slot) {
    EXPECT_TRUE(peers.arrived.contains(kLayout.slot(NodeId{0}, slot))) << slot;
  }
}

TEST(IntentLog, ATargetOutOfReachHasNotBeenReached) {
  Memory m;
  IntentMemory memory = m.open();
  sim::SimScheduler scheduler(1);
  OneTarget peers;
  IntentLog log(scheduler, memory, peers, NodeId{0});
  const Buffer pages = filled(2, 5);
  ASSERT_TRUE(begin(log, intent_of(1, 0, 1), pages).ok());
  log.set_targets(only(NodeId{1}));
  EXPECT_FALSE(log.reached(NodeId{1}));
  peers.begin_session(1);
  EXPECT_FALSE(log.reached(NodeId{1}));
  log.send_all(NodeId{1});
  EXPECT_TRUE(log.reached(NodeId{1}));
}

TEST(Outbox, WhatIsSaidInOneTurnGoesAsOnePacket) {
  sim::SimScheduler scheduler(1);
  NoPeers peers;
  Outbox outbox(scheduler, peers);
  const LockBody body = encode_lock({.verb = LockVerb::kRequest, .mode = LockMode::kShared});
  for (int i = 0; i < 9; ++i) {
    outbox.add(NodeId{static_cast<std::uint8_t>(1 + i % 3)}, MessageKind::kLock, Generation{8},
               bytes_of(body));
  }
  ASSERT_TRUE(scheduler.run());
  EXPECT_EQ(outbox.messages(), 9U);
  EXPECT_EQ(outbox.packets(), 3U);  // one for each node (figure 17 of the literature)
  EXPECT_EQ(peers.sent.size(), 3U);
}

TEST(Packet, DamagedOrShortOnesAreDroppedWhole) {
  sim::SimScheduler scheduler(1);
  struct Keeper final : Peers {
    void attach(PeersUser* /*user*/) override {}
    [[nodiscard]] std::uint64_t session(NodeId /*node*/) const override { return 1; }
    void send(NodeId /*to*/, ConstBytes packet) override { last = {packet.begin(), packet.end()}; }
    std::uint64_t store(NodeId, std::uint64_t, std::span<const ConstBytes>) override { return 0; }
    [[nodiscard]] std::uint64_t stored(NodeId /*node*/) const override { return 0; }
    std::vector<std::byte> last;
  } peers;
  Outbox outbox(scheduler, peers);
  const LockMessage message = {.verb = LockVerb::kGrant,
                               .mode = LockMode::kExclusive,
                               .keep = LockMode::kShared,
                               .release_when_done = true,
                               .range = LockRange{77}};
  const LockBody body = encode_lock(message);
  outbox.add(NodeId{1}, MessageKind::kLock, Generation{8}, bytes_of(body));
  outbox.add(NodeId{1}, MessageKind::kPrepared, Generation{9}, {});
  outbox.flush();
  int seen = 0;
  ASSERT_TRUE(for_each_message(peers.last, [&](const MessageHead& head, ConstBytes bytes) {
    if (++seen == 1) {
      EXPECT_EQ(head.generation, 8U);
      EXPECT_EQ(decode_lock(bytes).value(), message);
    }
  }));
  EXPECT_EQ(seen, 2);
  for (std::size_t at = 0; at < peers.last.size(); ++at) {
    std::vector<std::byte> bad = peers.last;
    bad[at] ^= std::byte{0x10};
    EXPECT_FALSE(for_each_message(bad, [](const MessageHead&, ConstBytes) { FAIL(); }));
    bad = {peers.last.begin(), peers.last.begin() + static_cast<std::ptrdiff_t>(at)};
    EXPECT_FALSE(for_each_message(bad, [](const MessageHead&, ConstBytes) { FAIL(); }));
  }
}

}  // namespace
}  // namespace duet::raid::testing
