// The bytes of an inbox: what one node shows its partner on the same host.  See FORMAT.md.
//
// An inbox belongs to one session and lives in a file that both map.  Its owner writes who it is,
// its beat and its grants; the partner writes messages into the ring.  Nothing in it survives a
// session, so it needs no persistence.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "interconnect/partner_link.h"

namespace duet::interconnect {

inline constexpr std::uint64_t kInboxMagic = 0x31'5842'4E49'5544;  // "DUINBX1"
inline constexpr std::uint32_t kInboxVersion = 1;
inline constexpr std::uint64_t kRingBytes = 1U << 20U;  // a power of two
inline constexpr std::uint64_t kInboxHeaderBytes = 4096;
inline constexpr std::uint64_t kInboxBytes = kInboxHeaderBytes + kRingBytes;

// Written by the owner, read by the partner: odd while it changes.
struct InboxGrant {
  std::atomic<std::uint64_t> version;
  std::atomic<std::uint64_t> epoch;
  std::atomic<std::uint64_t> offset;
  std::atomic<std::uint64_t> bytes;  // 0: nothing is granted
};
static_assert(sizeof(InboxGrant) == 32);

struct InboxHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t node;
  std::array<std::uint64_t, 2> pair;
  std::uint64_t incarnation;
  std::uint64_t nonce;         // of the session; the hello tells it too
  std::uint64_t memory_bytes;  // of the owner's memory
  std::uint64_t reserved0;
  std::atomic<std::uint64_t> beat;  // of the owner's application
  std::array<std::uint64_t, 7> reserved1;
  std::array<InboxGrant, kWindows> grants;
  // The ring: bytes from `taken` to `given`, each modulo kRingBytes.  On lines of their own.
  std::atomic<std::uint64_t> given;  // by the partner
  std::array<std::uint64_t, 7> reserved2;
  std::atomic<std::uint64_t> taken;   // by the owner
  std::atomic<std::uint64_t> asleep;  // 1: the owner wants to be woken at the next message
  std::array<std::uint64_t, 6> reserved3;
};
static_assert(offsetof(InboxHeader, beat) == 64);
static_assert(offsetof(InboxHeader, grants) == 128);
static_assert(offsetof(InboxHeader, given) == 384);
static_assert(offsetof(InboxHeader, taken) == 448);
static_assert(sizeof(InboxHeader) == 512);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "two processes share these");

// Before each message in the ring, at a multiple of eight.
struct RingHead {
  std::uint32_t bytes;     // of the message that follows, padded to eight
  std::uint32_t checksum;  // CRC-32C of bytes, channel, reserved0 and the message
  std::uint32_t channel;
  std::uint32_t reserved0;
};
static_assert(sizeof(RingHead) == 16);

// Over the socket, each way once.
struct InboxHello {
  std::uint64_t magic = kInboxMagic;
  std::uint32_t version = kInboxVersion;
  std::uint32_t node = 0;
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t incarnation = 0;
  std::uint64_t nonce = 0;
};
static_assert(sizeof(InboxHello) == 48);

// Over the socket, one byte each.
inline constexpr std::byte kReady{0x52};     // I have mapped what is yours
inline constexpr std::byte kDoorbell{0x44};  // there is something in your inbox

}  // namespace duet::interconnect
