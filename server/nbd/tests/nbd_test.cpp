#include <gtest/gtest.h>

#include "nbd_client.h"

namespace duet::nbd::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kBlocks = 16384;  // 64 MiB
constexpr std::uint64_t kDiskBytes = kBlocks * kBlockBytes;
// HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_WRITE_ZEROES, CAN_MULTI_CONN
constexpr std::uint16_t kFlags = 0x14D;
constexpr std::uint16_t kFlagsReadOnly = 0x10F;

class Nbd : public testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    std::vector<Export> exports;
    exports.push_back({"tank/host", {rule("10.1.2.8", false), rule("10.1.2.0/24", true)}, [this] {
                         return here ? &disk : nullptr;
                       }});
    exports.push_back({"tank/other", {rule("10.1.2.9", true)}, [this] { return &disk; }});
    server = std::make_unique<Server>(scheduler, std::move(exports), &gate, options);
  }
  std::unique_ptr<NbdClient> connect(std::uint8_t address = 7) {
    if (server == nullptr) {
      start();
    }
    return std::make_unique<NbdClient>(scheduler, *server, address);
  }
  // In the transmission phase, all that was said read.
  std::unique_ptr<NbdClient> attach(std::uint8_t address = 7, std::string_view name = "tank/host") {
    std::unique_ptr<NbdClient> client = connect(address);
    client->send(Wire().u32(3).add(option(7, named(name, {3}))));
    run();
    EXPECT_FALSE(client->ended());
    client->news();
    return client;
  }
  void run(Duration time = 300ms) { ASSERT_TRUE(scheduler.run_for(time, 50'000'000)); }
  std::vector<std::byte> ask(NbdClient& client, const Wire& bytes) {
    client.send(bytes);
    run();
    return client.news();
  }
  ~Nbd() override {
    disk.release();
    gate.set(true);
    if (server != nullptr) {
      server->cut();
      EXPECT_TRUE(scheduler.run_for(300ms));
      EXPECT_EQ(server->counters().connections, 0U);
      EXPECT_EQ(server->counters().buffer_bytes, 0U);
    }
  }

  sim::SimScheduler scheduler{
      static_cast<std::uint64_t>(testing::UnitTest::GetInstance()->random_seed()) + 1};
  TestDisk disk{scheduler, kBlocks};
  Gate gate{scheduler};
  bool here = true;
  std::unique_ptr<Server> server;
};

const Wire& greeting() {
  static const Wire kGreeting = Wire().text("NBDMAGICIHAVEOPT").u16(3);
  return kGreeting;
}
Wire about(std::uint16_t flags) { return Wire().u16(0).u64(kDiskBytes).u16(flags); }
Wire sizes() { return Wire().u16(3).u32(4096).u32(4096).u32(32U << 20U); }

TEST_F(Nbd, TheHandshakeIsTheProtocolsToTheByte) {
  auto client = connect();
  run();
  EXPECT_EQ(client->news(), greeting().bytes());
  // The client speaks fixed newstyle and wants no zeros; then it lists.
  EXPECT_EQ(ask(*client, Wire().u32(3).add(option(3))),
            Wire()
                .add(option_reply(3, 2, Wire().u32(9).text("tank/host")))
                .add(option_reply(3, 1))
                .bytes());
  EXPECT_EQ(ask(*client, option(6, named("tank/host", {3, 1}))),
            Wire()
                .add(option_reply(6, 3, about(kFlags)))
                .add(option_reply(6, 3, sizes()))
                .add(option_reply(6, 1))
                .bytes());
  EXPECT_EQ(ask(*client, option(7, named("tank/host"))), Wire()
                                                             .add(option_reply(7, 3, about(kFlags)))
                                                             .add(option_reply(7, 3, sizes()))
                                                             .add(option_reply(7, 1))
                                                             .bytes());
  EXPECT_EQ(ask(*client, request(0, 77, 0, 4096)), Wire().add(reply(77, 0)).fill(4096, 0).bytes());
}

TEST_F(Nbd, TheOldWayToChooseAnExportWorksWithAndWithoutZeros) {
  auto terse = connect();
  terse->send(Wire().u32(3).add(option(1, Wire().text("tank/host"))));
  run();
  EXPECT_EQ(terse->news(), Wire().add(greeting()).u64(kDiskBytes).u16(kFlags).bytes());
  auto wordy = connect();
  wordy->send(Wire().u32(1).add(option(1, Wire().text("tank/host"))));
  run();
  EXPECT_EQ(wordy->news(), Wire().add(greeting()).u64(kDiskBytes).u16(kFlags).fill(124, 0).bytes());
  EXPECT_EQ(ask(*wordy, request(3, 5, 0, 0)), reply(5, 0).bytes());
  auto wrong = connect();
  wrong->send(Wire().u32(3).add(option(1, Wire().text("tank/none"))));
  run();
  EXPECT_TRUE(wrong->ended());
}

