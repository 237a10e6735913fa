#include "nfs.h"

#include <algorithm>
#include <cerrno>
#include <random>

namespace duet::bench {
namespace {

constexpr uint32_t kAuthSys = 1;
constexpr uint32_t kMountVersion = 3;
constexpr uint32_t kNfsVersion = 3;
constexpr uint32_t kMountMnt = 1;
constexpr uint32_t kChunkBytes = 1 << 20;
constexpr size_t kAttributesBytes = 84;

void skip_post_attributes(Decoder& reply) {
  if (reply.u32() != 0) reply.skip(kAttributesBytes);
}

void expect_ok(uint32_t status, const std::string& what) {
  if (status == kNfsOk) return;
  errno = 0;
  die(what + " answered status " + std::to_string(status));
}

Handle to_handle(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

size_t begin_call(Encoder& out, uint32_t xid, uint32_t program, uint32_t procedure) {
  const size_t mark = out.begin_record();
  const uint32_t version = program == kMountProgram ? kMountVersion : kNfsVersion;
  for (const uint32_t word : {xid, 0U, 2U, program, version, procedure}) out.u32(word);
  // AUTH_SYS: stamp, machine name, uid, gid, no further groups (RFC 5531 appendix A).
  for (const uint32_t word : {kAuthSys, 28U, 0U}) out.u32(word);
  out.string("bench");
  for (const uint32_t word : {0U, 0U, 0U}) out.u32(word);
  out.u64(0);  // AUTH_NONE verifier
  return mark;
}

void encode_name(Encoder& out, const Handle& directory, const std::string& name) {
  out.opaque(directory);
  out.string(name);
}

void encode_create(Encoder& out, const Handle& directory, const std::string& name) {
  encode_name(out, directory, name);
  out.u32(0);                                                         // UNCHECKED
  for (const uint32_t word : {1U, 0644U}) out.u32(word);              // mode
  for (int left_alone = 0; left_alone < 5; ++left_alone) out.u32(0);  // uid gid size atime mtime
}

void encode_read(Encoder& out, const Handle& file, uint64_t offset, uint32_t count) {
  out.opaque(file);
  out.u64(offset);
  out.u32(count);
}

void encode_write(Encoder& out, const Handle& file, uint64_t offset, uint32_t count,
                  Stable stable) {
  out.opaque(file);
  out.u64(offset);
  for (const uint32_t word : {count, static_cast<uint32_t>(stable), count}) out.u32(word);
}

uint32_t open_reply(Decoder& reply) {
  const uint32_t xid = reply.u32();
  const uint32_t type = reply.u32();
  const uint32_t denied = reply.u32();
  (void)reply.u32();  // verifier
  (void)reply.opaque();
  const uint32_t accept_status = reply.u32();
  if (type != 1 || denied != 0 || accept_status != 0 || reply.failed()) {
    errno = 0;
    die("the server refused a call at the RPC level");
  }
  return xid;
}

std::span<const uint8_t> content(size_t count_bytes) {
  static const std::vector<uint8_t> bytes = [] {
    std::vector<uint8_t> made(kChunkBytes);
    std::mt19937_64 random(1);
    std::generate(made.begin(), made.end(), [&] { return static_cast<uint8_t>(random()); });
    return made;
  }();
  return std::span(bytes).first(count_bytes);
}

uint32_t random_xid() { return std::random_device{}(); }

Client::Client(std::string host, uint16_t port, uint16_t mount_port)
    : host_(std::move(host)), mount_port_(mount_port), xid_(random_xid()) {
  const int socket = connect_tcp(host_, port);
  if (socket < 0) die("connect to " + host_ + ":" + std::to_string(port));
  nfs_ = std::make_unique<Stream>(socket);
}

std::span<const uint8_t> Client::call(Stream& stream, uint32_t program, uint32_t procedure,
                                      const Encoder& arguments, std::span<const uint8_t> data) {
  Encoder out;
  const size_t mark = begin_call(out, ++xid_, program, procedure);
  const auto& bytes = const_cast<Encoder&>(arguments).bytes();
  out.fixed(bytes);
  out.end_record(mark, data.size());
  stream.send(out.bytes(), data);
  std::span<const uint8_t> record;
  while ((record = stream.next_record()).empty()) {
    if (!stream.receive()) die("the server closed the connection");
  }
  Decoder header(record);
  if (open_reply(header) != xid_) die("a reply to another call");
  constexpr size_t kHeaderBytes = 24;  // with an empty verifier
  return record.subspan(std::min(kHeaderBytes, record.size()));
}

Handle Client::mount(const std::string& path) {
  const int socket = connect_tcp(host_, mount_port_);
  if (socket < 0) die("connect to the MOUNT port");
  Stream stream(socket);
  Encoder arguments;
  arguments.string(path);
  Decoder reply(call(stream, kMountProgram, kMountMnt, arguments));
  expect_ok(reply.u32(), "MNT " + path);
  return to_handle(reply.opaque());
}

Handle Client::lookup(const Handle& directory, const std::string& name) {
  Encoder arguments;
  encode_name(arguments, directory, name);
  Decoder reply(call(*nfs_, kNfsProgram, static_cast<uint32_t>(Procedure::kLookup), arguments));
  const uint32_t status = reply.u32();
  if (status == kNfsNoEntry) return {};
  expect_ok(status, "LOOKUP " + name);
  return to_handle(reply.opaque());
}

Handle Client::make_file(const Handle& directory, const std::string& name) {
  Encoder arguments;
  encode_create(arguments, directory, name);
  Decoder reply(call(*nfs_, kNfsProgram, static_cast<uint32_t>(Procedure::kCreate), arguments));
  expect_ok(reply.u32(), "CREATE " + name);
  return reply.u32() != 0 ? to_handle(reply.opaque()) : lookup(directory, name);
}

Handle Client::make_directory(const Handle& directory, const std::string& name) {
  Encoder arguments;
  encode_name(arguments, directory, name);
  for (const uint32_t word : {1U, 0755U, 0U, 0U, 0U, 0U, 0U}) arguments.u32(word);
  Decoder reply(call(*nfs_, kNfsProgram, static_cast<uint32_t>(Procedure::kMkdir), arguments));
  expect_ok(reply.u32(), "MKDIR " + name);
  return reply.u32() != 0 ? to_handle(reply.opaque()) : lookup(directory, name);
}

uint64_t Client::size_of(const Handle& file) {
  Encoder arguments;
  arguments.opaque(file);
  Decoder reply(call(*nfs_, kNfsProgram, static_cast<uint32_t>(Procedure::kGetattr), arguments));
  expect_ok(reply.u32(), "GETATTR");
  reply.skip(5 * 4);  // type, mode, nlink, uid, gid
  return reply.u64();
}

Handle Client::prepare_file(const Handle& directory, const std::string& name, uint64_t size) {
  Handle file = lookup(directory, name);
  if (file.empty()) file = make_file(directory, name);
  if (size_of(file) >= size) return file;
  for (uint64_t offset = 0; offset < size; offset += kChunkBytes) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(kChunkBytes, size - offset));
    Encoder arguments;
    encode_write(arguments, file, offset, count, Stable::kFileSync);
    Decoder reply(call(*nfs_, kNfsProgram, static_cast<uint32_t>(Procedure::kWrite), arguments,
                       content(count)));
    expect_ok(reply.u32(), "WRITE");
  }
  return file;
}

void Client::warm(const Handle& file, uint64_t size) {
  for (uint64_t offset = 0; offset < size; offset += kChunkBytes) {
    Encoder arguments;
    encode_read(arguments, file, offset, kChunkBytes);
    Decoder reply(call(*nfs_, kNfsProgram, static_cast<uint32_t>(Procedure::kRead), arguments));
    expect_ok(reply.u32(), "READ");
    skip_post_attributes(reply);
  }
}

}  // namespace duet::bench
