#include "inbox.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cstring>
#include <utility>

namespace duet::interconnect {

namespace bip = boost::interprocess;

namespace {

constexpr Error kCannotMake{Errc::kIo, "link: the inbox file cannot be made"};
constexpr Error kCannotMap{Errc::kIo, "link: an inbox file cannot be mapped"};
constexpr Error kAnother{Errc::kForeign, "link: the partner's inbox is not of this session"};

bool make_file(const std::string& path) {
  unlink(path.c_str());
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    return false;
  }
  // With its space: a full file system must not become SIGBUS.
  const bool made = posix_fallocate(file, 0, static_cast<off_t>(kInboxBytes)) == 0;
  ::close(file);
  return made;
}

std::uint32_t checksum_of(const RingHead& head, ConstBytes message) {
  const std::array<std::uint32_t, 3> words{head.bytes, head.channel, head.reserved0};
  return crc32c(message, crc32c(std::as_bytes(std::span(words))));
}

constexpr std::uint64_t ring_bytes_of(std::size_t message_bytes) {
  return sizeof(RingHead) + padded(message_bytes);
}

}  // namespace

class Inbox::Mapping {
 public:
  explicit Mapping(const std::string& path)
      : file_(path.c_str(), bip::read_write), region_(file_, bip::read_write) {}
  [[nodiscard]] std::byte* start() const { return static_cast<std::byte*>(region_.get_address()); }
  [[nodiscard]] std::size_t bytes() const { return region_.get_size(); }

 private:
  bip::file_mapping file_;
  bip::mapped_region region_;
};

Inbox::Inbox(std::unique_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}

Inbox::~Inbox() {
  // Unless a newer one has the name.
  struct stat status {};
  if (!created_path_.empty() && stat(created_path_.c_str(), &status) == 0 &&
      status.st_ino == created_number_) {
    unlink(created_path_.c_str());
  }
}

Result<std::unique_ptr<Inbox>> Inbox::create(const std::string& path, const LinkIdentity& identity,
                                             std::uint64_t nonce, std::uint64_t memory_bytes) {
  if (!make_file(path)) {
    return kCannotMake;
  }
  try {
    std::unique_ptr<Inbox> inbox(new Inbox(std::make_unique<Mapping>(path)));
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) {
      return kCannotMake;
    }
    inbox->created_path_ = path;
    inbox->created_number_ = status.st_ino;
    InboxHeader& header = inbox->header();  // the file is all zero
    header.version = kInboxVersion;
    header.node = static_cast<std::uint32_t>(identity.node);
    header.pair = identity.pair;
    header.incarnation = static_cast<std::uint64_t>(identity.incarnation);
    header.nonce = nonce;
    header.memory_bytes = memory_bytes;
    header.magic = kInboxMagic;
    header.asleep.store(1);
    return inbox;
  } catch (const bip::interprocess_exception&) {
    return kCannotMap;
  }
}

Result<std::unique_ptr<Inbox>> Inbox::open(const std::string& path, const InboxHello& hello) {
  try {
    std::unique_ptr<Inbox> inbox(new Inbox(std::make_unique<Mapping>(path)));
    if (inbox->mapping_->bytes() != kInboxBytes) {
      return kAnother;
    }
    const InboxHeader& header = inbox->header();
    const bool same = header.magic == kInboxMagic && header.version == kInboxVersion &&
                      header.node == hello.node && header.pair == hello.pair &&
                      header.incarnation == hello.incarnation && header.nonce == hello.nonce;
    if (!same) {
      return kAnother;
    }
    return inbox;
  } catch (const bip::interprocess_exception&) {
    return kCannotMap;
  }
}

InboxHeader& Inbox::header() const { return *reinterpret_cast<InboxHeader*>(mapping_->start()); }
std::byte* Inbox::ring() const { return mapping_->start() + kInboxHeaderBytes; }

