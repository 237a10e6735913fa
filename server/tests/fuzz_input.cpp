#include "fuzz_input.h"

#include "fake_filer.h"
#include "server/mount.h"
#include "server/nfs3.h"
#include "server/portmap.h"
#include "test_client.h"

namespace duet::server::test {

namespace {

std::string_view text(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Wire stream_of(ConstBytes input) {
  const std::uint8_t kind = std::to_integer<std::uint8_t>(input[1]);
  if (kind % 2 == 0 || input.size() < 5) {
    return Wire().raw(text(input.subspan(2)));
  }
  static constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 4> kPrograms{
      {{100003, 3}, {100005, 3}, {100005, 1}, {100000, 2}}};
  const auto [program, version] = kPrograms[std::to_integer<std::size_t>(input[2]) % 4];
  const auto procedure = std::to_integer<std::uint32_t>(input[3]) % 24;
  const std::size_t fragment = 1 + std::to_integer<std::size_t>(input[4]) * 16;
  const Wire arguments = Wire().raw(text(input.subspan(5)));
  const Wire credentials = kind % 4 == 1 ? sys_auth(1, 2, {3}) : no_auth();
  return fragmented(call_to(1, program, version, procedure, arguments, credentials), fragment);
}

// Whole records, each of which answers a call.
void check_replies(const std::vector<std::byte>& received) {
  for (std::size_t at = 0; at < received.size();) {
    DUET_CHECK(received.size() - at >= 4 + 16);
    const std::uint32_t mark = load_big32(received.data() + at);
    DUET_CHECK((mark & kLastFragment) != 0 && mark % 4 == 0);
    DUET_CHECK(load_big32(received.data() + at + 8) == 1);  // REPLY
    at += 4 + (mark & ~kLastFragment);
    DUET_CHECK(at <= received.size());
  }
}

}  // namespace

void fuzz_connection(ConstBytes input) {
  if (input.size() < 2) {
    return;
  }
  sim::SimScheduler scheduler(std::to_integer<std::uint64_t>(input[0]));
  FakeFiler fake;
  fake.file.attributes.type = wafl::FileType::kRegular;
  fake.contents = std::string(9000, 'c');
  fake.entries = {{1, 2, "entry", fake.file, fake.new_handle}};
  const std::unique_ptr<filer::Filer> filer = fake.make();
  Nfs3Program nfs(*filer);
  MountList list;
  MountProgram mount(*filer, list);
  PortmapProgram portmap(mappings_on(2049));
  Service service(scheduler, {&nfs, &mount, &portmap});
  TestClient client(scheduler, service);
  client.send(stream_of(input));
  DUET_CHECK(scheduler.run(10'000'000));
  check_replies(client.received());
  client.close();
  DUET_CHECK(scheduler.run(10'000'000));
  DUET_CHECK(service.statistics().connections == 0);
  DUET_CHECK(service.statistics().receive_bytes == 0);
  DUET_CHECK(fake.buffers_alive == 0);
}

}  // namespace duet::server::test
