#include "wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace duet::bench {
namespace {

// One recv takes at most this unless a larger record is known to be under way: then exactly the
// rest of that record.  So a large record is never moved inside the buffer.
constexpr size_t kReceiveBytes = 64 * 1024;
constexpr size_t kRecordLimitBytes = 2 * 1024 * 1024;
constexpr size_t kMarkBytes = 4;

size_t padding(size_t count_bytes) { return (4 - count_bytes % 4) % 4; }

uint32_t load_u32(const uint8_t* at) {
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return ntohl(value);
}

}  // namespace

void die(std::string_view what) {
  const int error = errno;
  std::fprintf(stderr, "bench: %.*s%s%s\n", static_cast<int>(what.size()), what.data(),
               error != 0 ? ": " : "", error != 0 ? std::strerror(error) : "");
  std::exit(1);
}

void Encoder::put_u32(size_t at, uint32_t value) {
  const uint32_t wire = htonl(value);
  std::memcpy(bytes_.data() + at, &wire, sizeof wire);
}

void Encoder::u32(uint32_t value) {
  const size_t at = bytes_.size();
  bytes_.resize(at + sizeof value);
  put_u32(at, value);
}

void Encoder::u64(uint64_t value) {
  u32(static_cast<uint32_t>(value >> 32));
  u32(static_cast<uint32_t>(value));
}

void Encoder::fixed(std::span<const uint8_t> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  zeros(padding(bytes.size()));
}

void Encoder::opaque(std::span<const uint8_t> bytes) {
  u32(static_cast<uint32_t>(bytes.size()));
  fixed(bytes);
}

void Encoder::string(std::string_view text) {
  opaque({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

void Encoder::zeros(size_t count_bytes) { bytes_.resize(bytes_.size() + count_bytes); }

size_t Encoder::begin_record() {
  u32(0);
  return bytes_.size() - kMarkBytes;
}

void Encoder::end_record(size_t mark_at, size_t later_bytes) {
  const size_t length = bytes_.size() - mark_at - kMarkBytes + later_bytes;
  put_u32(mark_at, kLastFragment | static_cast<uint32_t>(length));
}

std::span<const uint8_t> Decoder::take(size_t count_bytes) {
  if (count_bytes > rest_.size()) {
    failed_ = true;
    rest_ = {};
    return {};
  }
  const auto taken = rest_.first(count_bytes);
  rest_ = rest_.subspan(count_bytes);
  return taken;
}

uint32_t Decoder::u32() {
  const auto bytes = take(4);
  return bytes.empty() ? 0 : load_u32(bytes.data());
}

uint64_t Decoder::u64() {
  const uint64_t high = u32();
  return high << 32 | u32();
}

std::span<const uint8_t> Decoder::opaque() {
  const uint32_t length = u32();
  const auto bytes = take(length);
  skip(padding(bytes.size()));
  return bytes;
}

void Decoder::skip(size_t count_bytes) { (void)take(count_bytes); }

Stream::Stream(int socket) : socket_(socket), buffer_(kReceiveBytes + kRecordLimitBytes) {
  const int on = 1;
  if (::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY");
}

Stream::~Stream() { ::close(socket_); }

std::span<const uint8_t> Stream::next_record() {
  if (end_ - begin_ < kMarkBytes) return {};
  const uint32_t mark = load_u32(buffer_.data() + begin_);
  const size_t length = mark & ~kLastFragment;
  if ((mark & kLastFragment) == 0 || length > kRecordLimitBytes - kMarkBytes || length == 0) {
    die("the peer sent a record that is fragmented, empty or too long");
  }
  if (end_ - begin_ < kMarkBytes + length) return {};
  const std::span<const uint8_t> record(buffer_.data() + begin_ + kMarkBytes, length);
  begin_ += kMarkBytes + length;
  return record;
}

bool Stream::receive() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  size_t wanted = kReceiveBytes;
  if (end_ >= kMarkBytes) {
    wanted = std::max(wanted, kMarkBytes + (load_u32(buffer_.data()) & ~kLastFragment) - end_);
  }
  wanted = std::min(wanted, buffer_.size() - end_);
  ssize_t got = 0;
  do {
    got = ::recv(socket_, buffer_.data() + end_, wanted, 0);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  end_ += static_cast<size_t>(got);
  return true;
}

void Stream::send(std::span<const uint8_t> head, std::span<const uint8_t> data) {
  while (head.size() + data.size() > 0) {
    iovec parts[2] = {{const_cast<uint8_t*>(head.data()), head.size()},
                      {const_cast<uint8_t*>(data.data()), data.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = data.empty() ? 1 : 2;
    const ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) die("send");
    const size_t from_head = std::min(head.size(), static_cast<size_t>(sent));
    head = head.subspan(from_head);
    data = data.subspan(static_cast<size_t>(sent) - from_head);
  }
}

int connect_tcp(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    errno = 0;
    die("not an IPv4 address: " + host);
  }
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) die("socket");
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    ::close(socket);
    errno = error;
    return -1;
  }
  return socket;
}

}  // namespace duet::bench
