// SharedMemoryLink: two ends in this process, and a real partner that is killed.

#include "interconnect/linux/shared_memory_link.h"

#include <gtest/gtest.h>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "inbox.h"
#include "linux_world.h"

namespace duet::interconnect::testing {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kMemoryBytes = 1U << 20U;

class SharedMemory : public ::testing::Test {
 protected:
  [[nodiscard]] SharedMemoryLinkOptions options(Node node) const {
    const bool first = node == Node::kA;
    SharedMemoryLinkOptions options;
    options.connects = first;
    options.socket_path = directory.file("socket");
    options.inbox_path = directory.file(first ? "inbox-a" : "inbox-b");
    options.partner_inbox_path = directory.file(first ? "inbox-b" : "inbox-a");
    options.partner_memory_path = directory.file(first ? "memory-b" : "memory-a");
    options.accept_volatile = true;
    return options;
  }
  std::unique_ptr<SharedMemoryLink> open(Node node, std::uint64_t incarnation,
                                         std::array<std::uint64_t, 2> pair = kPair) {
    PersistentMemory& memory = node == Node::kA ? *memory_a : *memory_b;
    return std::make_unique<SharedMemoryLink>(scheduler, memory, entropy,
                                              LinkIdentity{pair, node, Incarnation{incarnation}},
                                              options(node));
  }
  void begin() {
    memory_a = new_memory(directory.file("memory-a"), kMemoryBytes);
    memory_b = new_memory(directory.file("memory-b"), kMemoryBytes);
    a = open(Node::kA, 1);
    b = open(Node::kB, 2);
    a->attach(Channel::kLog, &heard_a);
    b->attach(Channel::kLog, &heard_b);
    ASSERT_TRUE(run([this] { return up(); }));
  }
  [[nodiscard]] bool up() const {
    return connected(a->status().state) && connected(b->status().state);
  }
  template <typename Done>
  bool run(Done done) {
    return run_until(scheduler, done);
  }
  std::uint64_t write(RemoteWindow& window, std::uint64_t offset, std::string_view text) {
    const std::array<ConstBytes, 2> parts{bytes(text).first(1), bytes(text).subspan(1)};
    return window.write(offset, parts);
  }

  TemporaryDirectory directory;
  os::EpollScheduler scheduler;
  os::SystemEntropy entropy;
  std::unique_ptr<os::MappedMemory> memory_a;
  std::unique_ptr<os::MappedMemory> memory_b;
  Heard heard_a;
  Heard heard_b;
  std::unique_ptr<SharedMemoryLink> a;
  std::unique_ptr<SharedMemoryLink> b;
};

TEST_F(SharedMemory, AWriteIsThereWhenWriteReturns) {
  begin();
  b->grant(kWindow, 4096, 8192, 5);
  Told told;
  const auto window = a->open_window(kWindow, 5, told);
  EXPECT_EQ(write(*window, 100, "remote"), 1U);
  EXPECT_EQ(window->durable(), 1U);
  EXPECT_TRUE(same_bytes(memory_b->bytes().subspan(4196, 6), bytes("remote")));
  EXPECT_EQ(told.times, 0);
}

TEST_F(SharedMemory, MessagesArriveInOrderInOneWakeUp) {
  begin();
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(a->send(Channel::kLog, bytes("message " + std::to_string(i))).ok());
  }
  ASSERT_TRUE(run([this] { return heard_b.messages.size() == 500; }));
  for (std::size_t i = 0; i < 500; ++i) {
    ASSERT_EQ(heard_b.messages[i], "message " + std::to_string(i));
  }
  EXPECT_LE(a->counters().wakeups, 1U);
  ASSERT_TRUE(b->send(Channel::kLog, bytes("and back")).ok());
  ASSERT_TRUE(run([this] { return heard_a.messages.size() == 1; }));
}

TEST_F(SharedMemory, AFullInboxIsSaidAndEmptiesAgain) {
  begin();
  const std::string large(kMessageBytesMax, 'x');
  std::size_t sent = 0;
  for (int round = 0; round < 5; ++round) {
    Status status = a->send(Channel::kLog, bytes(large));
    while (status.ok()) {
      ++sent;
      status = a->send(Channel::kLog, bytes(large));
    }
    EXPECT_EQ(status.error().code, Errc::kTryAgain);
    ASSERT_TRUE(run([&] { return heard_b.messages.size() == sent; }));
  }
  EXPECT_GT(sent, 250U);
  EXPECT_TRUE(std::ranges::all_of(heard_b.messages, [&](const auto& m) { return m == large; }));
}

