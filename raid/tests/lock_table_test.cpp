// The lock protocol as sequences of messages: the examples of the literature (figures 19 and 20 of
// the shared disk array document), and random histories of two to four nodes.

#include "raid/lock_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "seeds.h"
#include "sim/random.h"

namespace duet::raid {
namespace {

constexpr auto kShared = LockMode::kShared;
constexpr auto kExclusive = LockMode::kExclusive;
constexpr auto kNone = LockMode::kNone;

std::string name_of(LockMode mode) {
  return mode == kNone ? "none" : mode == kShared ? "shared" : "exclusive";
}

class World {
 public:
  struct Ticket final : LockTicket {
    void lock_granted() override { granted = true; }
    bool granted = false;
    std::size_t node = 0;
    LockRange range{};
    LockMode mode = kNone;
  };

  explicit World(std::size_t nodes) {
    for (std::size_t i = 0; i < nodes; ++i) {
      boot(i);
    }
    begin_view();
  }

  void boot(std::size_t i) {
    if (i >= nodes_.size()) {
      nodes_.resize(i + 1);
    }
    nodes_[i] = std::make_unique<Node>(*this, i);
  }
  // The process is gone, and all it had sent and was sent.
  void kill(std::size_t i) {
    nodes_[i].reset();
    std::erase_if(tickets, [i](const Ticket& ticket) { return ticket.node == i; });
    for (auto& [link, queue] : links_) {
      if (link.first == i || link.second == i) {
        queue.clear();
      }
    }
  }
  // All of the earlier view's messages are ignored, as their generation is another.
  void begin_view() {
    links_.clear();
    for (const auto& node : nodes_) {
      if (node != nullptr) {
        node->table.begin_view(alive());
      }
    }
  }
  [[nodiscard]] NodeSet alive() const {
    NodeSet set = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      set |= nodes_[i] != nullptr ? 1U << i : 0U;
    }
    return set;
  }

