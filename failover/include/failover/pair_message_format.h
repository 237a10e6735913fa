// The messages of the failover channel of the partner link; failover/FORMAT.md.
//
// The link carries them whole and in order or not at all (interconnect/partner_link.h).
// Little-endian, no padding, reserved fields zero.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace duet::failover {

inline constexpr std::uint32_t kPairMagic = 0x4D50'4C44;  // "DLPM"
inline constexpr std::uint32_t kPairVersion = 1;

enum class PairVerb : std::uint32_t {
  // flags: what the sender could do; epoch: generation of the place of the record that it uses;
  // number: generation of its own members
  kState = 1,
  kAskHandover = 2,  // hand the filer over to me (planned takeover, giveback asked at home)
  kAskTakeover = 3,  // my disks have paused me: take over what is mine
  kPrepare = 4,      // the owner settled the filer, its epoch is `epoch`; be ready to open the next
  kPrepared = 5,     // answer: 0 ready; else refused
  kCommitted = 6,    // the owner record names you: look
  kAskQuiet = 7,     // the record names me: is anything of the filer under way at you?
  kQuiet = 8,        // answer: 0 no, and nothing will be; else it may be
};

enum PairFlags : std::uint32_t {
  kSeesAllDisks = 1,
  kMayTake = 2,     // this process would accept a filer
  kSeesFilerA = 4,  // the record, and every disk of filer a: it could be handed over
  kSeesFilerB = 8,
};
constexpr std::uint32_t sees_filer(std::uint32_t filer) {
  return filer == 0 ? kSeesFilerA : kSeesFilerB;
}

struct PairMessage {
  std::uint32_t magic = kPairMagic;
  std::uint32_t version = kPairVersion;
  std::uint32_t verb = 0;  // PairVerb
  std::uint32_t filer = 0;
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t incarnation = 0;  // of the sender, as in the owner record
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;  // of the question; its answer repeats it
  std::uint32_t answer = 0;
  std::uint32_t flags = 0;  // PairFlags
};
static_assert(sizeof(PairMessage) == 64);
static_assert(offsetof(PairMessage, incarnation) == 32);
static_assert(std::has_unique_object_representations_v<PairMessage>, "no implicit padding");

// About the place of the arbitration record (mailbox/place.h).
inline constexpr std::uint32_t kPlaceMagic = 0x4C50'4C44;  // "DLPL"

enum class PlaceVerb : std::uint32_t {
  kAsk = 1,     // promise `generation` at `disk` with me
  kAgreed = 2,  // it is promised, durably; known and maybe are what the sender knows
  kRefused = 3,
};

struct PlaceOwner {
  std::uint32_t owner = 0;
  std::uint32_t previous = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t epoch = 0;
};

struct PlaceMessage {
  std::uint32_t magic = kPlaceMagic;
  std::uint32_t version = kPairVersion;
  std::uint32_t verb = 0;  // PlaceVerb
  std::uint32_t reserved = 0;
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t incarnation = 0;  // of the sender
  std::uint64_t number = 0;       // of the question; its answer repeats it
  std::uint64_t from = 0;         // generation of the place that counts now
  std::uint64_t generation = 0;   // ... that is proposed
  std::array<std::uint64_t, 2> disk{};
  std::array<PlaceOwner, 2> known{};  // mailbox::Claims
  std::array<PlaceOwner, 2> maybe{};
};
static_assert(sizeof(PlaceMessage) == 176);
static_assert(offsetof(PlaceMessage, known) == 80);
static_assert(std::has_unique_object_representations_v<PlaceMessage>, "no implicit padding");

// What a node asks that starts without every disk (failover/README.md).
inline constexpr std::uint32_t kKnowledgeMagic = 0x4B50'4C44;  // "DLPK"
inline constexpr std::size_t kKnownDisksMax = 64;

enum class KnowledgeVerb : std::uint32_t {
  kAsk = 1,    // what do you know?
  kKnown = 2,  // this, and it stays so until you agree to a change or are told of it
  kLater = 3,  // ask again: something is under way, or I have not entered myself
  // Said, not asked for: `members` are what I go by.  A node that knows no such verb drops it.
  kMembers = 4,
};

struct KnownMembers {
  std::uint64_t generation = 0;
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
  std::array<std::array<std::uint64_t, 2>, 3> disks{};
};
static_assert(sizeof(KnownMembers) == 64);

struct KnowledgeMessage {
  std::uint32_t magic = kKnowledgeMagic;
  std::uint32_t version = kPairVersion;
  std::uint32_t verb = 0;  // KnowledgeVerb
  std::uint32_t disk_count = 0;
  std::array<std::uint64_t, 2> pair{};
  std::uint64_t incarnation = 0;              // of the sender
  std::uint64_t to = 0;                       // answer: of who asked
  std::uint64_t number = 0;                   // of the question; its answer repeats it
  std::uint64_t place = 0;                    // generation of the owner record's place
  std::array<std::uint64_t, 2> place_disk{};  // where that is
  std::array<KnownMembers, 2> members{};      // by node: the sender's own, and those it watches
  // All disks of the pair in the order of the configuration.
  std::array<std::array<std::uint64_t, 2>, kKnownDisksMax> disks{};
};
static_assert(sizeof(KnowledgeMessage) == 1232);
static_assert(offsetof(KnowledgeMessage, place) == 56);
static_assert(offsetof(KnowledgeMessage, members) == 80);
static_assert(offsetof(KnowledgeMessage, disks) == 208);
static_assert(std::has_unique_object_representations_v<KnowledgeMessage>, "no implicit padding");

}  // namespace duet::failover
