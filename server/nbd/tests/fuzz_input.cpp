#include "fuzz_input.h"

#include "base/check.h"
#include "nbd_client.h"

namespace duet::nbd::test {

namespace {

constexpr std::uint64_t kBlocks = 64;
constexpr std::size_t kChange = 8;  // bytes of input for one request

// Eight bytes become a request that is nearly right, with data if it is a write.
Wire changed_request(ConstBytes change, std::uint64_t cookie) {
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(change[i]); };
  const auto command = static_cast<std::uint16_t>(at(0) % 8);
  const std::uint32_t bytes = (at(1) % 40) * 4096 + (at(2) > 250 ? at(3) : 0);
  const std::uint64_t offset = std::uint64_t{at(4) % 80} * 4096 + (at(5) > 250 ? at(6) : 0);
  const auto flags = static_cast<std::uint16_t>(at(7) > 200 ? at(7) % 32 : 0);
  Wire wire = request(command, cookie, command == 3 && at(5) < 200 ? 0 : offset,
                      command == 3 && at(2) < 200 ? 0 : bytes, flags);
  if (command == 1) {
    wire.fill(bytes, static_cast<char>(at(3)));
  }
  return wire;
}

// Behind the handshake: whole replies, with errors of the protocol; one to each request.
void check_replies(ConstBytes received, const std::vector<Request>& asked) {
  std::vector<bool> answered(asked.size());
  for (std::size_t at = 0; at < received.size();) {
    DUET_CHECK(received.size() - at >= kReplyBytes);
    DUET_CHECK(load_big<std::uint32_t>(received, at) == kReplyMagic);
    const auto error = load_big<std::uint32_t>(received, at + 4);
    const auto cookie = load_big<std::uint64_t>(received, at + 8);
    DUET_CHECK(cookie < asked.size() && !answered[cookie]);
    answered[cookie] = true;
    DUET_CHECK(error == 0 || error == 1 || error == 22 || error == 28);
    at += kReplyBytes;
    if (error == 0 && asked[cookie].command == 0) {
      DUET_CHECK(received.size() - at >= asked[cookie].bytes);
      at += asked[cookie].bytes;
    }
  }
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const bool goodbye = asked[i].command == static_cast<std::uint16_t>(Command::kDisconnect);
    DUET_CHECK(answered[i] != goodbye);
  }
}

}  // namespace

void fuzz_connection(ConstBytes input) {
  if (input.size() < 2) {
    return;
  }
  sim::SimScheduler scheduler(std::to_integer<std::uint64_t>(input[0]));
  const auto form = std::to_integer<unsigned>(input[1]);
  TestDisk disk(scheduler, kBlocks);
  std::vector<Export> exports;
  exports.push_back({"tank/host", {rule("*", form % 4 != 3)}, [&disk] { return &disk; }});
  Server server(
      scheduler, std::move(exports), nullptr,
      {.bytes_per_connection = 256 << 10, .bytes_max = 128 << 10, .piece_bytes = 64 << 10});
  {
    NbdClient client(scheduler, server);
    std::vector<Request> asked;
    std::size_t handshake = 0;
    if (form % 2 == 0) {
      client.send(Wire().raw(input.subspan(2)));
    } else {
      client.send(Wire().u32(3).add(option(7, named("tank/host"))));
      DUET_CHECK(scheduler.run_for(std::chrono::milliseconds(500)));
      handshake = client.received().size();
      for (ConstBytes left = input.subspan(2); left.size() >= kChange;
           left = left.subspan(kChange)) {
        const Wire wire = changed_request(left, asked.size());
        asked.push_back(load_request(wire.bytes()));
        client.send(wire);
        if (asked.back().command == static_cast<std::uint16_t>(Command::kDisconnect)) {
          break;
        }
      }
    }
    DUET_CHECK(scheduler.run_for(std::chrono::seconds(25), 20'000'000));
    if (form % 2 != 0) {
      check_replies(ConstBytes(client.received()).subspan(handshake), asked);
    }
    client.close();
    DUET_CHECK(scheduler.run_for(std::chrono::seconds(1)));
  }
  DUET_CHECK(server.counters().connections == 0);
  DUET_CHECK(server.counters().buffer_bytes == 0);
}

}  // namespace duet::nbd::test
