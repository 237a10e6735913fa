// Peers over the link of a pair: what raid/peers.h promises, on every kind of wire.

#include "raid/peers_port.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "../../tests/seeds.h"
#include "interconnect/sim/sim_link.h"
#include "sim/sim_persistent_memory.h"

namespace duet::raid {
namespace {

using interconnect::Incarnation;
using interconnect::Node;
using interconnect::SimWire;
using interconnect::WindowId;

constexpr GroupId kGroup = {7, 8};
constexpr std::array<std::uint64_t, 2> kPair = {1, 2};
constexpr WindowId kWindow{3};
constexpr PeersPort::Region kRegion{.offset = 4096, .bytes = 4U << 20U};

enum class Wire : std::uint8_t { kStream, kNarrow, kOneSided };

// What a packet says: which session of which process it is of, and what was given before it.
struct Said {
  std::uint64_t incarnation = 0;
  std::uint64_t session = 0;
  std::uint64_t packet = 0;  // 1, 2, 3, ...
  std::uint64_t store = 0;   // stores before it; the last wrote this number
};

class World;

// A process: sends packets and stores its count at the region's begin; checks what comes.
class Process final : private PeersUser {
 public:
  Process(World& world, Node node);
  ~Process() {
    peers->attach(nullptr);
    peers.reset();
  }

  void send(std::size_t extra);
  void store(std::size_t extra);
  void close_and_open();
  [[nodiscard]] std::uint64_t session() const { return peers->session(partner()); }
  [[nodiscard]] NodeId partner() const {
    return NodeId{static_cast<std::uint8_t>(node == Node::kA ? 1 : 0)};
  }

  World& world;
  const Node node;
  const std::uint64_t incarnation;
  std::unique_ptr<interconnect::SimLink> link;
  std::unique_ptr<PeersPort> port;
  std::unique_ptr<Peers> peers;
  std::uint64_t packets_given = 0;  // in this session
  std::uint64_t stores_given = 0;
  std::uint64_t packets_seen = 0;  // in this session
  std::uint64_t all_seen = 0;
  Said heard;         // the last of this session
  bool deaf = false;  // the partner's process was fenced: nothing of it may arrive

 private:
  void on_packet(NodeId from, ConstBytes packet) override;
  void on_session(NodeId of) override;
  void on_stored(NodeId at) override;
};

class World {
 public:
  World(std::uint64_t seed, Wire kind) : scheduler(seed), wire(scheduler, options(kind)) {
    for (auto& memory : memories) {
      memory = std::make_unique<sim::SimPersistentMemory>(kRegion.offset + kRegion.bytes);
    }
  }
  static interconnect::SimWireOptions options(Wire kind) {
    interconnect::SimWireOptions options;
    options.one_sided = kind == Wire::kOneSided;
    if (kind == Wire::kNarrow) {
      options.queued_bytes_max = 3000;
    }
    return options;
  }
  static std::size_t index(Node node) { return static_cast<std::size_t>(node); }

