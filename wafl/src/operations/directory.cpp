// Looking at names.

#include <string_view>

#include "operations/support.h"
#include "wafl/directory_format.h"
#include "wafl/operations.h"

namespace duet::wafl {

namespace {

constexpr Error kNoDirectory{Errc::kNotDirectory, "no directory"};
constexpr std::uint64_t kCookieSelf = 1;
constexpr std::uint64_t kCookieParent = 2;

}  // namespace

Status check_name(std::string_view name) {
  if (name.size() > kNameBytesMax) {
    return Error{Errc::kNameTooLong, "the name is over 255 bytes"};
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos) {
    return Error{Errc::kInvalid, "a name has no / and no zero byte, and is not empty, . or .."};
  }
  return Ok{};
}

Result<Entry> lookup(Attempt& attempt, Inode& directory, std::string_view name) {
  if (!is_directory(directory)) {
    return kNoDirectory;
  }
  const Status named = check_name(name);
  if (!named.ok()) {
    return named.error().code == Errc::kInvalid ? Error{Errc::kNotFound, "no entry has this name"}
                                                : named.error();
  }
  const Result<DirectoryTree::Position> found = Names(attempt, directory)->find(name);
  if (!found.ok()) {
    // Only who wants to add a name cares that its hash has no cookie left.
    return found.error().code == Errc::kNoSpace ? Error{Errc::kNotFound, "no such name"}
                                                : found.error();
  }
  if (!found.value().found) {
    return Error{Errc::kNotFound, "no such name"};
  }
  return Entry{InodeNumber{found.value().inode}, FileType{found.value().type},
               Cookie{found.value().cookie}};
}

Result<InodeNumber> parent_of(Inode& directory) {
  if (!is_directory(directory)) {
    return kNoDirectory;
  }
  // The root is its own parent, also when nobody has said so.
  const std::uint64_t parent = directory.user_word(kDirectoryParentWord);
  return parent == 0 ? directory.id().inode : InodeNumber{parent};
}

Result<bool> list(Attempt& attempt, Inode& directory, Cookie after,
                  const std::function<bool(const ListedEntry&)>& visit) {
  const Result<InodeNumber> parent = parent_of(directory);
  if (!parent.ok()) {
    return parent.error();
  }
  std::uint64_t from = static_cast<std::uint64_t>(after);
  if (from < kCookieSelf) {
    from = kCookieSelf;
    if (!visit({".", directory.id().inode, FileType::kDirectory, Cookie{kCookieSelf}})) {
      return false;
    }
  }
  if (from < kCookieParent) {
    from = kCookieParent;
    if (!visit({"..", parent.value(), FileType::kDirectory, Cookie{kCookieParent}})) {
      return false;
    }
  }
  return Names(attempt, directory)->list(from, [&visit](const DirectoryRecord& record) {
    return visit(
        {record.name, InodeNumber{record.inode}, FileType{record.type}, Cookie{record.cookie}});
  });
}

}  // namespace duet::wafl
