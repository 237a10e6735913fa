// StreamLink over simulated streams: order, epochs, sessions, strangers, turned bits.

#include "interconnect/stream_link.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "stream_world.h"

namespace duet::interconnect::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class StreamLinkTest : public ::testing::Test {
 protected:
  std::uint64_t write(RemoteWindow& window, std::uint64_t offset, std::string_view text) {
    const ConstBytes part = bytes(text);
    return window.write(offset, std::span(&part, 1));
  }
  [[nodiscard]] std::string at_b(std::uint64_t offset, std::size_t size) const {
    const auto* const text = reinterpret_cast<const char*>(world.memory_b.bytes().data() + offset);
    return {text, size};
  }
  StreamWorld world{5};
};

TEST_F(StreamLinkTest, MessagesArriveInOrderBehindTheWritesBeforeThem) {
  world.begin();
  world.b->grant(kWindow, 1024, 4096, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  std::size_t wrong = 0;
  world.heard_b.then = [&] {
    const std::size_t n = world.heard_b.messages.size() - 1;
    wrong += at_b(1024 + n * 16, 9) == world.heard_b.messages[n] ? 0 : 1;
  };
  for (int i = 0; i < 100; ++i) {
    const std::string text = "number " + std::to_string(10 + i % 90);
    write(*window, static_cast<std::uint64_t>(i) * 16, text);
    ASSERT_TRUE(world.a->send(Channel::kLog, bytes(text)).ok());
  }
  ASSERT_TRUE(world.run([&] { return window->durable() == 100; }));
  world.run_for(milliseconds(10));
  EXPECT_EQ(world.heard_b.messages.size(), 100U);
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(told.times, 1) << "one packet, one answer, one call";
  EXPECT_EQ(world.a->counters().writes_durable, 100U);
  EXPECT_EQ(world.b->counters().writes_received, 100U);
}

TEST_F(StreamLinkTest, WhatIsGivenInOneTurnIsOnePacket) {
  world.begin();
  const std::uint64_t before = world.a->counters().packets_sent;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(world.a->send(Channel::kLog, bytes("gathered")).ok());
  }
  ASSERT_TRUE(world.run([&] { return world.heard_b.messages.size() == 50; }));
  EXPECT_EQ(world.a->counters().packets_sent, before + 1);
}

