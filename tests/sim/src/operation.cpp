#include "world/operation.h"

#include <array>

namespace duet::world {

std::string_view kind_name(Kind kind) {
  static constexpr std::array<std::string_view, 16> kNames{
      "GETATTR", "SETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "WRITE",   "CREATE",
      "MAKE",    "REMOVE",  "RMDIR",  "RENAME", "LINK",     "READDIR", "FSSTAT", "COMMIT"};
  return kNames.at(static_cast<std::size_t>(kind));
}

bool reply_is_kept(const Operation& operation) {
  switch (operation.kind) {
    case Kind::kCreate:
    case Kind::kMake:
    case Kind::kRemove:
    case Kind::kRmdir:
    case Kind::kRename:
    case Kind::kLink:
      return true;
    case Kind::kSetattr:
      return operation.guard.has_value() || operation.changes.size_bytes.has_value();
    case Kind::kGetattr:
    case Kind::kLookup:
    case Kind::kAccess:
    case Kind::kReadlink:
    case Kind::kRead:
    case Kind::kWrite:
    case Kind::kReaddir:
    case Kind::kFsstat:
    case Kind::kCommit:
      break;
  }
  return false;
}

bool changes_something(Kind kind) {
  switch (kind) {
    case Kind::kSetattr:
    case Kind::kWrite:
    case Kind::kCreate:
    case Kind::kMake:
    case Kind::kRemove:
    case Kind::kRmdir:
    case Kind::kRename:
    case Kind::kLink:
      return true;
    case Kind::kGetattr:
    case Kind::kLookup:
    case Kind::kAccess:
    case Kind::kReadlink:
    case Kind::kRead:
    case Kind::kReaddir:
    case Kind::kFsstat:
    case Kind::kCommit:
      break;
  }
  return false;
}

std::string text_of(const Operation& operation) {
  std::string text(kind_name(operation.kind));
  if (!operation.name.empty()) {
    text += " '" + operation.name.substr(0, 20) + "'";
  }
  if (!operation.name2.empty()) {
    text += " '" + operation.name2.substr(0, 20) + "'";
  }
  if (operation.kind == Kind::kRead || operation.kind == Kind::kWrite) {
    const std::size_t bytes =
        operation.kind == Kind::kRead ? operation.count : operation.data.size();
    text += " " + std::to_string(bytes) + " bytes at " + std::to_string(operation.offset);
  }
  if (operation.changes.size_bytes.has_value()) {
    text += " size " + std::to_string(*operation.changes.size_bytes);
  }
  return text;
}

std::string text_of(const filer::Failure& failure) {
  return failure.has_value() ? "error " + std::to_string(static_cast<int>(*failure)) : "success";
}

}  // namespace duet::world
