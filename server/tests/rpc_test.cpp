// RPC: exact requests in, exact replies out, over simulated connections.

#include <gtest/gtest.h>

#include "filer/request.h"
#include "test_client.h"

namespace duet::server::test {
namespace {

// Program 77, versions 2 to 4: procedure 0 says nothing, 1 echoes, 2 fails as told, 3 waits.
class EchoProgram final : public Program {
 public:
  explicit EchoProgram(Scheduler& scheduler) : gate(scheduler) {}
  std::uint32_t number() const override { return 77; }
  std::uint32_t version_low() const override { return 2; }
  std::uint32_t version_high() const override { return 4; }
  std::uint32_t procedure_count(std::uint32_t /*version*/) const override { return 4; }
  std::size_t reply_bytes(const Call& call) const override {
    return call.procedure == 3 ? cost : 0;
  }
  ProcedureStatistics* statistics(std::uint32_t procedure) override { return &counts[procedure]; }

  Task<AcceptStatus> serve(Call& call) override {
    caller = call.caller;
    ++running;
    most_running = std::max(most_running, running);
    AcceptStatus status = AcceptStatus::kSuccess;
    if (call.procedure == 1) {
      const std::uint32_t bytes = call.arguments.data(call.data);
      call.reply.u32(bytes);
      for (const ConstBytes piece : call.data) {
        call.reply.gather(piece);
      }
      call.reply.pad(bytes);
    } else if (call.procedure == 2) {
      status = static_cast<AcceptStatus>(call.arguments.u32());
      call.reply.u32(0xDEAD);  // must not be seen
    }
    while (call.procedure == 3 && !open) {
      co_await gate.wait();
    }
    --running;
    ++done;
    if (!call.arguments.ok()) {
      co_return AcceptStatus::kGarbageArguments;
    }
    co_return status;
  }

  WaitList gate;
  bool open = false;
  std::size_t cost = 0;
  std::uint32_t running = 0;
  std::uint32_t most_running = 0;
  std::uint32_t done = 0;
  filer::Caller caller;
  std::array<ProcedureStatistics, 4> counts{};
};

class RpcTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  void rest() { EXPECT_TRUE(scheduler_.run(10'000'000)); }
  // What is answered to `request` alone.
  std::vector<std::byte> exchange(const Wire& request) {
    TestClient client(scheduler_, service_);
    client.send(request);
    rest();
    ended_ = client.ended();
    return client.received();
  }
  void open_gate() {
    program_.open = true;
    program_.gate.wake_all();
  }