void Inbox::copy_in(std::uint64_t at, ConstBytes bytes) {
  const std::uint64_t from = at % kRingBytes;
  const std::size_t first = std::min<std::uint64_t>(bytes.size(), kRingBytes - from);
  std::memcpy(ring() + from, bytes.data(), first);
  std::memcpy(ring(), bytes.data() + first, bytes.size() - first);
}

void Inbox::copy_out(std::uint64_t at, MutableBytes bytes) const {
  const std::uint64_t from = at % kRingBytes;
  const std::size_t first = std::min<std::uint64_t>(bytes.size(), kRingBytes - from);
  std::memcpy(bytes.data(), ring() + from, first);
  std::memcpy(bytes.data() + first, ring(), bytes.size() - first);
}

// ---- the owner

void Inbox::set_grants(const Grants& grants) {
  for (std::size_t i = 0; i < kWindows; ++i) {
    InboxGrant& shown = header().grants[i];
    const Grant now = grants[i].value_or(Grant{});
    shown.version.fetch_add(1);
    shown.epoch.store(now.epoch);
    shown.offset.store(now.offset);
    shown.bytes.store(now.bytes);
    shown.version.fetch_add(1);
  }
}

Inbox::Taken Inbox::take(Channel& channel, std::array<std::byte, kMessageBytesMax>& message,
                         std::size_t& message_bytes) {
  const std::uint64_t given = header().given.load(std::memory_order_acquire);
  if (given == taken_) {
    return Taken::kNothing;
  }
  // The partner's process wrote all this: nothing is believed before it is checked.
  const std::uint64_t there = given - taken_;
  RingHead head{};
  if (there > kRingBytes || there < sizeof(head)) {
    return Taken::kDamaged;
  }
  copy_out(taken_, std::as_writable_bytes(std::span(&head, 1)));
  if (head.bytes > kMessageBytesMax || head.channel >= kChannels ||
      ring_bytes_of(head.bytes) > there) {
    return Taken::kDamaged;
  }
  const MutableBytes body = MutableBytes(message).first(head.bytes);
  copy_out(taken_ + sizeof(head), body);
  if (head.checksum != checksum_of(head, body)) {
    return Taken::kDamaged;
  }
  taken_ += ring_bytes_of(head.bytes);
  header().taken.store(taken_, std::memory_order_release);
  channel = Channel{static_cast<std::uint8_t>(head.channel)};
  message_bytes = head.bytes;
  return Taken::kMessage;
}

// Pairs with publish(), all in one total order: either the partner sees `asleep`, or this sees
// what it gave.
bool Inbox::fall_asleep() {
  header().asleep.store(1);
  if (header().given.load() == taken_) {
    return true;
  }
  return header().asleep.exchange(0) == 0;
}

// ---- the partner

std::optional<Grant> Inbox::grant(std::size_t window) const {
  const InboxGrant& shown = header().grants[window];
  const std::uint64_t before = shown.version.load();
  const Grant grant{shown.offset.load(), shown.bytes.load(), shown.epoch.load()};
  if (before % 2 != 0 || shown.version.load() != before || grant.bytes == 0) {
    return std::nullopt;
  }
  return grant;
}

bool Inbox::put(Channel channel, ConstBytes message) {
  const std::uint64_t used = given_ - header().taken.load(std::memory_order_acquire);
  if (used > kRingBytes || ring_bytes_of(message.size()) > kRingBytes - used) {
    return false;
  }
  RingHead head{};
  head.bytes = static_cast<std::uint32_t>(message.size());
  head.channel = static_cast<std::uint32_t>(channel);
  head.checksum = checksum_of(head, message);
  copy_in(given_, bytes_of(head));
  copy_in(given_ + sizeof(head), message);
  given_ += ring_bytes_of(message.size());
  return true;
}

bool Inbox::publish() {
  header().given.store(given_);
  return header().asleep.load() != 0 && header().asleep.exchange(0) != 0;
}

}  // namespace duet::interconnect