TEST_F(Nbd, UnknownOptionsAreRefusedPolitelyAndHagglingGoesOn) {
  auto client = connect();
  client->send(Wire().u32(1));
  run();
  client->news();
  for (const std::uint32_t number : {5U, 8U, 10U, 11U, 99U}) {
    const std::vector<std::byte> answer = ask(*client, option(number, Wire().u32(0)));
    ASSERT_GE(answer.size(), kOptionReplyBytes) << number;
    EXPECT_EQ(load_big<std::uint32_t>(answer, 8), number);
    EXPECT_EQ(load_big<std::uint32_t>(answer, 12), 0x80000001U);
  }
  // Data that are too long, or make no sense; a name that is not there.
  const auto type = [&](const Wire& asked) {
    const std::vector<std::byte> answer = ask(*client, asked);
    return answer.size() < kOptionReplyBytes ? 0 : load_big<std::uint32_t>(answer, 12);
  };
  EXPECT_EQ(type(option(7, Wire().fill(100'000, 'x'))), 0x80000009U);
  EXPECT_EQ(type(option(7, Wire().u32(5).text("tank"))), 0x80000003U);
  EXPECT_EQ(type(option(7, Wire().u32(0xFFFFFFFF).u16(0))), 0x80000003U);
  EXPECT_EQ(type(option(7, Wire().u32(4).text("tank").u16(3).u16(0))), 0x80000003U);
  EXPECT_EQ(type(option(3, Wire().u16(3))), 0x80000003U);
  EXPECT_EQ(type(option(7, named("tank/none"))), 0x80000006U);
  EXPECT_EQ(type(option(7, named(""))), 0x80000006U);
  EXPECT_EQ(ask(*client, option(2)), option_reply(2, 1).bytes());
  EXPECT_TRUE(client->ended());
}

TEST_F(Nbd, WhatIsWrittenIsReadThroughAnotherConnection) {
  auto one = attach();
  auto two = attach();
  EXPECT_EQ(ask(*one, Wire().add(request(1, 1, 8192, 8192)).fill(4096, 'a').fill(4096, 'b')),
            reply(1, 0).bytes());
  EXPECT_EQ(ask(*two, request(0, 2, 4096, 12288)),
            Wire().add(reply(2, 0)).fill(4096, 0).fill(4096, 'a').fill(4096, 'b').bytes());
  EXPECT_EQ(ask(*one, request(6, 3, 8192, 4096)), reply(3, 0).bytes());
  EXPECT_EQ(ask(*two, request(0, 4, 8192, 8192)),
            Wire().add(reply(4, 0)).fill(4096, 0).fill(4096, 'b').bytes());
  const ExportCounters& counted = server->counters_of(0);
  EXPECT_EQ(counted.reads, 2U);
  EXPECT_EQ(counted.writes, 1U);
  EXPECT_EQ(counted.zeroes, 1U);
  EXPECT_EQ(counted.read_bytes, 20480U);
  EXPECT_EQ(counted.written_bytes, 12288U);
  EXPECT_EQ(server->connections().size(), 2U);
  EXPECT_EQ(server->connections()[0].client, "10.1.2.7");
  EXPECT_EQ(server->connections()[0].name, "tank/host");
}

TEST_F(Nbd, WhereAnswersDoNotLastConnectionsAreNotAsOneAndFuaFlushes) {
  std::vector<Export> exports;
  exports.push_back({"tank/host", {rule("10.1.2.0/24", true)}, [this] { return &disk; }, true});
  server = std::make_unique<Server>(scheduler, std::move(exports), &gate);
  auto client = connect();
  client->send(Wire().u32(3).add(option(1, Wire().text("tank/host"))));
  run();
  constexpr std::uint16_t kFlagsAlone = kFlags & ~0x100;
  EXPECT_EQ(client->news(), Wire().add(greeting()).u64(kDiskBytes).u16(kFlagsAlone).bytes());
  EXPECT_EQ(ask(*client, request(1, 1, 0, 4096).fill(4096, 'a')), reply(1, 0).bytes());
  EXPECT_EQ(disk.flushes, 0);
  EXPECT_EQ(ask(*client, request(1, 2, 0, 4096, 1).fill(4096, 'b')), reply(2, 0).bytes());
  EXPECT_EQ(disk.flushes, 1);
  EXPECT_EQ(ask(*client, request(6, 3, 0, 8192, 1)), reply(3, 0).bytes());
  EXPECT_EQ(disk.flushes, 2);
  const Wire lots = Wire().fill(2U << 20U, 'c');
  EXPECT_EQ(ask(*client, request(1, 4, 0, 2U << 20U, 1).add(lots)), reply(4, 0).bytes());
  EXPECT_EQ(disk.flushes, 3);
}

TEST_F(Nbd, WhereAnswersLastFuaAsksForNothingMore) {
  auto client = attach();
  EXPECT_EQ(ask(*client, request(1, 2, 0, 4096, 1).fill(4096, 'b')), reply(2, 0).bytes());
  EXPECT_EQ(disk.flushes, 0);
}

TEST_F(Nbd, RequestsAboveOnePieceGoPieceByPiece) {
  auto client = attach();
  const std::uint32_t bytes = (32U << 20U);
  Wire data;
  for (char c = 0; c < 32; ++c) {
    data.fill(1U << 20U, static_cast<char>('A' + c));
  }
  // A small one behind it is not mixed with it.
  client->send(Wire().add(request(1, 1, 4096, bytes)).add(data).add(request(0, 2, 0, 4096)));
  run(30s);
  std::vector<std::byte> got = client->news();
  EXPECT_EQ(got.size(), 2 * kReplyBytes + 4096);
  EXPECT_LE(server->counters().buffer_bytes, 2U << 20U);
  client->send(request(0, 3, 4096, bytes));
  run(30s);
  EXPECT_EQ(client->news(), Wire().add(reply(3, 0)).add(data).bytes());
  client->send(request(6, 4, 0, 48U << 20U));
  run(30s);
  EXPECT_EQ(client->news(), reply(4, 0).bytes());
  EXPECT_EQ(ask(*client, request(0, 5, 47U << 20U, 4096)),
            Wire().add(reply(5, 0)).fill(4096, 0).bytes());
}

TEST_F(Nbd, WhatCannotBeDoneIsRefusedAndTheDataBehindItPassedOver) {
  auto client = attach();
  const std::uint64_t end = kDiskBytes;
  struct Case {
    std::uint16_t command;
    std::uint64_t offset;
    std::uint32_t bytes;
    std::uint16_t flags;
    std::uint32_t error;
  };
  const Case cases[] = {
      {0, 0, 512, 0, 22},     // no whole block
      {0, 512, 4096, 0, 22},  //
      {1, 512, 4096, 0, 22},  //
      {1, 0, 100, 0, 22},     //
      {0, 0, 0, 0, 22},       // nothing
      {0, end, 4096, 0, 22},  // behind the end
      {0, end - 4096, 8192, 0, 22},
      {0, ~std::uint64_t{4095}, 8192, 0, 22},
      {1, end, 4096, 0, 28},
      {1, end - 4096, 8192, 0, 28},
      {6, end - 4096, 8192, 0, 28},
      {0, 0, 33U << 20U, 0, 22},  // too much at once
      {4, 0, 4096, 0, 22},        // TRIM is not offered
      {7, 0, 4096, 0, 22},        // nor is BLOCK_STATUS
      {77, 0, 4096, 0, 22},
      {3, 4096, 0, 0, 22},  // FLUSH has no place
      {3, 0, 4096, 0, 22},
      {0, 0, 4096, 2, 22},   // NO_HOLE is WRITE_ZEROES' alone
      {6, 0, 4096, 16, 22},  // FAST_ZERO was not offered
  };
  std::uint64_t cookie = 0;
  for (const Case& each : cases) {
    Wire asked = request(each.command, ++cookie, each.offset, each.bytes, each.flags);
    if (each.command == 1) {
      asked.fill(each.bytes, 'x');
    }
    EXPECT_EQ(ask(*client, asked), reply(cookie, each.error).bytes()) << cookie;
  }
  EXPECT_EQ(server->counters_of(0).errors, cookie);
  EXPECT_EQ(ask(*client, request(0, 99, 0, 4096)), Wire().add(reply(99, 0)).fill(4096, 0).bytes());
}

TEST_F(Nbd, WhoMayOnlyReadIsToldSoAndCannotWrite) {
  auto client = connect(8);
  client->send(Wire().u32(3).add(option(7, named("tank/host"))));
  run();
  EXPECT_EQ(client->news(), Wire()
                                .add(greeting())
                                .add(option_reply(7, 3, about(kFlagsReadOnly)))
                                .add(option_reply(7, 3, sizes()))
                                .add(option_reply(7, 1))
                                .bytes());
  EXPECT_EQ(ask(*client, Wire().add(request(1, 1, 0, 4096)).fill(4096, 'x')), reply(1, 1).bytes());
  EXPECT_EQ(ask(*client, request(6, 2, 0, 4096)), reply(2, 1).bytes());
  EXPECT_EQ(ask(*client, request(3, 3, 0, 0)), reply(3, 0).bytes());
  EXPECT_EQ(ask(*client, request(0, 4, 0, 4096)), Wire().add(reply(4, 0)).fill(4096, 0).bytes());
}

TEST_F(Nbd, StrangersGetNoByteAndClientsSeeTheirOwnExportsOnly) {
  start();
  auto [mine, theirs] = sim::SimStream::make_pair(scheduler);
  const filer::Address stranger{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 1, 3, 7};
  EXPECT_FALSE(server->accept(std::move(theirs), stranger, 1));
  EXPECT_EQ(server->counters().strangers, 1U);
  auto seven = connect(7);
  seven->send(Wire().u32(3).add(option(7, named("tank/other"))));
  auto nine = connect(9);
  nine->send(Wire().u32(3).add(option(3)));
  run();
  EXPECT_EQ(load_big<std::uint32_t>(seven->news(), kGreetingBytes + 12), 0x80000006U);
  EXPECT_EQ(nine->news().size(), kGreetingBytes + 3 * kOptionReplyBytes + 4 + 9 + 4 + 10);
}

TEST_F(Nbd, AFlushIsAnsweredWhenTheDiskHasFlushedAndFuaNeedsNone) {
  auto client = attach();
  ask(*client, Wire().add(request(1, 1, 0, 4096, 1)).fill(4096, 'x'));
  EXPECT_EQ(disk.flushes, 0);
  disk.held = true;
  EXPECT_TRUE(ask(*client, request(3, 2, 0, 0)).empty());
  disk.release();
  run();
  EXPECT_EQ(client->news(), reply(2, 0).bytes());
  EXPECT_EQ(disk.flushes, 2);  // held, and done
}

TEST_F(Nbd, RepliesWaitForTheLeaseAndWhatWasAskedMeanwhileToo) {
  auto client = attach();
  gate.set(false);
  EXPECT_TRUE(
      ask(*client,
          Wire().add(request(0, 1, 0, 4096)).add(request(3, 2, 0, 0)).add(request(0, 3, 0, 512)))
          .empty());
  gate.set(true);
  run();
  EXPECT_EQ(client->news().size(), 3 * kReplyBytes + 4096);
}

TEST_F(Nbd, AnEndedGroupEndsTheConnectionAndAnswersNothing) {
  for (const Errc code : {Errc::kFenced, Errc::kClosed}) {
    auto client = attach();
    disk.fails = Error{code, "shut out"};
    EXPECT_TRUE(ask(*client, Wire().add(request(1, 1, 0, 4096)).fill(4096, 'x')).empty());
    EXPECT_TRUE(client->ended());
    disk.fails.reset();
  }
  auto client = attach();
  here = false;
  EXPECT_TRUE(ask(*client, request(0, 1, 0, 4096)).empty());
  EXPECT_TRUE(client->ended());
  auto later = connect();
  later->send(Wire().u32(3).add(option(7, named("tank/host"))));
  run();
  EXPECT_EQ(load_big<std::uint32_t>(later->news(), kGreetingBytes + 12), 0x80000007U);
}

TEST_F(Nbd, AFailingDiskIsAnErrorOfTheRequestAlone) {
  auto client = attach();
  disk.fails = Error{Errc::kIo, "broken"};
  EXPECT_EQ(ask(*client, request(0, 1, 0, 4096)), reply(1, 5).bytes());
  EXPECT_EQ(ask(*client, Wire().add(request(1, 2, 0, 4096)).fill(4096, 'x')), reply(2, 5).bytes());
  EXPECT_EQ(ask(*client, Wire().add(request(1, 3, 0, 2U << 20U)).fill(2U << 20U, 'x')),
            reply(3, 5).bytes());
  EXPECT_EQ(ask(*client, request(3, 4, 0, 0)), reply(4, 5).bytes());
  // In the middle of a long read the only way to say so is to end.
  disk.reads_well = 3;
  const std::vector<std::byte> got = ask(*client, request(0, 5, 0, 8U << 20U));
  EXPECT_LT(got.size(), 8U << 20U);
  EXPECT_TRUE(client->ended());
}

TEST_F(Nbd, CutEndsEverythingUnanswered) {
  auto client = attach();
  disk.held = true;
  ask(*client, request(0, 1, 0, 4096));
  server->cut();
  run();
  EXPECT_TRUE(client->ended());
  disk.release();
  run();
  EXPECT_TRUE(client->news().empty());
}

TEST_F(Nbd, DrainingAnswersWhatWasAskedAndTakesNothingMore) {
  auto busy = attach();
  auto idle = attach();
  disk.held = true;
  ask(*busy, request(0, 1, 0, 4096));
  TaskScope scope(scheduler);
  scope.spawn(server->drain());
  run();
  EXPECT_TRUE(idle->ended());
  EXPECT_FALSE(busy->ended());
  EXPECT_FALSE(scope.idle());
  EXPECT_FALSE(connect()->accepted());
  disk.release();
  run();
  EXPECT_EQ(busy->news(), Wire().add(reply(1, 0)).fill(4096, 0).bytes());
  EXPECT_TRUE(busy->ended());
  EXPECT_TRUE(scope.idle());
}

TEST_F(Nbd, AGoodbyeIsHeardAfterWhatWasAskedBefore) {
  auto client = attach();
  client->send(Wire().add(request(0, 1, 0, 4096)).add(request(2, 0, 0, 0)));
  run();
  EXPECT_EQ(client->news(), Wire().add(reply(1, 0)).fill(4096, 0).bytes());
  EXPECT_TRUE(client->ended());
}

TEST_F(Nbd, AConnectionHasABoundedNumberOfRequestsUnderWay) {
  start({.requests_per_connection = 4});
  auto client = attach();
  disk.held = true;
  for (std::uint64_t i = 0; i < 9; ++i) {
    client->send(request(0, i, 0, 4096));
  }
  run();
  EXPECT_EQ(disk.waiting(), 4U);
  disk.release();
  run();
  EXPECT_EQ(client->news().size(), 9 * (kReplyBytes + 4096));
}

TEST_F(Nbd, MemoryIsBoundedForAConnectionAndForAll) {
  start({.bytes_per_connection = 64 << 10, .bytes_max = 96 << 10, .piece_bytes = 32 << 10});
  auto one = attach();
  auto two = attach();
  disk.held = true;
  for (std::uint64_t i = 0; i < 6; ++i) {
    one->send(Wire().add(request(1, i, 0, 32 << 10)).fill(32 << 10, 'x'));
    two->send(request(0, i, 0, 32 << 10));
  }
  run();
  EXPECT_LE(server->counters().buffer_bytes, 96U << 10U);
  EXPECT_EQ(disk.waiting(), 3U);
  disk.release();
  run(2s);
  EXPECT_EQ(one->news().size(), 6 * kReplyBytes);
  EXPECT_EQ(two->news().size(), 6 * (kReplyBytes + (32 << 10)));
}

TEST_F(Nbd, ConnectionsAreBoundedInAllAndOfOneClient) {
  start({.connections_max = 3, .connections_per_client_max = 2});
  auto one = connect(7);
  auto two = connect(7);
  EXPECT_FALSE(connect(7)->accepted());
  auto three = connect(8);
  EXPECT_TRUE(three->accepted());
  EXPECT_FALSE(connect(9)->accepted());
  EXPECT_EQ(server->counters().refused, 2U);
  one->close();
  run();
  EXPECT_TRUE(connect(9)->accepted());
}

TEST_F(Nbd, WhoStallsIsLetGoAndWhoIsIdleIsNot) {
  auto silent = connect();  // in the handshake
  auto idle = attach();     // between requests
  auto half = attach();     // in a header
  half->send(Wire().u32(0x25609513).u16(0));
  auto short_of_data = attach();
  short_of_data->send(Wire().add(request(1, 1, 0, 8192)).fill(5000, 'x'));
  run(11s);
  EXPECT_TRUE(silent->ended());
  EXPECT_FALSE(half->ended());
  run(25s);
  EXPECT_TRUE(half->ended());
  EXPECT_TRUE(short_of_data->ended());
  EXPECT_EQ(server->counters().timed_out, 3U);
  EXPECT_FALSE(idle->ended());
  EXPECT_EQ(ask(*idle, request(3, 1, 0, 0)), reply(1, 0).bytes());
}

TEST_F(Nbd, TheTimeThatTheDiskTakesIsNotThePeers) {
  start({.requests_per_connection = 1});
  auto client = attach();
  disk.held = true;
  client->send(Wire().add(request(0, 1, 0, 4096)).add(request(0, 2, 0, 4096)));
  run(100s);
  EXPECT_FALSE(client->ended());
  disk.release();
  run();
  EXPECT_EQ(client->news().size(), 2 * (kReplyBytes + 4096));
}

}  // namespace
}  // namespace duet::nbd::test
