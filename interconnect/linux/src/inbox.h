// Inbox: one mapping of an inbox file, its owner's or its partner's.
//
// Ownership: owns the mapping; the owner's end also removes the file.
// Thread-safety: one thread per end.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "interconnect/inbox_format.h"
#include "interconnect/link_base.h"

namespace duet::interconnect {

class Inbox {
 public:
  // A new file in the place of whatever has this name: an older mapping of that is not disturbed,
  // and disturbs nobody.
  // Error: kIo: it cannot be made or mapped.
  static Result<std::unique_ptr<Inbox>> create(const std::string& path,
                                               const LinkIdentity& identity, std::uint64_t nonce,
                                               std::uint64_t memory_bytes);
  // The partner's.  Error: kIo; kForeign: not the one that its hello told of.
  static Result<std::unique_ptr<Inbox>> open(const std::string& path, const InboxHello& hello);

  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  [[nodiscard]] std::uint64_t memory_bytes() const { return header().memory_bytes; }

  // The owner's side.
  void set_beat(std::uint64_t beat) { header().beat.store(beat); }
  void set_grants(const Grants& grants);
  enum class Taken : std::uint8_t { kNothing, kMessage, kDamaged };
  // The next message, into `message`.
  Taken take(Channel& channel, std::array<std::byte, kMessageBytesMax>& message,
             std::size_t& message_bytes);
  // From now on the next message rings the bell.  False: there is one already, and it may not.
  bool fall_asleep();

  // The partner's side.
  [[nodiscard]] std::uint64_t beat() const { return header().beat.load(); }
  // What is granted for `window` now; none also while it changes.
  [[nodiscard]] std::optional<Grant> grant(std::size_t window) const;
  // False: no room.  The owner sees it after publish().
  bool put(Channel channel, ConstBytes message);
  // True: the owner sleeps and is to be woken.
  bool publish();

 private:
  class Mapping;
  explicit Inbox(std::unique_ptr<Mapping> mapping);
  [[nodiscard]] InboxHeader& header() const;
  [[nodiscard]] std::byte* ring() const;
  void copy_in(std::uint64_t at, ConstBytes bytes);
  void copy_out(std::uint64_t at, MutableBytes bytes) const;

  std::unique_ptr<Mapping> mapping_;
  std::string created_path_;          // empty: the partner's
  std::uint64_t created_number_ = 0;  // the file's inode
  std::uint64_t given_ = 0;           // the partner's end: put, perhaps not published
  std::uint64_t taken_ = 0;           // the owner's end
};

}  // namespace duet::interconnect
