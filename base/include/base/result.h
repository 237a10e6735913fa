// Result<T>: a value, or the Error that says why there is none.
//
// Operating errors (a disk failed, a name is missing) are Results and every
// caller handles them.  Programmer errors are DUET_CHECK and stop the process.
// Nothing in this project throws.

#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

namespace duet {

// One closed list for the whole system.  Each protocol maps it once, at its edge
// (server/nfs3/status.cpp); no folder invents a second list.
enum class Errc : std::uint16_t {
  // What a client may be told.
  kNotFound = 1,     // no such name, inode or block
  kExists,           // the name is taken
  kNotDirectory,     // a directory is needed
  kIsDirectory,      // anything but a directory is needed
  kNotEmpty,         // the directory holds names
  kAccess,           // mode bits or the export forbid it
  kNotOwner,         // only the owner or root may
  kReadOnly,         // a snapshot, or an export without write access
  kNameTooLong,      // over 255 bytes
  kInvalid,          // the arguments make no sense for this object
  kBadType,          // the object's type does not allow it
  kFileTooBig,       // beyond the largest file
  kTooManyLinks,     // the link count would overflow
  kNoSpace,          // the aggregate is full
  kOverLimit,        // the volume's size limit is reached
  kStaleHandle,      // the handle's object is gone
  kBadHandle,        // not a handle of ours
  kBadCookie,        // a directory cookie of another life
  kTooSmall,         // the reply would not fit in the client's buffer
  kCrossVolume,      // two objects of one operation are in different volumes
  kNotSupported,     // this server does not do that
  kOutOfSync,        // the guard of a SETATTR does not match
  kTryAgain,         // a limit was reached; nothing was done
  // What only this system sees.
  kMiss,             // blocks must be read first; nothing was done (see wafl/attempt.h)
  kIo,               // the device failed the request; redundancy may repair it
  kCorrupt,          // bytes arrived, and their checksum or magic is wrong
  kFenced,           // the partner owns the resource now; stop using it
  kRefused,          // a rule forbids it; the context says which
  kForeign,          // it belongs to another pair, filer or epoch
  kClosed,           // the connection, log or aggregate is closed
};

struct Error {
  Errc code;
  std::string_view context;  // a string literal: what was being done

  friend constexpr bool operator==(const Error&, const Error&) = default;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, error) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  // REQUIRES: ok().
  [[nodiscard]] T& value() { return std::get<0>(state_); }
  [[nodiscard]] const T& value() const { return std::get<0>(state_); }
  // REQUIRES: !ok().
  [[nodiscard]] Error error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Ok {
  friend constexpr bool operator==(Ok, Ok) = default;
};
using Status = Result<Ok>;

}  // namespace duet