TEST_F(SharedMemory, EpochsWindowsAndGrantsAreChecked) {
  begin();
  Told told;
  auto window = a->open_window(kWindow, 5, told);
  write(*window, 0, "nothing is granted");
  EXPECT_EQ(window->status().error().code, Errc::kFenced);
  window.reset();

  b->grant(kWindow, 0, 64, 6);
  window = a->open_window(kWindow, 5, told);
  write(*window, 0, "another epoch");
  EXPECT_EQ(window->status().error().code, Errc::kFenced);
  window.reset();

  window = a->open_window(kWindow, 6, told);
  write(*window, 60, "outside");
  EXPECT_EQ(window->status().error().code, Errc::kInvalid);
  window.reset();

  window = a->open_window(kWindow, 6, told);
  write(*window, 0, "inside");
  EXPECT_EQ(window->durable(), 1U);
  b->revoke(kWindow);
  write(*window, 6, "revoked");
  EXPECT_EQ(window->status().error().code, Errc::kFenced);
  EXPECT_EQ(window->durable(), 1U);
  EXPECT_EQ(memory_b->bytes()[6], std::byte{0});
  EXPECT_EQ(memory_b->bytes()[60], std::byte{0});
  EXPECT_FALSE(b->revocable());
}

TEST_F(SharedMemory, AnEndThatGoesIsNoticedAndComesBackAsAnother) {
  begin();
  b->grant(kWindow, 0, 64, 6);
  Told told;
  const auto window = a->open_window(kWindow, 6, told);
  b.reset();
  ASSERT_TRUE(run([this] { return !connected(a->status().state); }));
  EXPECT_EQ(window->status().error().code, Errc::kClosed);
  b = open(Node::kB, 3);
  ASSERT_TRUE(run([this] { return up(); }));
  EXPECT_EQ(a->status().state, LinkState::kReset);
  EXPECT_EQ(a->status().peer, Incarnation{3});
  a.reset();
  ASSERT_TRUE(run([this] { return !connected(b->status().state); }));
  a = open(Node::kA, 1);
  ASSERT_TRUE(run([this] { return up(); }));
  EXPECT_EQ(b->status().state, LinkState::kUp);  // the process it knows
}

TEST_F(SharedMemory, TheBeatOfTheApplicationIsSeen) {
  begin();
  a->beat();
  a->beat();
  EXPECT_EQ(b->status().peer_beat, 2U);
  const Instant seen = b->status().beat_changed;
  EXPECT_EQ(b->status().beat_changed, seen);
}

TEST_F(SharedMemory, AnotherPairAndTheSameNodeAreRefusedInWords) {
  memory_a = new_memory(directory.file("memory-a"), kMemoryBytes);
  memory_b = new_memory(directory.file("memory-b"), kMemoryBytes);
  a = open(Node::kA, 1, {7, 7});
  b = open(Node::kB, 2);
  ASSERT_TRUE(run([this] { return b->counters().refused_peers > 0; }));
  EXPECT_EQ(b->status().reason, "the partner belongs to another pair");
  ASSERT_TRUE(run([this] { return a->counters().refused_peers > 0; }));
  EXPECT_EQ(a->status().reason, "the partner belongs to another pair");
  EXPECT_FALSE(connected(a->status().state));
}

TEST_F(SharedMemory, APartnersMemoryThatIsNotThereIsSaid) {
  memory_a = new_memory(directory.file("memory-a"), kMemoryBytes);
  memory_b = new_memory(directory.file("elsewhere"), kMemoryBytes);
  a = open(Node::kA, 1);
  b = open(Node::kB, 2);
  ASSERT_TRUE(run([this] { return a->status().reason == "No such file or directory"; }));
}

// What a partner that went mad may leave in the ring.
TEST_F(SharedMemory, AMessageOfWhichABitTurnedEndsTheSession) {
  for (std::uint64_t at = 0; at < 32; ++at) {
    begin();
    const std::uint64_t session = b->status().session;
    std::fstream inbox(directory.file("inbox-b"), std::ios::in | std::ios::out | std::ios::binary);
    ASSERT_TRUE(inbox.good());
    ASSERT_TRUE(a->send(Channel::kLog, bytes("sixteen bytes ok")).ok());
    const auto place = static_cast<std::streamoff>(kInboxHeaderBytes + at);
    inbox.seekg(place);
    const auto old = static_cast<char>(inbox.get());
    inbox.seekp(place);
    inbox.put(static_cast<char>(old ^ 4));
    inbox.close();
    ASSERT_TRUE(run([&] { return b->counters().damaged_packets == 1; })) << at;
    ASSERT_TRUE(run([&] { return up() && b->status().session > session; }));
    EXPECT_TRUE(heard_b.messages.empty());
    a.reset();
    b.reset();
    memory_a.reset();
    memory_b.reset();
  }
}