TEST_F(StreamLinkTest, CompletionsComeInOrderAndOnlyForWhatIsPersistent) {
  world.begin();
  world.b->grant(kWindow, 0, kMemoryBytes, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  std::uint64_t sent = 0;
  std::uint64_t durable = 0;
  while (sent < 300) {
    for (std::uint64_t n = world.scheduler.random().below(5); n > 0; --n) {
      write(*window, sent * 64, "record " + std::to_string(1000 + sent));
      ++sent;
    }
    static_cast<void>(world.scheduler.run_until(
        [&] {
          EXPECT_GE(window->durable(), durable);
          durable = window->durable();
          return false;
        },
        world.scheduler.random().below(40)));
    // The partner loses its power now: what was reported is there.
    sim::SimPersistentMemory image(world.memory_b);
    image.lose_power(world.scheduler.random());
    for (std::uint64_t i = 0; i < durable; ++i) {
      const std::string expected = "record " + std::to_string(1000 + i);
      ASSERT_TRUE(same_bytes(image.bytes().subspan(i * 64, expected.size()), bytes(expected)));
    }
  }
}

TEST_F(StreamLinkTest, AWriteOfAnotherEpochIsRefusedAndEverythingBehindItToo) {
  world.begin();
  world.b->grant(kWindow, 0, 4096, 6);
  Told told;
  auto window = world.a->open_window(kWindow, 5, told);
  write(*window, 0, "stale");
  write(*window, 64, "behind");
  ASSERT_TRUE(world.run([&] { return !window->status().ok(); }));
  EXPECT_EQ(window->status().error().code, Errc::kFenced);
  world.b->grant(kWindow, 0, 4096, 5);  // the same right stays refused
  write(*window, 128, "later");
  world.run_for(milliseconds(50));
  EXPECT_EQ(window->durable(), 0U);
  EXPECT_EQ(world.memory_b.bytes()[0], std::byte{0});
  EXPECT_EQ(world.memory_b.bytes()[64], std::byte{0});
  EXPECT_EQ(world.memory_b.bytes()[128], std::byte{0});
  EXPECT_EQ(world.b->counters().writes_refused, 2U);
  EXPECT_TRUE(world.up()) << "the link itself goes on";

  window.reset();
  const auto again = world.a->open_window(kWindow, 5, told);
  write(*again, 0, "fresh");
  ASSERT_TRUE(world.run([&] { return again->durable() == 1; }));
  EXPECT_EQ(at_b(0, 5), "fresh");
}

TEST_F(StreamLinkTest, AfterRevokeNothingLandsNotEvenWhatIsOnItsWay) {
  world.begin();
  world.b->grant(kWindow, 0, 4096, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  for (std::uint64_t i = 0; i < 20; ++i) {
    write(*window, i * 64, "on its way");
  }
  static_cast<void>(world.scheduler.run_until([] { return false; }, 3));
  world.b->revoke(kWindow);
  const std::vector<std::byte> still(world.memory_b.bytes().begin(),
                                     world.memory_b.bytes().begin() + 4096);
  ASSERT_TRUE(world.run([&] { return !window->status().ok(); }));
  world.run_for(milliseconds(50));
  EXPECT_TRUE(std::equal(still.begin(), still.end(), world.memory_b.bytes().begin()));
}

TEST_F(StreamLinkTest, AWriteOutsideOfItsWindowIsRefused) {
  world.begin();
  world.b->grant(kWindow, 4096, 4096, 5);
  for (const std::uint64_t offset :
       {std::uint64_t{4090}, std::uint64_t{4096}, ~std::uint64_t{0} - 3, ~std::uint64_t{4095}}) {
    Told told;
    const auto window = world.a->open_window(kWindow, 5, told);
    write(*window, offset, "0123456789");
    ASSERT_TRUE(world.run([&] { return !window->status().ok(); }));
    EXPECT_EQ(window->status().error().code, Errc::kInvalid);
  }
}

TEST_F(StreamLinkTest, AFailedMemoryIsReportedAndNotCalledDurable) {
  world.begin();
  world.b->grant(kWindow, 0, 4096, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  world.memory_b.fail_next_persist();
  write(*window, 0, "lost");
  write(*window, 64, "behind it");
  ASSERT_TRUE(world.run([&] { return !window->status().ok(); }));
  EXPECT_EQ(window->status().error().code, Errc::kIo);
  EXPECT_EQ(window->durable(), 0U);
}

TEST_F(StreamLinkTest, ALargeWriteAndManyOfThemGoThroughABoundedQueue) {
  world.options.queued_bytes_max = 2U << 20U;
  world.begin();
  world.b->grant(kWindow, 0, kMemoryBytes, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  const std::vector<std::byte> large(kWriteBytesMax, std::byte{7});
  const ConstBytes part(large);
  std::uint64_t written = 0;
  std::uint64_t refused = 0;
  while (written < 6) {
    if (window->has_room(large.size())) {
      ++written;
      window->write((written % 3) * kWriteBytesMax, std::span(&part, 1));
    } else {
      ++refused;
      const int times = told.times;
      ASSERT_TRUE(world.run([&] { return told.times > times; }));
    }
  }
  ASSERT_TRUE(world.run([&] { return window->durable() == 6; }));
  EXPECT_GT(refused, 0U);
}

TEST_F(StreamLinkTest, ALostConnectionEndsTheSessionAndAnotherBegins) {
  world.begin();
  world.b->grant(kWindow, 0, 4096, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  world.b.reset();
  write(*window, 0, "nobody takes it");
  ASSERT_TRUE(world.run([&] { return !connected(world.a->status().state); }));
  EXPECT_EQ(window->status().error().code, Errc::kClosed);
  EXPECT_EQ(world.a->send(Channel::kLog, bytes("x")).error().code, Errc::kClosed);
  world.open_b(2);  // the process is the same: only its connections ended
  ASSERT_TRUE(world.run([&] { return world.up(); }));
  EXPECT_EQ(world.a->status().state, LinkState::kUp);
  world.b.reset();
  ASSERT_TRUE(world.run([&] { return !connected(world.a->status().state); }));
  world.open_b(3);
  ASSERT_TRUE(world.run([&] { return world.up(); }));
  EXPECT_EQ(world.a->status().state, LinkState::kReset);
  EXPECT_EQ(world.a->status().session, 3U);
  EXPECT_EQ(world.a->counters().resets, 1U);
}

TEST_F(StreamLinkTest, ANewConnectionOfThePartnerReplacesTheOldOneFirst) {
  world.begin();
  world.b->grant(kWindow, 0, 4096, 5);
  Told told;
  const auto window = world.a->open_window(kWindow, 5, told);
  for (std::uint64_t i = 0; i < 60; ++i) {
    write(*window, i * 64, "of the old session");
  }
  // The old process hangs, with all that still on its way; its successor connects.
  TestSource source(world.scheduler);
  source.other = &world.source_b;
  sim::SimPersistentMemory memory(64);
  StreamLinkOptions options;
  options.connects = true;
  StreamLink successor(world.scheduler, memory, world.entropy, source,
                       {kPair, Node::kA, Incarnation{7}}, options);
  ASSERT_TRUE(world.run([&] { return world.b->status().peer == Incarnation{7}; }));
  EXPECT_EQ(world.b->status().state, LinkState::kReset);
  const std::vector<std::byte> still(world.memory_b.bytes().begin(),
                                     world.memory_b.bytes().begin() + 4096);
  world.run_for(milliseconds(15));
  EXPECT_EQ(world.b->status().peer, Incarnation{7});
  EXPECT_TRUE(std::equal(still.begin(), still.end(), world.memory_b.bytes().begin()));
}

TEST_F(StreamLinkTest, ASilentPartnerIsLostAfterTheConfiguredTime) {
  world.begin();
  world.run_for(seconds(5));
  EXPECT_TRUE(world.up()) << "keepalives are enough";
  EXPECT_EQ(world.a->counters().silences, 0U);

  // A connection that says hello and then nothing.
  world.a.reset();
  sim::SimStream::Pair mute = sim::SimStream::make_pair(world.scheduler);
  world.source_b.push(std::move(mute.second));
  const std::uint64_t before = world.b->counters().silences;
  world.run_for(seconds(5));
  EXPECT_EQ(world.b->counters().silences, before + 1);
}

TEST_F(StreamLinkTest, TheApplicationsBeatIsSeenAndStopsWhenItStops) {
  world.begin();
  for (int i = 0; i < 5; ++i) {
    world.a->beat();
    world.run_for(milliseconds(100));
  }
  world.run_for(milliseconds(300));
  EXPECT_EQ(world.b->status().peer_beat, 5U);
  const Instant changed = world.b->status().beat_changed;
  world.run_for(seconds(3));
  EXPECT_EQ(world.b->status().beat_changed, changed);
  EXPECT_TRUE(world.up()) << "a link may live whose application does not";
}

TEST_F(StreamLinkTest, StrangersAreRefusedInWordsAndDisturbNobody) {
  world.begin();
  sim::SimPersistentMemory memory(64);
  struct Case {
    LinkIdentity identity;
    std::string_view reason;
  };
  const Case cases[] = {
      {{{11, 23}, Node::kA, Incarnation{9}}, "the partner belongs to another pair"},
      {{kPair, Node::kB, Incarnation{9}}, "the partner is configured as the same node"},
  };
  for (const Case& one : cases) {
    TestSource source(world.scheduler);
    source.other = &world.source_b;
    StreamLinkOptions options;
    options.connects = true;
    StreamLink stranger(world.scheduler, memory, world.entropy, source, one.identity, options);
    ASSERT_TRUE(world.run([&] { return stranger.counters().refused_here > 0; }));
    EXPECT_EQ(stranger.status().reason, one.reason);
    EXPECT_EQ(stranger.status().state, LinkState::kLost);
  }
  EXPECT_GE(world.b->counters().refused_peers, 2U);
  EXPECT_EQ(world.b->status().session, 1U);
  EXPECT_TRUE(world.up());
}

TEST_F(StreamLinkTest, ATryThatFailsIsRepeatedWithGrowingPauses) {
  world.source_a.reachable = false;
  world.open_a();
  world.open_b();
  world.run_for(seconds(20));
  EXPECT_EQ(world.a->status().reason, "no way there");
  EXPECT_GT(world.a->counters().attempts, 15U);
  EXPECT_LT(world.a->counters().attempts, 40U);
  world.source_a.reachable = true;
  EXPECT_TRUE(world.run([&] { return world.up(); }));
}

TEST_F(StreamLinkTest, TheFirstPacketIsTheGoldenOne) {
  std::vector<std::byte> written;
  world.source_a.bend = [&](std::uint64_t offset, MutableBytes data) {
    if (offset == 0 && written.empty()) {
      written.assign(data.begin(), data.end());
    }
  };
  world.begin();
  std::vector<std::byte> golden;
  std::ifstream file(INTERCONNECT_TESTDATA "/hello_v1.hex");
  for (unsigned value = 0; file >> std::hex >> value;) {
    golden.push_back(static_cast<std::byte>(value));
  }
  ASSERT_EQ(golden.size(), 80U);
  EXPECT_EQ(written, golden);
}

// A bit that turns anywhere in what a writes: nothing wrong arrives, and the link recovers.
TEST_F(StreamLinkTest, ATurnedBitEndsTheSessionAndNothingWrongArrives) {
  std::uint64_t damaged = 0;
  // Two packets: the hello of 80 bytes, then three writes and three messages.
  for (std::uint64_t at = 0; at < 352; ++at) {
    SCOPED_TRACE(at);
    StreamWorld bent(at + 1);
    bool turned = false;
    bent.source_a.bend = [&](std::uint64_t offset, MutableBytes data) {
      if (!turned && at >= offset && at - offset < data.size()) {
        turned = true;
        data[at - offset] ^= std::byte{1} << (at % 8);
      }
    };
    bent.open_a();
    bent.open_b();
    bent.b->grant(kWindow, 0, 4096, 5);
    Told told;
    std::unique_ptr<RemoteWindow> window;
    std::uint64_t session = 0;
    ASSERT_TRUE(bent.run([&] {
      if (bent.up() && bent.a->status().session != session) {
        session = bent.a->status().session;
        window.reset();
        window = bent.a->open_window(kWindow, 5, told);
        for (std::uint64_t i = 0; i < 3; ++i) {
          write(*window, i * 64, "what was written");
          EXPECT_TRUE(bent.a->send(Channel::kLog, bytes("what was said")).ok());
        }
      }
      return window != nullptr && window->durable() == 3 && bent.up();
    }));
    for (const std::string& message : bent.heard_b.messages) {
      EXPECT_EQ(message, "what was said");
    }
    for (std::uint64_t i = 0; i < 4096; ++i) {
      const bool written = i % 64 < 16 && i / 64 < 3;
      ASSERT_EQ(bent.memory_b.bytes()[i] != std::byte{0}, written) << i;
    }
    damaged += bent.b->counters().damaged_packets;
    EXPECT_TRUE(turned);
  }
  EXPECT_EQ(damaged, 352U);  // every bit is covered, the padding of frames too
}

// What a partner that went mad may send: well-formed packets, ill-formed frames.
TEST_F(StreamLinkTest, NonsenseEndsItsOwnSessionOnly) {
  world.begin();
  world.b->grant(kWindow, 0, 4096, 5);
  sim::Random random(3);
  for (int round = 0; round < 300; ++round) {
    sim::SimStream::Pair pair = sim::SimStream::make_pair(world.scheduler);
    world.source_b.push(std::move(pair.second));
    std::vector<std::byte> noise(1 + random.below(600));
    for (std::byte& b : noise) {
      b = static_cast<std::byte>(random.next());
    }
    std::vector<std::byte> packet(sizeof(PacketHeader));
    if (random.one_in(2)) {
      noise.resize(padded(noise.size()));
      FrameHead head;
      head.kind = static_cast<std::uint8_t>(random.below(8));
      head.body_bytes = static_cast<std::uint32_t>(random.below(noise.size()));
      store(MutableBytes(noise), 0, head);
      PacketHeader header;
      header.payload_bytes = static_cast<std::uint32_t>(noise.size());
      header.number = 1;
      header.payload_checksum = crc32c(noise);
      header.checksum = crc32c(bytes_of(header).first(offsetof(PacketHeader, checksum)));
      store(MutableBytes(packet), 0, header);
      packet.insert(packet.end(), noise.begin(), noise.end());
    } else {
      packet = noise;
    }
    struct Write final : WriteOperation {
      void run() override {}
    } operation;
    ConstBytes part(packet);
    operation.parts = std::span(&part, 1);
    static_cast<void>(pair.first->start_write(operation));
    operation.unlink();
    world.run_for(milliseconds(20));
  }
  EXPECT_TRUE(world.up());
  EXPECT_EQ(world.b->status().session, 1U);
  EXPECT_GT(world.b->counters().damaged_packets, 200U);
  EXPECT_TRUE(all_zero(world.memory_b.bytes()));
}

// A partner that is made of packets by hand: node a, connected to b.
class Puppet {
 public:
  explicit Puppet(StreamWorld& world) : world_(world) {
    sim::SimStream::Pair pair = sim::SimStream::make_pair(world.scheduler);
    stream_ = std::move(pair.first);
    world.source_b.push(std::move(pair.second));
    HelloFrame hello;
    hello.pair = kPair;
    hello.incarnation = 5;
    say(1, FrameKind::kHello, bytes_of(hello));
  }
  // One packet of that number with one frame.
  void say(std::uint64_t number, FrameKind kind, ConstBytes body, std::uint8_t channel = 1) {
    std::vector<std::byte> packet(sizeof(PacketHeader) + sizeof(FrameHead));
    packet.insert(packet.end(), body.begin(), body.end());
    packet.resize(padded(packet.size()));
    FrameHead head;
    head.kind = static_cast<std::uint8_t>(kind);
    head.channel = channel;
    head.body_bytes = static_cast<std::uint32_t>(body.size());
    store(MutableBytes(packet), sizeof(PacketHeader), head);
    PacketHeader header;
    header.payload_bytes = static_cast<std::uint32_t>(packet.size() - sizeof(PacketHeader));
    header.number = number;
    header.payload_checksum = crc32c(ConstBytes(packet).subspan(sizeof(PacketHeader)));
    header.checksum = crc32c(bytes_of(header).first(offsetof(PacketHeader, checksum)));
    store(MutableBytes(packet), 0, header);
    struct Write final : WriteOperation {
      void run() override {}
    } operation;
    ConstBytes part(packet);
    operation.parts = std::span(&part, 1);
    static_cast<void>(stream_->start_write(operation));
    world_.run_for(milliseconds(5));
  }
  void done(std::uint64_t packet, std::uint64_t number) {
    DoneFrame frame;
    frame.number = number;
    say(packet, FrameKind::kDone, bytes_of(frame));
  }
  void write(std::uint64_t packet, std::uint64_t number) {
    std::vector<std::byte> body(sizeof(WriteFrame) + 8, std::byte{1});
    WriteFrame frame;
    frame.number = number;
    frame.epoch = 5;
    frame.right = 1;
    frame.window = 1;
    store(MutableBytes(body), 0, frame);
    say(packet, FrameKind::kWrite, body);
  }

 private:
  StreamWorld& world_;
  std::unique_ptr<ByteStream> stream_;
};

class Misordered : public ::testing::Test {
 protected:
  Misordered() {
    world.open_b();
    world.b->grant(kWindow, 0, 4096, 5);
  }
  // What `act` does ends the session.
  template <typename Act>
  void expect_end(Act act) {
    Puppet puppet(world);
    ASSERT_TRUE(connected(world.b->status().state));
    Told told;
    const auto window = world.b->open_window(kWindow, 5, told);
    const ConstBytes part = bytes("one write");
    window->write(0, std::span(&part, 1));
    world.run_for(milliseconds(5));
    const std::uint64_t damaged = world.b->counters().damaged_packets;
    act(puppet);
    EXPECT_FALSE(connected(world.b->status().state));
    EXPECT_EQ(world.b->counters().damaged_packets, damaged + 1);
    EXPECT_EQ(window->durable(), 0U);
  }
  StreamWorld world{8};
};

TEST_F(Misordered, APacketThatIsMissingOrComesTwiceEndsTheSession) {
  const ConstBytes message = bytes("message");
  expect_end([&](Puppet& p) { p.say(3, FrameKind::kMessage, message); });
  EXPECT_TRUE(world.heard_b.messages.empty());
  expect_end([&](Puppet& p) {
    p.say(2, FrameKind::kMessage, message);
    p.say(2, FrameKind::kMessage, message);
  });
  EXPECT_EQ(world.heard_b.messages.size(), 1U);
}

TEST_F(Misordered, AWriteThatIsMissingOrComesTwiceEndsTheSession) {
  expect_end([](Puppet& p) { p.write(2, 2); });
  EXPECT_EQ(world.memory_b.bytes()[0], std::byte{0});
  expect_end([](Puppet& p) {
    p.write(2, 1);
    p.write(3, 1);
  });
}

TEST_F(Misordered, AnAnswerToWhatWasNotSentOrAnOlderOneEndsTheSession) {
  expect_end([](Puppet& p) { p.done(2, 2); });
  Puppet puppet(world);
  Told told;
  const auto window = world.b->open_window(kWindow, 5, told);
  const ConstBytes part = bytes("one write");
  for (int i = 0; i < 3; ++i) {
    window->write(0, std::span(&part, 1));
  }
  world.run_for(milliseconds(5));
  puppet.done(2, 2);
  EXPECT_EQ(window->durable(), 2U);
  puppet.done(3, 1);
  EXPECT_FALSE(connected(world.b->status().state));
  EXPECT_EQ(window->durable(), 2U);
}

// Sessions cut at random moments: what was called durable is there, in order, and nothing of an
// older session lands in a newer.
TEST_F(StreamLinkTest, CutsAtAnyMomentLoseNothingThatWasCalledDurable) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    StreamWorld cut(seed);
    cut.begin();
    sim::Random random(seed);
    cut.b->grant(kWindow, 0, kMemoryBytes, 5);
    Told told;
    std::uint64_t base = 0;  // what is durable for ever: records are 0, 1, 2, ...
    for (std::uint64_t round = 1; round <= 5; ++round) {
      ASSERT_TRUE(cut.run([&] { return cut.up(); }));
      const auto window = cut.a->open_window(kWindow, 5, told);
      const std::uint64_t count = 1 + random.below(30);
      for (std::uint64_t i = 0; i < count; ++i) {
        write(*window, (base + i) * 64, "session " + std::to_string(round));
      }
      static_cast<void>(cut.scheduler.run_until([] { return false; }, random.below(60)));
      const std::uint64_t durable = window->durable();
      sim::SimPersistentMemory image(cut.memory_b);
      image.lose_power(random);
      const std::string expected = "session " + std::to_string(round);
      for (std::uint64_t i = 0; i < durable; ++i) {
        ASSERT_TRUE(
            same_bytes(image.bytes().subspan((base + i) * 64, expected.size()), bytes(expected)));
      }
      base += durable;
      if (random.one_in(2)) {
        cut.a.reset();
        cut.open_a(1 + round);
      } else {
        cut.b.reset();
        cut.open_b(100 + round);
        cut.b->grant(kWindow, 0, kMemoryBytes, 5);
      }
    }
  }
}

}  // namespace
}  // namespace duet::interconnect::testing
