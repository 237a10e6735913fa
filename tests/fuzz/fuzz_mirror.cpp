// What a partner may say about the copies of logs: questions to the host and answers to the owner
// that are anything, between the true ones.

#include "input.h"
#include "interconnect/sim/sim_link.h"
#include "nvlog/mirrored_log.h"
#include "sim/sim_persistent_memory.h"

namespace duet::nvlog {
namespace {

constexpr std::uint64_t kHalf = 1024;
constexpr LogIdentity kIdentity{.pair = {0x1111, 0x2222}, .filer = 1, .log_id = 0x3333};

std::vector<std::byte> small_region() {
  std::vector<std::byte> bytes(region_bytes(kHalf));
  RegionHeader header;
  header.half_bytes = kHalf;
  header.checksum = crc32c(bytes_of(header));
  store(MutableBytes(bytes), 0, header);
  store(MutableBytes(bytes), kHeaderCopyBytes, header);
  return bytes;
}

struct Duties final : MirrorDuties {
  Task<Status> set_solo_mark(std::uint64_t /*epoch*/, Sequence /*first*/) override {
    marked = true;
    co_return Ok();
  }
  Task<Status> clear_solo_mark(std::uint64_t /*epoch*/) override {
    marked = false;
    co_return Ok();
  }
  void want_consistency_point() override {}
  void log_failed() override {}
  bool marked = false;
};

struct Deaf final : interconnect::ChannelUser {
  void on_message(ConstBytes /*message*/) override {}
  void on_link(const interconnect::LinkStatus& /*status*/) override {}
};

}  // namespace
}  // namespace duet::nvlog

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace duet;
  using namespace duet::nvlog;
  using interconnect::Incarnation;
  using interconnect::Node;
  fuzz::Input input(data, size);
  sim::SimScheduler scheduler(size);
  const std::vector<std::byte> region = small_region();
  sim::SimPersistentMemory own(region.size());
  sim::SimPersistentMemory mirror_a(region.size());
  sim::SimPersistentMemory mirror_b(region.size());
  for (sim::SimPersistentMemory* const memory : {&own, &mirror_a, &mirror_b}) {
    memory->store(0, region);
    DUET_CHECK(memory->persist().ok());
  }
  interconnect::SimWire wire(scheduler, {.one_sided = false});
  const auto a = wire.open({kIdentity.pair, Node::kA, Incarnation{1}}, mirror_a);
  const auto b = wire.open({kIdentity.pair, Node::kB, Incarnation{2}}, mirror_b);
  MirrorPort port(*a, mirror_a, kIdentity.pair);
  port.admit(0, 1);  // a host for filer 0, the owner of filer 1
  Duties duties;
  auto recovered = MirroredLog::recover(
      scheduler, own, kIdentity, {.epoch = 1, .last = {}, .log_empty = true}, nullptr, port, duties,
      {}, [](const ReplayRecord&) -> Status { return Ok{}; });
  DUET_CHECK(recovered.ok());
  const std::unique_ptr<MirroredLog> log = std::move(recovered.value());
  DUET_CHECK(log->start(2).ok());
  static_cast<void>(scheduler.run_for(std::chrono::milliseconds(60), 100'000));
  const std::byte body{1};
  const ConstBytes part(&body, 1);
  while (!input.empty()) {
    MirrorMessage message;
    message.verb = input.take<std::uint8_t>() % 6;
    message.attempt = input.take<std::uint8_t>();
    message.filer = input.take<std::uint8_t>() % 3;
    message.answer = input.take<std::uint8_t>() % 8;
    message.pair = kIdentity.pair;
    message.log_id = kIdentity.log_id;
    message.epoch = input.take<std::uint8_t>() % 4;
    message.half_bytes =
        (input.take<std::uint8_t>() & 7U) != 0 ? kHalf : input.take<std::uint64_t>();
    message.mirror_generation = input.take<std::uint8_t>();
    message.generation = input.take<std::uint8_t>();
    message.tail_sequence = input.take<std::uint8_t>();
    message.tail_offset = input.take<std::uint64_t>();
    const ConstBytes whole = bytes_of(message);
    const bool cut = (input.take<std::uint8_t>() & 15U) == 0;
    static_cast<void>(b->send(interconnect::Channel::kLog, cut ? whole.first(50) : whole));
    if (log->fits(1)) {
      static_cast<void>(log->append(std::span(&part, 1)).ok());
    }
    static_cast<void>(scheduler.run_for(std::chrono::milliseconds(1), 100'000));
    // Nobody there keeps a copy: whatever it says, records count behind a mark only, or not at all.
    const bool says_synced = log->mirror_status().state == MirrorState::kSynced;
    DUET_CHECK(says_synced || log->durable() == Sequence{0} || duties.marked);
  }
  return 0;
}