TEST_F(SharedMemory, ARingThatMakesNoSenseIsDamage) {
  const LinkIdentity identity{kPair, Node::kB, Incarnation{3}};
  std::array<std::byte, kMessageBytesMax> message;
  for (const std::uint64_t given :
       {std::uint64_t{1}, std::uint64_t{8}, kRingBytes + 8, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    const std::string path = directory.file("inbox");
    auto inbox = Inbox::create(path, identity, 77, kMemoryBytes);
    ASSERT_TRUE(inbox.ok());
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offsetof(InboxHeader, given));
    file.write(reinterpret_cast<const char*>(&given), sizeof(given));
    file.close();
    Channel channel{};
    std::size_t size = 0;
    EXPECT_EQ(inbox.value()->take(channel, message, size), Inbox::Taken::kDamaged) << given;
  }
}

TEST_F(SharedMemory, AnInboxOfAnotherSessionIsNotTaken) {
  const LinkIdentity identity{kPair, Node::kB, Incarnation{3}};
  const std::string path = directory.file("inbox");
  const auto inbox = Inbox::create(path, identity, 77, kMemoryBytes);
  ASSERT_TRUE(inbox.ok());
  InboxHello hello;
  hello.node = 1;
  hello.pair = kPair;
  hello.incarnation = 3;
  hello.nonce = 77;
  EXPECT_TRUE(Inbox::open(path, hello).ok());
  hello.nonce = 78;
  EXPECT_EQ(Inbox::open(path, hello).error().code, Errc::kForeign);
  EXPECT_EQ(Inbox::open(directory.file("none"), hello).error().code, Errc::kIo);
  std::ofstream(directory.file("short")) << "short";
  EXPECT_FALSE(Inbox::open(directory.file("short"), hello).ok());
}

// ---- two processes

constexpr std::uint64_t kRecordBytes = 256;

// A record is its number, over and over.
std::array<std::uint64_t, kRecordBytes / 8> record_of(std::uint64_t number) {
  std::array<std::uint64_t, kRecordBytes / 8> record{};
  record.fill(number);
  return record;
}

// The partner's process: as node a writes records 1, 2, 3, ... and says how far it is; ends
// only by force.
class Writer final : public RemoteWindowUser, public ChannelUser, public Continuation {
 public:
  Writer(os::EpollScheduler& scheduler, PartnerLink& link) : scheduler_(scheduler), link_(link) {
    link_.attach(Channel::kLog, this);
  }
  void on_window() override {}
  void on_message(ConstBytes /*message*/) override {
    const bool first = window_ == nullptr;
    window_ = link_.open_window(kWindow, 9, *this);
    if (first) {
      scheduler_.post(*this);
    }
  }
  void on_link(const LinkStatus& /*status*/) override {}
  void run() override {
    for (int i = 0; i < 16 && window_->status().ok(); ++i) {
      ++number_;
      const auto record = record_of(number_);
      const ConstBytes part = std::as_bytes(std::span(record));
      window_->write(number_ % (kMemoryBytes / kRecordBytes) * kRecordBytes, std::span(&part, 1));
      const std::uint64_t durable = window_->durable();
      static_cast<void>(link_.send(Channel::kLog, bytes_of(durable)));
    }
    scheduler_.post_at(*this, scheduler_.now() + std::chrono::microseconds(100));
  }

 private:
  os::EpollScheduler& scheduler_;
  PartnerLink& link_;
  std::unique_ptr<RemoteWindow> window_;
  std::uint64_t number_ = 0;
};

[[noreturn]] void be_node_a(const SharedMemoryLinkOptions& options, const std::string& memory) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that has failed leaves nobody
  os::EpollScheduler scheduler;
  os::SystemEntropy entropy;
  const auto own =
      os::map_persistent_memory(memory, kMemoryBytes, {.create = true, .accept_volatile = true});
  if (!own.ok()) {
    _exit(3);
  }
  SharedMemoryLink link(scheduler, *own.value(), entropy,
                        {kPair, Node::kA, Incarnation{entropy.next() | 1U}}, options);
  Writer writer(scheduler, link);
  scheduler.run();
  _exit(4);
}

class Durable final : public ChannelUser {
 public:
  void on_message(ConstBytes message) override {
    newest = load<std::uint64_t>(message, 0);
    ++messages;
  }
  void on_link(const LinkStatus& /*status*/) override {}
  std::uint64_t newest = 0;
  std::uint64_t messages = 0;
};