  LockTable& table(std::size_t node) { return nodes_[node]->table; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

  Ticket& want(std::size_t node, LockMode mode, LockRange range = LockRange{0},
               std::uint8_t extra = 0) {
    Ticket& ticket = tickets.emplace_back();
    ticket.node = node;
    ticket.range = range;
    ticket.mode = mode;
    if (table(node).acquire(ticket, range, mode, extra)) {
      ticket.granted = true;
    }
    return ticket;
  }
  void done(Ticket& ticket) {
    table(ticket.node).release(ticket);
    tickets.remove_if([&](const Ticket& each) { return &each == &ticket; });
  }

  // Delivers one message, if there is one.
  bool deliver(std::size_t from, std::size_t to) {
    auto& queue = links_[{from, to}];
    if (queue.empty()) {
      return false;
    }
    const LockMessage message = queue.front();
    queue.pop_front();
    EXPECT_TRUE(table(to).on_message(NodeId{static_cast<std::uint8_t>(from)}, message));
    return true;
  }
  void deliver_all() {
    for (bool more = true; more;) {
      more = false;
      for (std::size_t from = 0; from < size(); ++from) {
        for (std::size_t to = 0; to < size(); ++to) {
          more = deliver(from, to) || more;
        }
      }
    }
  }
  // What was sent since the last look, numbered from 1 as the literature does.
  std::vector<std::string> sent() { return std::exchange(trace_, {}); }
  std::vector<std::pair<LockRange, std::uint64_t>>& settling(std::size_t node) {
    return nodes_[node]->settling;
  }

  std::list<Ticket> tickets;
  bool settle_at_once = true;

 private:
  struct Node final : LockTableUser {
    Node(World& owner, std::size_t i)
        : world(owner), index(i), table(NodeId{static_cast<std::uint8_t>(i)}, *this) {}
    void send(NodeId to, const LockMessage& message) override {
      world.sent_by(index, number(to), message);
    }
    void settle(LockRange range, std::uint64_t number) override {
      if (world.settle_at_once) {
        table.settled(range, number);
      } else {
        settling.emplace_back(range, number);
      }
    }
    World& world;
    std::size_t index;
    std::vector<std::pair<LockRange, std::uint64_t>> settling;
    LockTable table;
  };

  void sent_by(std::size_t from, std::size_t to, const LockMessage& m) {
    links_[{from, to}].push_back(m);
    static const std::map<LockVerb, std::string> verbs = {
        {LockVerb::kRequest, "request "},  {LockVerb::kGrant, "grant "},
        {LockVerb::kRecall, "recall to "}, {LockVerb::kReleased, "released to "},
        {LockVerb::kHeld, "held "},        {LockVerb::kTableEnd, "end "}};
    std::string line = std::to_string(from + 1) + ">" + std::to_string(to + 1) + " " +
                       verbs.at(m.verb) + name_of(m.verb == LockVerb::kRecall ? m.keep : m.mode);
    if (m.release_when_done) {
      line += " until done, then " + name_of(m.keep);
    }
    trace_.push_back(line);
    if (std::getenv("DUET_SEED") != nullptr) {
      std::cout << static_cast<std::uint64_t>(m.range) << ": " << line
                << (m.prefetched ? " (prefetched)" : "") << '\n';
    }
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::pair<std::size_t, std::size_t>, std::deque<LockMessage>> links_;
  std::vector<std::string> trace_;
};

using Lines = std::vector<std::string>;

// Two nodes whose tables are complete; node 2 has had range 0 exclusively, so it arbitrates.
struct TwoNodes : World {
  TwoNodes() : World(2) {
    deliver_all();
    Ticket& writer = want(1, kExclusive);
    deliver_all();
    done(writer);
    sent();
  }
};

TEST(LockTable, Figure19TwoNodesArbitrateByTheLastExclusiveHolder) {
  TwoNodes world;
  ASSERT_TRUE(world.table(1).arbitrates(LockRange{0}));
  // 1320, 1330: node 1 asks for shared, node 2, which has exclusive, grants it and keeps shared.
  World::Ticket& reader = world.want(0, kShared);
  world.deliver_all();
  EXPECT_EQ(world.sent(), (Lines{"1>2 request shared", "2>1 grant shared"}));
  EXPECT_TRUE(reader.granted);
  EXPECT_EQ(world.table(1).held(LockRange{0}), kShared);
  world.done(reader);
  // 1340, 1350: node 1 asks for exclusive; with the grant it becomes the arbiter.
  World::Ticket& writer = world.want(0, kExclusive);
  world.deliver_all();
  EXPECT_EQ(world.sent(), (Lines{"1>2 request exclusive", "2>1 grant exclusive"}));
  EXPECT_TRUE(writer.granted);
  EXPECT_TRUE(world.table(0).arbitrates(LockRange{0}));
  EXPECT_FALSE(world.table(1).arbitrates(LockRange{0}));
  EXPECT_EQ(world.table(1).held(LockRange{0}), kNone);
  world.done(writer);
  // 1360: node 1 arbitrates for itself, and demotes its lock without a message.
  world.table(0).demote(LockRange{0}, kShared);
  EXPECT_TRUE(world.want(0, kShared).granted);
  EXPECT_EQ(world.table(0).held(LockRange{0}), kShared);
  EXPECT_EQ(world.sent(), Lines{});
  // 1370, 1380: node 2 asks for shared and gets it at once, beside node 1.
  EXPECT_FALSE(world.want(1, kShared).granted);
  world.deliver_all();
  EXPECT_EQ(world.sent(), (Lines{"2>1 request shared", "1>2 grant shared"}));
  EXPECT_EQ(world.table(1).held(LockRange{0}), kShared);
  EXPECT_EQ(world.table(0).held(LockRange{0}), kShared);
}

TEST(LockTable, Figure20FourNodesAskTheArbiterOfTheMap) {
  World world(4);
  world.deliver_all();
  constexpr LockRange kX{128};  // of node 3: the map gives 64 ranges to each in turn
  constexpr LockRange kY{192};  // of node 4
  ASSERT_TRUE(world.table(2).arbitrates(kX));
  ASSERT_TRUE(world.table(3).arbitrates(kY));
  World::Ticket& second = world.want(1, kExclusive, kX);
  world.deliver_all();
  ASSERT_TRUE(second.granted);
  world.sent();

  World::Ticket& first = world.want(0, kExclusive, kX);  // 1420
  world.deliver(0, 2);
  World::Ticket& reader = world.want(0, kShared, kY);  // 1424
  world.deliver(0, 3);
  world.deliver(3, 0);
  EXPECT_TRUE(reader.granted);
  World::Ticket& fourth = world.want(3, kExclusive, kX);  // 1428, queued
  world.deliver(3, 2);
  EXPECT_EQ(world.sent(),
            (Lines{"1>3 request exclusive", "3>2 recall to none", "1>4 request shared",
                   "4>1 grant shared", "4>3 request exclusive"}));
  world.deliver(2, 1);
  EXPECT_EQ(world.sent(), Lines{});  // node 2 still uses it
  world.done(second);                // 1430, 1432 with the flag
  world.deliver_all();
  EXPECT_TRUE(first.granted);
  EXPECT_FALSE(fourth.granted);
  EXPECT_EQ(world.sent(),
            (Lines{"2>3 released to none", "3>1 grant exclusive until done, then none"}));
  world.done(first);  // 1434, 1436: nobody had to recall it
  world.deliver_all();
  EXPECT_TRUE(fourth.granted);
  EXPECT_EQ(world.sent(), (Lines{"1>3 released to none", "3>4 grant exclusive"}));

  World::Ticket& also = world.want(1, kShared, kY);  // 1440, 1442: beside node 1
  world.deliver_all();
  EXPECT_TRUE(also.granted);
  EXPECT_EQ(world.sent(), (Lines{"2>4 request shared", "4>2 grant shared"}));
  World::Ticket& third = world.want(2, kExclusive, kY);  // 1444, 1446, 1448
  world.deliver_all();
  EXPECT_EQ(world.sent(),
            (Lines{"3>4 request exclusive", "4>1 recall to none", "4>2 recall to none"}));
  world.done(also);                                   // 1450
  world.done(reader);                                 // 1452
  World::Ticket& again = world.want(0, kShared, kY);  // 1454, queued behind node 3
  world.deliver(0, 3);
  world.deliver(0, 3);
  world.deliver(1, 3);
  // 1456 with the flag; the one who is next only shares, so node 3 may keep shared, too.
  EXPECT_EQ(world.sent(),
            (Lines{"2>4 released to none", "1>4 released to none", "1>4 request shared",
                   "4>3 grant exclusive until done, then shared"}));
  world.deliver_all();
  EXPECT_TRUE(third.granted);
  EXPECT_FALSE(again.granted);
  world.done(third);  // 1458, 1460
  world.deliver_all();
  EXPECT_TRUE(again.granted);
  EXPECT_EQ(world.sent(), (Lines{"3>4 released to shared", "4>1 grant shared"}));
}

TEST(LockTable, ALockIsKeptAndUsedAgainWithoutAMessage) {
  TwoNodes world;
  for (int i = 0; i < 5; ++i) {
    World::Ticket& ticket = world.want(1, i % 2 == 0 ? kExclusive : kShared);
    ASSERT_TRUE(ticket.granted);
    world.done(ticket);
  }
  EXPECT_EQ(world.sent(), Lines{});
}

TEST(LockTable, AWriterBehindReadersIsNotOvertakenByLaterReaders) {
  World world(3);
  world.deliver_all();
  World::Ticket& reader = world.want(0, kShared);
  World::Ticket& other = world.want(1, kShared);
  world.deliver_all();
  ASSERT_TRUE(reader.granted && other.granted);
  World::Ticket& writer = world.want(2, kExclusive);
  world.deliver_all();
  World::Ticket& late_here = world.want(1, kShared);   // beside a user of the same node
  World::Ticket& late_there = world.want(0, kShared);  // and of the arbiter's
  world.deliver_all();
  EXPECT_FALSE(writer.granted || late_here.granted || late_there.granted);
  world.done(reader);
  world.done(other);
  world.deliver_all();
  EXPECT_TRUE(writer.granted);
  EXPECT_FALSE(late_here.granted || late_there.granted);
  world.done(writer);
  world.deliver_all();
  EXPECT_TRUE(late_here.granted && late_there.granted);
}

TEST(LockTable, SharedRequestsInARowAreGrantedTogether) {
  World world(4);
  world.deliver_all();
  World::Ticket& writer = world.want(0, kExclusive);
  World::Ticket& a = world.want(1, kShared);
  World::Ticket& b = world.want(2, kShared);
  world.deliver_all();
  World::Ticket& next = world.want(3, kExclusive);
  world.deliver_all();
  world.sent();
  world.done(writer);
  // Both grants say that a writer waits behind them; node 1 itself has nothing to keep.
  EXPECT_EQ(world.sent(), (Lines{"1>2 grant shared until done, then none",
                                 "1>3 grant shared until done, then none"}));
  world.deliver_all();
  EXPECT_TRUE(a.granted && b.granted);
  EXPECT_FALSE(next.granted);
  world.done(a);
  world.done(b);
  world.deliver_all();
  EXPECT_TRUE(next.granted);
}

TEST(LockTable, ExclusiveIsGivenUpOnlyAfterItsOwnerHasSettled) {
  TwoNodes world;
  world.settle_at_once = false;
  World::Ticket& reader = world.want(0, kShared);
  world.deliver_all();
  EXPECT_FALSE(reader.granted);
  ASSERT_EQ(world.settling(1).size(), 1U);
  EXPECT_EQ(world.table(1).held(LockRange{0}), kExclusive);
  // Who comes meanwhile waits for the next turn.
  World::Ticket& late = world.want(1, kExclusive);
  EXPECT_FALSE(late.granted);
  const auto [range, number] = world.settling(1).front();
  world.table(1).settled(range, number);
  world.deliver_all();
  EXPECT_TRUE(reader.granted);
}

TEST(LockTable, NeighboursThatAreFreeComeWithTheGrant) {
  World world(2);
  world.deliver_all();
  World::Ticket& other = world.want(0, kExclusive, LockRange{2});
  World::Ticket& ticket = world.want(1, kExclusive, LockRange{0}, 3);
  world.deliver_all();
  ASSERT_TRUE(ticket.granted && other.granted);
  world.sent();
  EXPECT_TRUE(world.want(1, kExclusive, LockRange{1}).granted);
  EXPECT_FALSE(world.want(1, kExclusive, LockRange{2}).granted);  // it is in use
  EXPECT_TRUE(world.want(1, kExclusive, LockRange{3}).granted);
  EXPECT_EQ(world.sent(), (Lines{"2>1 request exclusive"}));
}

TEST(LockTable, TheRoleMayArriveUnaskedAndMeetARequest) {
  World world(2);
  world.deliver_all();
  World::Ticket& a = world.want(1, kExclusive, LockRange{0}, 1);
  World::Ticket& b = world.want(1, kExclusive, LockRange{1});  // before the answer came
  world.deliver_all();
  EXPECT_TRUE(a.granted && b.granted);
  EXPECT_TRUE(world.table(1).arbitrates(LockRange{1}));
  World::Ticket& c = world.want(0, kExclusive, LockRange{1});
  world.deliver_all();
  EXPECT_FALSE(c.granted);
  world.done(b);
  world.deliver_all();
  EXPECT_TRUE(c.granted);
}

TEST(LockTable, WhenTheArbiterFailsItsRangesMoveAndWhatOthersHoldStays) {
  World world(4);
  world.deliver_all();
  constexpr LockRange kX{128};  // of node 3
  World::Ticket& writer = world.want(0, kExclusive, kX);
  world.deliver_all();
  World::Ticket& waits = world.want(1, kExclusive, kX);
  world.deliver_all();
  world.kill(2);
  world.begin_view();
  ASSERT_FALSE(world.table(0).complete());
  world.deliver_all();
  const bool moved = world.table(0).arbitrates(kX) || world.table(1).arbitrates(kX) ||
                     world.table(3).arbitrates(kX);
  EXPECT_TRUE(moved);
  EXPECT_TRUE(writer.granted);
  EXPECT_FALSE(waits.granted);
  world.done(writer);
  world.deliver_all();
  EXPECT_TRUE(waits.granted);
}

TEST(LockTable, ALockOfANodeThatIsGoneIsFreeOnlyInTheNextView) {
  World world(3);
  world.deliver_all();
  World::Ticket& dead = world.want(2, kExclusive);
  world.deliver_all();
  ASSERT_TRUE(dead.granted);
  world.kill(2);
  World::Ticket& waits = world.want(1, kExclusive);
  // Node 1 arbitrates, and knows who holds it.
  world.deliver(1, 0);
  EXPECT_FALSE(waits.granted);
  world.begin_view();
  world.deliver_all();
  EXPECT_TRUE(waits.granted);
}

TEST(LockTable, NothingIsGrantedBeforeEveryTableIsThere) {
  World world(3);
  world.deliver_all();
  World::Ticket& writer = world.want(1, kExclusive);
  world.deliver_all();
  world.kill(2);
  world.begin_view();
  World::Ticket& waits = world.want(0, kExclusive);
  EXPECT_FALSE(waits.granted);  // node 1 may hold it: its table is under way
  world.deliver_all();
  EXPECT_FALSE(waits.granted);
  EXPECT_EQ(world.table(1).held(LockRange{0}), kExclusive);
  world.done(writer);
  world.deliver_all();
  EXPECT_TRUE(waits.granted);
}

TEST(LockTable, AnAnswerToSettleFromAnEarlierViewIsIgnored) {
  TwoNodes world;
  world.settle_at_once = false;
  world.want(0, kShared);
  world.deliver_all();
  const auto [range, number] = world.settling(1).front();
  world.begin_view();
  world.deliver_all();  // asked again
  ASSERT_EQ(world.settling(1).size(), 2U);
  world.table(1).settled(range, number);
  EXPECT_EQ(world.table(1).held(LockRange{0}), kExclusive);
}

// I12 at every step of random histories; and nobody waits for ever.
class RandomLocks {
 public:
  explicit RandomLocks(std::uint64_t seed) : random_(seed), world_(2 + random_.below(3)) {
    world_.settle_at_once = false;
  }

  void run() {
    const std::size_t nodes = world_.size();
    for (int step = 0; step < 3000 && !::testing::Test::HasFailure(); ++step) {
      const std::size_t node = random_.below(nodes);
      switch (random_.below(random_.one_in(40) ? 12 : 10)) {
        case 0:
        case 1:
          if (alive(node) && world_.tickets.size() < 40) {
            world_.want(node, random_.one_in(2) ? kShared : kExclusive, some_range(),
                        static_cast<std::uint8_t>(random_.below(3)));
          }
          break;
        case 2:
        case 3:
          finish_one();
          break;
        case 4:
          settle_one(node);
          break;
        case 5:
          if (alive(node)) {
            world_.table(node).demote(some_range(), random_.one_in(2) ? kNone : kShared);
          }
          break;
        case 10:
          if (alive(node) && std::popcount(world_.alive()) > 1) {
            world_.kill(node);
            world_.begin_view();
          }
          break;
        case 11:
          if (!alive(node)) {
            world_.boot(node);
          }
          world_.begin_view();
          break;
        default:
          deliver_one();
      }
      check();
    }
    come_to_rest();
  }

 private:
  [[nodiscard]] bool alive(std::size_t node) const { return (world_.alive() >> node & 1U) != 0; }
  LockRange some_range() { return LockRange{random_.below(3) + 63}; }  // of two arbiters

  void deliver_one() {
    const std::size_t from = random_.below(world_.size());
    const std::size_t to = random_.below(world_.size());
    if (alive(from) && alive(to)) {
      world_.deliver(from, to);
    }
  }
  void finish_one() {
    std::vector<World::Ticket*> granted;
    for (World::Ticket& ticket : world_.tickets) {
      if (ticket.granted) {
        granted.push_back(&ticket);
      } else if (random_.one_in(50)) {
        world_.table(ticket.node).withdraw(ticket);
        world_.tickets.remove_if([&](const auto& each) { return &each == &ticket; });
        return;
      }
    }
    if (!granted.empty()) {
      world_.done(*granted[random_.below(granted.size())]);
    }
  }
  void settle_one(std::size_t node) {
    if (!alive(node) || world_.settling(node).empty()) {
      return;
    }
    const auto [range, number] = world_.settling(node).front();
    world_.settling(node).erase(world_.settling(node).begin());
    world_.table(node).settled(range, number);
  }
  void check() {
    for (std::uint64_t range = 63; range < 69; ++range) {
      int exclusive = 0;
      int shared = 0;
      for (std::size_t node = 0; node < world_.size(); ++node) {
        if (alive(node)) {
          exclusive += world_.table(node).held(LockRange{range}) == kExclusive ? 1 : 0;
          shared += world_.table(node).held(LockRange{range}) == kShared ? 1 : 0;
        }
      }
      ASSERT_LE(exclusive, 1) << "I12, range " << range;
      ASSERT_FALSE(exclusive == 1 && shared > 0) << "I12, range " << range;
    }
    for (const World::Ticket& ticket : world_.tickets) {
      if (ticket.granted) {
        ASSERT_GE(world_.table(ticket.node).held(ticket.range), ticket.mode) << "used, not held";
      }
    }
  }
  void come_to_rest() {
    for (int round = 0; round < 2000 && !world_.tickets.empty(); ++round) {
      world_.deliver_all();
      for (std::size_t node = 0; node < world_.size(); ++node) {
        settle_one(node);
      }
      finish_one();
      check();
    }
    ASSERT_TRUE(world_.tickets.empty()) << world_.tickets.size() << " wait for ever";
  }

  sim::Random random_;
  World world_;
};

TEST(LockTable, RandomHistoriesKeepI12AndLoseNoGrant) {
  for (const std::uint64_t seed : testing::seeds(300, 100)) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomLocks(seed).run();
    if (::testing::Test::HasFailure()) {
      std::cout << "seed " << seed << '\n';
      return;
    }
  }
}

}  // namespace
}  // namespace duet::raid
