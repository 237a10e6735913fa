// Operations: what can be done with files and directories.
//
// Every function either does all of it in this turn, or changes nothing and
// returns an Error.  Error kMiss: see wafl/attempt.h.  Besides the errors named
// at each, kCorrupt where the bytes on disk make no sense, and for those that change
// something kReadOnly (a snapshot) and kNoSpace, kOverLimit, kTryAgain (Volume::reserve).
//
// Nobody's rights are checked here; filer does that.  `now` becomes the times that
// POSIX says the operation changes.
//
// A name is 1 to 255 bytes, without '/' and NUL, and neither "." nor "..": check_name().
//
// Thread-safety: the aggregate's strand.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "wafl/attempt.h"
#include "wafl/inode.h"
#include "wafl/types.h"
#include "wafl/volume.h"

namespace duet::wafl {

// --- Names.  The source is operations/directory.cpp; the bytes are in directory_format.h.

// Error: kInvalid (empty, '/', NUL, "." or ".."), kNameTooLong.
Status check_name(std::string_view name);

struct Entry {
  InodeNumber inode{};
  FileType type = FileType::kFree;
  Cookie cookie{};
};

// Error: kNotDirectory, kNotFound.  Knows neither "." nor "..".
Result<Entry> lookup(Attempt& attempt, Inode& directory, std::string_view name);
// Error: kNotDirectory.
Result<InodeNumber> parent_of(Inode& directory);

struct ListedEntry {
  std::string_view name;  // valid during the call
  InodeNumber inode{};
  FileType type = FileType::kFree;
  Cookie cookie{};  // list() from here goes on behind this entry
};
// Gives entries in the order of their cookies, from behind `after` (Cookie{0}: from the
// start; "." is Cookie{1}, ".." is Cookie{2}, and both are given), until `visit` returns false or
// the end.  True: the end was reached.  On kMiss, `visit` may have seen entries: it must collect
// afresh at the next try.  Any cookie is taken: entries behind it are given.
// Error: kNotDirectory.
Result<bool> list(Attempt& attempt, Inode& directory, Cookie after,
                  const std::function<bool(const ListedEntry&)>& visit);

// --- Changing names.

struct NewNode {
  FileType type = FileType::kRegular;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Device device;                   // devices
  std::string_view target;         // symbolic links: 1 .. kSymlinkBytesMax bytes
  std::optional<Timestamp> atime;  // CREATE may set them; else now (exclusive create: verifier)
  std::optional<Timestamp> mtime;
  std::optional<InodeNumber> inode;  // replay says which
};
// Makes it and enters it in `directory`.  Error: kExists, kNotDirectory, kInvalid,
// kNameTooLong, kTooManyLinks.
Result<InodeRef> create(Attempt& attempt, Inode& directory, std::string_view name,
                        const NewNode& node, Timestamp now);
// Error: kExists, kNotDirectory, kIsDirectory (of `inode`), kTooManyLinks, kCrossVolume.
Status link(Attempt& attempt, Inode& directory, std::string_view name, Inode& inode, Timestamp now);
// Anything but a directory.  Error: kNotFound, kIsDirectory, kNotDirectory.
Status remove(Attempt& attempt, Inode& directory, std::string_view name, Timestamp now);
// Error: kNotFound, kNotDirectory, kNotEmpty.
Status remove_directory(Attempt& attempt, Inode& directory, std::string_view name, Timestamp now);
// POSIX rename: replaces what is there if the types allow; nothing happens when both names are
// the same file.  Error: kNotFound, kNotDirectory, kIsDirectory, kNotEmpty, kInvalid (a directory
// into itself or below), kTooManyLinks, kCrossVolume.
Status rename(Attempt& attempt, Inode& from, std::string_view from_name, Inode& to,
              std::string_view to_name, Timestamp now);

// --- Contents.

// Some bytes of a file; the buffer keeps them.
struct Extent {
  BufferRef buffer;  // empty: `bytes` zeros
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
};
struct ReadResult {
  std::vector<Extent> extents;
  std::uint64_t bytes = 0;
  bool end_of_file = false;
};
// Up to `count` bytes from `offset`; fewer only at the end of the file.  Does not change atime.
// Error: kIsDirectory, kBadType.
Result<ReadResult> read(Attempt& attempt, Inode& inode, std::uint64_t offset, std::uint32_t count);

// Writes all of `data`, which may lie in several pieces.  Clears set-uid and set-gid when
// `drop_privileges`.  `checksum`, if any, becomes the CRC-32C of `data`, which the blocks'
// checksums tell.  Error: kIsDirectory, kBadType, kFileTooBig.
Status write(Attempt& attempt, Inode& inode, std::uint64_t offset, std::span<const ConstBytes> data,
             bool drop_privileges, Timestamp now, std::uint32_t* checksum = nullptr);

// Error: kBadType when it is no symbolic link.
Result<std::string> read_link(Attempt& attempt, Inode& inode);

struct AttributeChanges {
  std::optional<std::uint32_t> mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::optional<std::uint64_t> size_bytes;
  std::optional<Timestamp> atime;
  std::optional<Timestamp> mtime;
};
// ctime becomes `now`; a change of size sets mtime too, unless given.
// Error: kIsDirectory or kBadType (size of something else), kFileTooBig.
Status set_attributes(Attempt& attempt, Inode& inode, const AttributeChanges& changes,
                      Timestamp now);

}  // namespace duet::wafl