  sim::SimScheduler scheduler_{GetParam()};
  EchoProgram program_{scheduler_};
  ServiceOptions options_;
  Service service_{scheduler_, {&program_}, options_};
  bool ended_ = false;
};

INSTANTIATE_TEST_SUITE_P(Seeds, RpcTest, ::testing::Range<std::uint64_t>(1, 9));

TEST_P(RpcTest, AnswersACall) {
  const Wire request = record(call_to(5, 77, 2, 1, Wire().text("hello")));
  EXPECT_EQ(exchange(request), success(5, Wire().text("hello")).bytes());
  EXPECT_FALSE(ended_);
}

TEST_P(RpcTest, AnswersACallInFragmentsOfAnySize) {
  const Wire body = call_to(5, 77, 2, 1, Wire().text("hello"));
  for (std::size_t bytes = 1; bytes <= body.size(); ++bytes) {
    EXPECT_EQ(exchange(fragmented(body, bytes)), success(5, Wire().text("hello")).bytes());
  }
}

TEST_P(RpcTest, RefusesAnotherRpcVersion) {
  const Wire request = record(Wire().u32(9).u32(0).u32(3).u32(77).u32(2).u32(0));
  const Wire reply = record(Wire().u32(9).u32(1).u32(1).u32(0).u32(2).u32(2));
  EXPECT_EQ(exchange(request), reply.bytes());
}

TEST_P(RpcTest, SaysThatAProgramIsNotHere) {
  EXPECT_EQ(exchange(record(call_to(5, 78, 2, 0))), accepted(5, 1).bytes());
}

TEST_P(RpcTest, SaysWhichVersionsAreHere) {
  for (const std::uint32_t version : {1U, 5U, 0U}) {
    EXPECT_EQ(exchange(record(call_to(5, 77, version, 0))),
              accepted(5, 2, Wire().u32(2).u32(4)).bytes());
  }
}

TEST_P(RpcTest, SaysThatAProcedureIsNotHere) {
  EXPECT_EQ(exchange(record(call_to(5, 77, 2, 4))), accepted(5, 3).bytes());
}

TEST_P(RpcTest, SaysThatArgumentsAreGarbageAndNothingElse) {
  EXPECT_EQ(exchange(record(call_to(5, 77, 2, 1, Wire().u32(100)))), accepted(5, 4).bytes());
  EXPECT_EQ(program_.counts[1].errors, 1U);
}

TEST_P(RpcTest, AFailedProgramIsASystemErrorWithoutItsResults) {
  EXPECT_EQ(exchange(record(call_to(5, 77, 2, 2, Wire().u32(5)))), accepted(5, 5).bytes());
}

TEST_P(RpcTest, NoReplyEndsTheConnection) {
  EXPECT_TRUE(exchange(record(call_to(5, 77, 2, 2, Wire().u32(0xFFFF'FFFFU)))).empty());
  EXPECT_TRUE(ended_);
}

Wire denied(std::uint32_t xid, std::uint32_t why) {
  return record(Wire().u32(xid).u32(1).u32(1).u32(1).u32(why));
}
Wire with_credentials(const Wire& credentials) {
  return record(call_to(5, 77, 2, 0, {}, credentials));
}

TEST_P(RpcTest, PassesOnWhoAsks) {
  exchange(with_credentials(sys_auth(1000, 100, {1, 2, 3})));
  EXPECT_EQ(program_.caller.credentials.uid, 1000U);
  EXPECT_EQ(program_.caller.credentials.gid, 100U);
  EXPECT_EQ(program_.caller.credentials.group_count, 3U);
  EXPECT_EQ(program_.caller.credentials.groups[2], 3U);
  EXPECT_FALSE(program_.caller.credentials.anonymous);
  EXPECT_EQ(program_.caller.address, test_address());
  EXPECT_EQ(program_.caller.port, 999);
  EXPECT_EQ(program_.caller.xid, 5U);
  exchange(with_credentials(no_auth()));
  EXPECT_TRUE(program_.caller.credentials.anonymous);
}

TEST_P(RpcTest, TakesSixteenGroupsAndTheLongestMachineName) {
  const Wire sixteen = sys_auth(1, 1, std::vector<std::uint32_t>(16, 3), std::string(255, 'm'));
  EXPECT_EQ(exchange(with_credentials(sixteen)), success(5).bytes());
}

TEST_P(RpcTest, RefusesMalformedCredentials) {
  const Wire seventeen = sys_auth(1, 1, std::vector<std::uint32_t>(17, 3));
  EXPECT_EQ(exchange(with_credentials(seventeen)), denied(5, 1).bytes());
  const Wire name = sys_auth(1, 1, {}, std::string(256, 'm'));
  EXPECT_EQ(exchange(with_credentials(name)), denied(5, 1).bytes());
  const Wire cut = Wire().u32(1).u32(8).u64(0);
  EXPECT_EQ(exchange(with_credentials(cut)), denied(5, 1).bytes());
  const Wire long_body = Wire().u32(1).text(std::string(404, 'x'));
  EXPECT_EQ(exchange(with_credentials(long_body)), denied(5, 1).bytes());
}

TEST_P(RpcTest, RefusesFlavorsItDoesNotSpeak) {
  EXPECT_EQ(exchange(with_credentials(Wire().u32(6).text("gss"))), denied(5, 5).bytes());
  EXPECT_EQ(exchange(with_credentials(Wire().u32(2).text("short"))), denied(5, 2).bytes());
}

TEST_P(RpcTest, RefusesAVerifierThatIsTooLong) {
  const Wire body =
      Wire().u32(5).u32(0).u32(2).u32(77).u32(2).u32(0).add(no_auth()).u32(0).u32(401);
  EXPECT_EQ(exchange(record(body)), denied(5, 3).bytes());
}

TEST_P(RpcTest, ClosesOnWhatIsNoCall) {
  const Wire reply = success(5);
  for (const Wire& stranger : {reply, record(Wire().u32(1)), record(Wire()),
                               Wire().raw("GET / HTTP/1.1\r\n\r\n"), Wire().u32(0xFFFF'FFFFU)}) {
    EXPECT_TRUE(exchange(stranger).empty());
    EXPECT_TRUE(ended_);
  }
  EXPECT_EQ(service_.statistics().records_refused, 5U);
}

TEST_P(RpcTest, AnswersAsRequestsFinishNotAsTheyCame) {
  TestClient client(scheduler_, service_);
  client.send(record(call_to(1, 77, 2, 3)));
  client.send(record(call_to(2, 77, 2, 1, Wire().text("quick"))));
  rest();
  EXPECT_EQ(client.received(), success(2, Wire().text("quick")).bytes());
  open_gate();
  rest();
  EXPECT_EQ(client.received(),
            Wire().add(success(2, Wire().text("quick"))).add(success(1)).bytes());
}

TEST_P(RpcTest, AnswersEveryOneOfManyPipelinedCalls) {
  TestClient client(scheduler_, service_);
  Wire calls;
  std::vector<std::vector<std::byte>> expected;
  for (std::uint32_t xid = 0; xid < 300; ++xid) {
    const Wire text = Wire().text(std::string(xid * 37 % 9000, static_cast<char>('a' + xid % 26)));
    calls.add(record(call_to(xid, 77, 3, 1, text)));
    expected.push_back(success(xid, text).bytes());
  }
  client.send(calls);
  rest();
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(client.replies(), expected);
  EXPECT_EQ(service_.statistics().receive_bytes, 0U);
}

TEST_P(RpcTest, StopsReadingWhenTooManyRequestsWait) {
  TestClient client(scheduler_, service_);
  Wire calls;
  for (std::uint32_t xid = 0; xid < 500; ++xid) {
    calls.add(record(call_to(xid, 77, 2, 3)));
  }
  client.send(calls);
  rest();
  EXPECT_EQ(program_.most_running, options_.requests_per_connection);
  open_gate();
  rest();
  EXPECT_EQ(client.replies().size(), 500U);
}

TEST_P(RpcTest, StopsReadingWhenRequestsHoldTooMuchMemory) {
  TestClient client(scheduler_, service_);
  const std::string big(300'000, 'b');
  Wire calls;
  for (std::uint32_t xid = 0; xid < 30; ++xid) {
    calls.add(record(call_to(xid, 77, 2, 3, Wire().text(big))));
  }
  client.send(calls);
  rest();
  EXPECT_LE(service_.statistics().receive_bytes, 2U << 20U);
  EXPECT_GT(program_.running, 2U);
  open_gate();
  rest();
  EXPECT_EQ(client.replies().size(), 30U);
  EXPECT_EQ(service_.statistics().receive_bytes, 0U);
}

TEST_P(RpcTest, StopsReadingWhenRepliesWillHoldTooMuchMemory) {
  program_.cost = 1U << 20U;
  TestClient client(scheduler_, service_);
  for (std::uint32_t xid = 0; xid < 10; ++xid) {
    client.send(record(call_to(xid, 77, 2, 3)));
  }
  rest();
  EXPECT_EQ(program_.running, 2U);
  open_gate();
  rest();
  EXPECT_EQ(client.replies().size(), 10U);
}

TEST_P(RpcTest, RequestsOfAClientThatLeavesAreFinished) {
  {
    TestClient client(scheduler_, service_);
    client.send(record(call_to(1, 77, 2, 3)));
    rest();
    client.close();
    rest();
  }
  EXPECT_EQ(service_.statistics().connections, 1U);
  open_gate();
  rest();
  EXPECT_EQ(program_.done, 1U);
  EXPECT_EQ(service_.statistics().connections, 0U);
}

TEST_P(RpcTest, ARecordThatDoesNotEndClosesItsConnection) {
  TestClient slow(scheduler_, service_);
  TestClient idle(scheduler_, service_);
  slow.send(Wire().u32(0x8000'0000U | 100).u32(1));
  const Instant begun = scheduler_.now();
  rest();
  EXPECT_TRUE(slow.ended());
  EXPECT_FALSE(idle.ended());
  EXPECT_GE(scheduler_.now() - begun, options_.record_timeout);
  EXPECT_EQ(service_.statistics().connections_timed_out, 1U);
}

TEST_P(RpcTest, DestroyingTheServiceEndsRequestsWhereTheyWait) {
  auto service = std::make_unique<Service>(scheduler_, std::vector<Program*>{&program_});
  TestClient client(scheduler_, *service);
  client.send(record(call_to(1, 77, 2, 3)));
  rest();
  EXPECT_EQ(program_.running, 1U);
  service.reset();
  open_gate();
  rest();
  EXPECT_EQ(program_.done, 0U);
  EXPECT_TRUE(client.ended());
}

Task<void> drain(Service& service, bool& drained) {
  co_await service.drain();
  drained = true;
}

TEST_P(RpcTest, DrainingFinishesWhatRunsAndTakesNothingNew) {
  TestClient busy(scheduler_, service_);
  TestClient idle(scheduler_, service_);
  busy.send(record(call_to(1, 77, 2, 3)));
  rest();
  bool drained = false;
  TaskScope scope(scheduler_);
  scope.spawn(drain(service_, drained));
  busy.send(record(call_to(2, 77, 2, 1, Wire().text("late"))));
  rest();
  EXPECT_TRUE(idle.ended());
  EXPECT_FALSE(drained);
  EXPECT_FALSE(TestClient(scheduler_, service_).accepted());
  open_gate();
  rest();
  EXPECT_TRUE(drained);
  EXPECT_TRUE(busy.ended());
  EXPECT_EQ(busy.received(), success(1).bytes());
}

TEST_P(RpcTest, TheConnectionIdleLongestMakesRoomForANewOne) {
  ServiceOptions few;
  few.connections_max = 2;
  Service service(scheduler_, {&program_}, few);
  TestClient first(scheduler_, service);
  TestClient second(scheduler_, service);
  rest();
  first.send(record(call_to(1, 77, 2, 0)));  // now the second is idle longest
  rest();
  TestClient third(scheduler_, service);
  rest();
  EXPECT_TRUE(third.accepted());
  EXPECT_FALSE(first.ended());
  EXPECT_TRUE(second.ended());
  EXPECT_EQ(service.statistics().connections_evicted, 1U);
}

TEST_P(RpcTest, BusyConnectionsAreNotEvicted) {
  ServiceOptions few;
  few.connections_max = 1;
  Service service(scheduler_, {&program_}, few);
  TestClient busy(scheduler_, service);
  busy.send(record(call_to(1, 77, 2, 3)));
  rest();
  EXPECT_FALSE(TestClient(scheduler_, service).accepted());
  EXPECT_EQ(service.statistics().connections_refused, 1U);
  open_gate();
  rest();
  EXPECT_EQ(busy.received(), success(1).bytes());
}

TEST_P(RpcTest, OneClientCannotTakeAllConnections) {
  ServiceOptions few;
  few.connections_per_client_max = 2;
  Service service(scheduler_, {&program_}, few);
  TestClient first(scheduler_, service, 1);
  TestClient second(scheduler_, service, 1);
  EXPECT_FALSE(TestClient(scheduler_, service, 1).accepted());
  EXPECT_TRUE(TestClient(scheduler_, service, 2).accepted());
}

Task<void> send_later(Scheduler& scheduler, TestClient& client, Wire bytes) {
  co_await sleep(scheduler, std::chrono::seconds(5));
  client.send(bytes);
}

TEST_P(RpcTest, StalledRecordsMakeRoomWhenReceiveMemoryIsShort) {
  ServiceOptions small;
  small.receive_bytes_max = 1U << 20U;
  Service service(scheduler_, {&program_}, small);
  std::vector<std::unique_ptr<TestClient>> stalled;
  for (int i = 0; i < 20; ++i) {
    stalled.push_back(std::make_unique<TestClient>(scheduler_, service));
    stalled.back()->send(Wire().u32(0x8000'0000U | 200'000).raw(std::string(100'000, 'x')));
  }
  TestClient good(scheduler_, service);
  const Wire text = Wire().text(std::string(100'000, 'g'));
  TaskScope scope(scheduler_);
  scope.spawn(send_later(scheduler_, good, record(call_to(1, 77, 2, 1, text))));
  rest();
  EXPECT_EQ(good.received(), success(1, text).bytes());
  EXPECT_GT(service.statistics().connections_evicted, 0U);
}

}  // namespace
}  // namespace duet::server::test