  void boot(Node node) { processes[index(node)] = std::make_unique<Process>(*this, node); }
  void kill(Node node) { processes[index(node)].reset(); }
  [[nodiscard]] Process& at(Node node) { return *processes[index(node)]; }
  [[nodiscard]] std::uint64_t count_at(Node node) const {
    return load<std::uint64_t>(memories[index(node)]->bytes(), kRegion.offset);
  }
  [[nodiscard]] bool met() const {
    return std::ranges::all_of(processes, [](const auto& p) { return p && p->session() != 0; });
  }
  [[nodiscard]] bool run_until(const std::function<bool()>& done) {
    return scheduler.run_until(done, 200'000) && done();
  }

  sim::SimScheduler scheduler;
  std::array<std::unique_ptr<sim::SimPersistentMemory>, 2> memories;
  SimWire wire;
  std::array<std::unique_ptr<Process>, 2> processes;
  std::uint64_t incarnations = 1000;
};

Process::Process(World& of, Node which)
    : world(of),
      node(which),
      incarnation(of.incarnations += 1000),
      link(of.wire.open({kPair, which, Incarnation{incarnation}},
                        *of.memories[World::index(which)])),
      port(std::make_unique<PeersPort>(of.scheduler, *link, incarnation)) {
  peers = port->open(kGroup, kWindow, kRegion, partner());
  peers->attach(this);
}

void Process::close_and_open() {
  peers->attach(nullptr);
  peers.reset();
  packets_given = stores_given = packets_seen = 0;
  peers = port->open(kGroup, kWindow, kRegion, partner());
  peers->attach(this);
}

void Process::send(std::size_t extra) {
  const std::uint64_t now = session();
  if (now != 0) {
    ++packets_given;
  }
  std::vector<std::byte> packet(sizeof(Said) + extra);
  duet::store(MutableBytes(packet), 0, Said{incarnation, now, packets_given, stores_given});
  peers->send(partner(), packet);
}

void Process::store(std::size_t extra) {
  const std::uint64_t number = stores_given + 1;
  const std::vector<std::byte> more(extra);
  const std::array<ConstBytes, 2> parts = {bytes_of(number), ConstBytes(more)};
  const std::uint64_t given =
      peers->store(partner(), 0, std::span(parts).first(extra == 0 ? 1 : 2));
  if (session() == 0) {
    EXPECT_EQ(given, 0U);
  } else {
    EXPECT_EQ(given, number);
    stores_given = number;
  }
}

void Process::on_packet(NodeId from, ConstBytes packet) {
  EXPECT_EQ(from, partner());
  EXPECT_NE(session(), 0U) << "a packet of no session";
  EXPECT_FALSE(deaf) << "a packet of a process that was fenced";
  ASSERT_GE(packet.size(), sizeof(Said));
  const auto said = load<Said>(packet, 0);
  EXPECT_EQ(said.packet, ++packets_seen) << "a gap, or out of order";
  if (packets_seen > 1) {
    EXPECT_EQ(said.incarnation, heard.incarnation);
    EXPECT_EQ(said.session, heard.session) << "two of the partner's sessions in one";
  }
  if (said.store > 0) {
    EXPECT_EQ(world.count_at(node), said.store) << "not the stores before it, or later ones too";
  }
  heard = said;
  ++all_seen;
}

void Process::on_session(NodeId of) {
  EXPECT_EQ(of, partner());
  packets_given = stores_given = packets_seen = 0;
}

void Process::on_stored(NodeId at) {
  EXPECT_EQ(at, partner());
  EXPECT_LE(peers->stored(at), stores_given);
  EXPECT_GE(world.count_at(node == Node::kA ? Node::kB : Node::kA), peers->stored(at));
}

std::string name_of(const ::testing::TestParamInfo<Wire>& wire) {
  return wire.param == Wire::kStream   ? "Stream"
         : wire.param == Wire::kNarrow ? "Narrow"
                                       : "OneSided";
}

class PeersOverALink : public ::testing::TestWithParam<Wire> {
 protected:
  void meet() {
    world.boot(Node::kA);
    world.boot(Node::kB);
    ASSERT_TRUE(world.run_until([this] { return world.met(); }));
  }
  World world{1, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Wires, PeersOverALink,
                         ::testing::Values(Wire::kStream, Wire::kNarrow, Wire::kOneSided), name_of);

TEST_P(PeersOverALink, PacketsAndStoresArriveInTheirOrder) {
  meet();
  for (int i = 0; i < 50; ++i) {
    world.at(Node::kA).store(i % 2 == 0 ? 900 : 0);  // one may fit where the one before did not
    world.at(Node::kA).send(100);
    world.at(Node::kA).send(0);
    world.at(Node::kB).send(500);
    world.at(Node::kB).store(0);
  }
  EXPECT_TRUE(world.run_until([this] {
    return world.at(Node::kB).all_seen == 100 && world.at(Node::kA).all_seen == 50 &&
           world.at(Node::kA).peers->stored(world.at(Node::kA).partner()) == 50 &&
           world.at(Node::kB).peers->stored(world.at(Node::kB).partner()) == 50;
  }));
}

TEST_P(PeersOverALink, AStoreMayBeLongerThanOneWrite) {
  if (GetParam() == Wire::kNarrow) {
    GTEST_SKIP() << "a wire that takes 3,000 bytes at a time";
  }
  meet();
  world.at(Node::kA).store(3U << 20U);
  world.at(Node::kA).send(0);
  EXPECT_TRUE(world.run_until([this] { return world.at(Node::kB).all_seen == 1; }));
  EXPECT_TRUE(world.run_until(
      [this] { return world.at(Node::kA).peers->stored(world.at(Node::kA).partner()) == 1; }));
}

TEST_P(PeersOverALink, WhoOpensTheGroupAgainBeginsANewSessionAtBoth) {
  meet();
  const std::uint64_t before = world.at(Node::kB).session();
  world.at(Node::kA).send(0);
  world.at(Node::kA).close_and_open();
  EXPECT_EQ(world.at(Node::kA).session(), 0U);
  EXPECT_TRUE(
      world.run_until([&] { return world.met() && world.at(Node::kB).session() > before; }));
  world.at(Node::kB).send(0);
  EXPECT_TRUE(world.run_until([this] { return world.at(Node::kA).all_seen == 1; }));
}

TEST_P(PeersOverALink, OfAFencedProcessNothingArrives) {
  meet();
  Process& a = world.at(Node::kA);
  const Incarnation b{world.at(Node::kB).incarnation};
  world.at(Node::kB).send(0);
  a.port->fenced(b);
  a.deaf = true;
  EXPECT_EQ(a.session(), 0U);
  const std::uint64_t seen = a.all_seen;
  for (int i = 0; i < 10; ++i) {
    world.at(Node::kB).send(0);
    world.at(Node::kB).store(0);
    ASSERT_TRUE(world.scheduler.run_for(std::chrono::milliseconds(20)));
  }
  EXPECT_EQ(a.all_seen, seen);
  EXPECT_EQ(a.session(), 0U);
  // The next process of that node is welcome.
  world.kill(Node::kB);
  a.deaf = false;
  world.boot(Node::kB);
  EXPECT_TRUE(world.run_until([this] { return world.met(); }));
}

TEST_P(PeersOverALink, AnotherGroupBehindTheSameWindowIsNotMet) {
  world.boot(Node::kA);
  world.boot(Node::kB);
  Process& b = world.at(Node::kB);
  b.peers->attach(nullptr);
  b.peers.reset();
  b.peers = b.port->open({9, 9}, kWindow, kRegion, b.partner());
  ASSERT_TRUE(world.scheduler.run_for(std::chrono::seconds(1)));
  EXPECT_EQ(world.at(Node::kA).session(), 0U);
  EXPECT_EQ(b.session(), 0U);
}

TEST_P(PeersOverALink, ForeignBytesAreDropped) {
  meet();
  sim::Random random(5);
  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> bytes(random.below(80));
    for (std::byte& byte : bytes) {
      byte = static_cast<std::byte>(random.next());
    }
    if (bytes.size() >= 16 && i % 2 == 0) {
      duet::store(MutableBytes(bytes), 0, std::uint32_t{0x5052'4C44});
      duet::store(MutableBytes(bytes), 4, static_cast<std::uint16_t>(random.below(6)));
      duet::store(MutableBytes(bytes), 6, static_cast<std::uint16_t>(random.below(9)));
    }
    static_cast<void>(world.at(Node::kB).link->send(interconnect::Channel::kRaid, bytes));
    ASSERT_TRUE(world.scheduler.run_for(std::chrono::milliseconds(1)));
  }
  EXPECT_EQ(world.at(Node::kA).all_seen, 0U);
  EXPECT_TRUE(world.run_until([this] { return world.met(); }));
  world.at(Node::kB).send(0);
  EXPECT_TRUE(world.run_until([this] { return world.at(Node::kA).all_seen == 1; }));
}

// Everything at once, checked by the processes; at the end the wire heals, and both must meet.
void try_seed(std::uint64_t seed, Wire kind) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  World world(seed, kind);
  sim::Random random(seed + 1);
  const auto node = [&] { return random.one_in(2) ? Node::kA : Node::kB; };
  world.boot(Node::kA);
  world.boot(Node::kB);
  for (int i = 0; i < 400; ++i) {
    Process& one = world.at(node());
    switch (random.below(24)) {
      case 0:
        world.wire.cut(node());
        break;
      case 1:
      case 2:
        world.wire.heal(node());
        break;
      case 3:
        world.wire.reset();
        break;
      case 4:
        one.close_and_open();
        break;
      case 5: {
        const Node which = one.node;
        world.kill(which);
        world.boot(which);
        world.at(interconnect::partner_of(which)).deaf = false;
        break;
      }
      case 6:
        if (random.one_in(4)) {
          // Fenced, and killed a little later.
          Process& other = world.at(interconnect::partner_of(one.node));
          one.port->fenced(Incarnation{other.incarnation});
          one.deaf = true;
          other.send(0);
          other.store(0);
          DUET_CHECK(world.scheduler.run_for(std::chrono::microseconds(random.below(3000))));
          const Node which = other.node;
          world.kill(which);
          one.deaf = false;
          world.boot(which);
        }
        break;
      case 7:
      case 8:
      case 9:
      case 10:
      case 11:
      case 12:
        one.store(random.below(500));
        break;
      case 13:
      case 14:
      case 15:
      case 16:
      case 17:
      case 18:
        one.send(random.below(1500));
        break;
      default:
        DUET_CHECK(world.scheduler.run_for(std::chrono::microseconds(random.below(2000))));
    }
  }
  world.wire.heal(Node::kA);
  world.wire.heal(Node::kB);
  EXPECT_TRUE(world.run_until([&] { return world.met(); }));
  DUET_CHECK(world.scheduler.run_for(std::chrono::seconds(3)));
  EXPECT_TRUE(world.met());
  const std::uint64_t seen = world.at(Node::kB).all_seen;
  world.at(Node::kA).send(0);
  EXPECT_TRUE(world.run_until([&] { return world.at(Node::kB).all_seen > seen; }));
}

TEST_P(PeersOverALink, HoldsWhatItPromisesWhateverHappens) {
  for (const std::uint64_t seed : testing::seeds(30, 10)) {
    try_seed(seed, GetParam());
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace duet::raid