TEST_F(SharedMemory, APartnerThatIsKilledIsNoticedAndWhatItCalledDurableIsThere) {
  memory_b = new_memory(directory.file("memory-b"), kMemoryBytes);
  b = open(Node::kB, 2);
  Durable durable;
  b->attach(Channel::kLog, &durable);
  for (std::uint64_t round = 1; round <= 5; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      be_node_a(options(Node::kA), directory.file("memory-a"));
    }
    // On a machine that gives them no time they may lose each other, and what was sent.
    std::uint64_t told = b->status().session;
    durable.newest = durable.messages = 0;
    const auto enough = [&] {
      if (connected(b->status().state) && b->status().session != told) {
        told = b->status().session;
        b->grant(kWindow, 0, kMemoryBytes, 9);
        EXPECT_TRUE(b->send(Channel::kLog, bytes("go")).ok());
      }
      return durable.messages > 200 * round;
    };
    ASSERT_TRUE(run(enough));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    const Instant killed = scheduler.now();
    ASSERT_TRUE(run([this] { return !connected(b->status().state); }));
    EXPECT_LT(scheduler.now() - killed, std::chrono::seconds(5));
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(b->status().state, LinkState::kLost);
    EXPECT_GE(b->status().session, round);

    // Whole up to where it said, then at most one that is torn.
    const std::uint64_t places = kMemoryBytes / kRecordBytes;
    const std::uint64_t first = durable.newest < places ? 1 : durable.newest - places + 18;
    for (std::uint64_t number = first; number <= durable.newest; ++number) {
      const auto record = record_of(number);
      ASSERT_TRUE(
          same_bytes(memory_b->bytes().subspan(number % places * kRecordBytes, kRecordBytes),
                     std::as_bytes(std::span(record))))
          << number << " of " << durable.newest;
    }
  }
  EXPECT_GE(b->counters().resets, 4U);
}

TEST_F(SharedMemory, AStoppedPartnerStaysConnectedAndDoesNotSlowTheWrites) {
  memory_a = new_memory(directory.file("memory-a"), kMemoryBytes);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    os::EpollScheduler own;
    const auto memory = new_memory(directory.file("memory-b"), kMemoryBytes);
    SharedMemoryLink link(own, *memory, entropy, {kPair, Node::kB, Incarnation{5}},
                          options(Node::kB));
    link.grant(kWindow, 0, kMemoryBytes, 9);
    const bool connected_now = run_until(own, [&] { return connected(link.status().state); });
    link.beat();
    const char byte = connected_now ? 1 : 0;
    if (::write(ready[1], &byte, 1) != 1) {
      _exit(5);
    }
    own.run();
    _exit(4);
  }
  a = open(Node::kA, 1);
  ASSERT_TRUE(run([this] { return connected(a->status().state); }));
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 1);
  ASSERT_EQ(kill(child, SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  const LinkStatus before = a->status();
  EXPECT_EQ(before.peer_beat, 1U);
  Told told;
  const auto window = a->open_window(kWindow, 9, told);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    write(*window, i * 64, "while it is stopped");
  }
  EXPECT_EQ(window->durable(), 1000U);
  EXPECT_TRUE(connected(a->status().state));
  EXPECT_EQ(a->status().beat_changed, before.beat_changed);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(run([this] { return !connected(a->status().state); }));
  ::close(ready[0]);
  ::close(ready[1]);
}

// An idle link does nothing at all.
TEST_F(SharedMemory, AnIdleLinkUsesNoProcessor) {
  begin();
  ASSERT_TRUE(a->send(Channel::kLog, bytes("once")).ok());
  ASSERT_TRUE(run([this] { return heard_b.messages.size() == 1; }));
  struct Stop final : Continuation {
    explicit Stop(os::EpollScheduler& world) : scheduler(world) {}
    void run() override { scheduler.stop(); }
    os::EpollScheduler& scheduler;
  } stop(scheduler);
  scheduler.post_at(stop, scheduler.now() + milliseconds(300));
  const std::uint64_t packets = a->counters().packets_sent + b->counters().packets_sent;
  rusage before{};
  rusage after{};
  ASSERT_EQ(getrusage(RUSAGE_SELF, &before), 0);
  scheduler.run();
  ASSERT_EQ(getrusage(RUSAGE_SELF, &after), 0);
  EXPECT_EQ(a->counters().packets_sent + b->counters().packets_sent, packets);
  EXPECT_LE(after.ru_nvcsw - before.ru_nvcsw, 5) << "it was woken again and again";
}

}  // namespace
}  // namespace duet::interconnect::testing
