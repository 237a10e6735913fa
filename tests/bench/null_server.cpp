// duet-bench-null: the ceiling.  Parses each NFSv3 or MOUNT call (RPC header, credential, handle,
// the counts it needs) and answers a canned, successful reply of the size that a real server would
// send.  Blocking reads, one thread per connection, a send per reply, no file system behind it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "wire.h"

namespace duet::bench {
namespace {

constexpr std::array<uint8_t, 32> kHandle = {'n', 'u', 'l', 'l'};
constexpr size_t kAttributesBytes = 84;  // fattr3, RFC 1813 section 2.5
constexpr size_t kPreAttributesBytes = 24;
constexpr uint32_t kReadLimitBytes = 1 << 20;
const std::array<uint8_t, kReadLimitBytes> kContent{};

// fattr3 of a regular file large enough for every workload.
void attributes(Encoder& reply, uint32_t type) {
  reply.u32(type);
  for (const uint32_t word : {0644U, 1U, 0U, 0U}) reply.u32(word);
  reply.u64(1ULL << 30);
  reply.u64(1ULL << 30);
  reply.zeros(kAttributesBytes - 5 * 4 - 2 * 8);
}

void post_attributes(Encoder& reply) {
  reply.u32(1);
  attributes(reply, 1);
}

void weak_cache_data(Encoder& reply) {
  reply.u32(1);
  reply.zeros(kPreAttributesBytes);
  post_attributes(reply);
}

void answer_mount(uint32_t procedure, Encoder& reply) {
  if (procedure != 1) return;  // NULL, UMNT: no result
  reply.u32(0);
  reply.opaque(kHandle);
  reply.u32(1);
  reply.u32(1);  // AUTH_SYS
}

// Encodes the result; returns the file content that follows it on the wire.
std::span<const uint8_t> answer_nfs(uint32_t procedure, Decoder& call, Encoder& reply) {
  if (procedure == 0) return {};
  (void)call.opaque();  // the handle, the first argument of every procedure
  reply.u32(0);
  if (procedure == 1) {  // GETATTR
    attributes(reply, 1);
  } else if (procedure == 3) {  // LOOKUP
    reply.opaque(kHandle);
    post_attributes(reply);
    post_attributes(reply);
  } else if (procedure == 6) {  // READ
    (void)call.u64();
    const uint32_t count = std::min(call.u32(), kReadLimitBytes) & ~3U;
    post_attributes(reply);
    for (const uint32_t word : {count, 0U, count}) reply.u32(word);
    return std::span(kContent).first(count);
  } else if (procedure == 7) {  // WRITE
    (void)call.u64();
    const uint32_t count = call.u32();
    weak_cache_data(reply);
    for (const uint32_t word : {count, 2U, 0U, 0U}) reply.u32(word);
  } else if (procedure == 8 || procedure == 9) {  // CREATE, MKDIR
    reply.u32(1);
    reply.opaque(kHandle);
    post_attributes(reply);
    weak_cache_data(reply);
  } else {  // REMOVE, SETATTR, COMMIT: a status and weak cache data
    weak_cache_data(reply);
    reply.u64(0);
  }
  return {};
}

void serve(int socket) {
  Stream stream(socket);
  Encoder reply;
  while (stream.receive()) {
    for (auto record = stream.next_record(); !record.empty(); record = stream.next_record()) {
      Decoder call(record);
      const uint32_t xid = call.u32();
      const uint32_t type = call.u32();
      const uint32_t rpc_version = call.u32();
      const uint32_t program = call.u32();
      (void)call.u32();
      const uint32_t procedure = call.u32();
      for (int part = 0; part < 2; ++part) {  // credential and verifier
        (void)call.u32();
        (void)call.opaque();
      }
      if (type != 0 || rpc_version != 2 || call.failed()) return;
      reply.bytes().clear();
      const size_t mark = reply.begin_record();
      for (const uint32_t word : {xid, 1U, 0U, 0U, 0U, 0U}) reply.u32(word);
      std::span<const uint8_t> data;
      if (program == kMountProgram) answer_mount(procedure, reply);
      if (program == kNfsProgram) data = answer_nfs(procedure, call, reply);
      if (call.failed()) return;
      reply.end_record(mark, data.size());
      stream.send(reply.bytes(), data);
    }
  }
}

int listen_on(uint16_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (listener < 0 || ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 64) != 0) {
    die("listen on 127.0.0.1:" + std::to_string(port));
  }
  return listener;
}

}  // namespace
}  // namespace duet::bench

int main(int argc, char** argv) {
  if (argc != 2 || std::atoi(argv[1]) <= 0) {
    std::fprintf(stderr, "usage: duet-bench-null PORT   (serves on 127.0.0.1 until killed)\n");
    return 2;
  }
  const int listener = duet::bench::listen_on(static_cast<uint16_t>(std::atoi(argv[1])));
  for (;;) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket >= 0) std::thread(duet::bench::serve, socket).detach();
  }
}
