// Answers, held to the file system.

#include <algorithm>

#include "tree_detail.h"
#include "world/tree.h"

namespace duet::world {

namespace {

using wafl::FileType;

constexpr ObjectId kNone{};

template <typename T>
Complaint differ(const char* what, const char* which, T given, T wanted) {
  return std::string(what) + ": " + which + " is " + std::to_string(given) + ", not " +
         std::to_string(wanted);
}

std::int64_t raw(wafl::Timestamp time) { return static_cast<std::int64_t>(time); }

bool wants_attributes(const Operation& operation) {
  return operation.kind != Kind::kCommit && !(changes_something(operation.kind) &&
                                              operation.kind != Kind::kCreate &&
                                              operation.kind != Kind::kMake &&
                                              operation.kind != Kind::kLink);
}

}  // namespace

Complaint Tree::apply(const Operation& operation, std::int64_t now, const Answer* answer) {
  // The tree changes whatever the answer says: the log has it.
  Tree& self = *this;
  const Expected want = self.execute(operation, now, true);
  if (answer == nullptr) {
    return {};
  }
  if (want.error.has_value()) {
    return "it was logged, and should have got " + text_of(want.error);
  }
  Lessons lessons;
  Complaint complaint = compare(operation, want, *answer, lessons);
  if (complaint.empty()) {
    learn(lessons);
  }
  return complaint;
}

Complaint Tree::check(const Operation& operation, const Answer& answer) {
  const Expected want = execute(operation, 0, false);
  const bool full = may_be_full && answer.error.has_value() && want.changed &&
                    (*answer.error == Errc::kNoSpace || *answer.error == Errc::kOverLimit);
  if (full) {
    return {};
  }
  if (want.changed && !want.error.has_value()) {
    return "it should have changed something and been logged, and got " + text_of(answer.error);
  }
  Lessons lessons;
  Complaint complaint = compare(operation, want, answer, lessons);
  if (complaint.empty()) {
    learn(lessons);
  }
  return complaint;
}

Complaint Tree::compare(const Operation& operation, const Expected& want, const Answer& answer,
                        Lessons& lessons) const {
  if (answer.error != want.error) {
    return "got " + text_of(answer.error) + ", not " + text_of(want.error);
  }
  const Object* const object = want.object == kNone ? nullptr : find(want.object);
  if (wants_attributes(operation) && (object != nullptr || answer.attributes.has_value())) {
    if (object == nullptr) {
      return "attributes of nothing";
    }
    if (Complaint c = compare_attributes(*object, answer.attributes, "object", lessons);
        !c.empty()) {
      return c;
    }
  }
  if (want.handle != answer.handle.has_value()) {
    return want.handle ? "no handle" : "a handle of nothing";
  }
  if (want.handle && object != nullptr) {
    if (Complaint c = compare_handle(want.object, *answer.handle, lessons); !c.empty()) {
      return c;
    }
  }
  if (want.directory != kNone) {
    if (Complaint c = compare_attributes(*find(want.directory), answer.directory, "directory",
                                         lessons);
        !c.empty()) {
      return c;
    }
  }
  // CREATE of what is there says nothing new of the directory, and need not say anything.
  const bool optional_wcc = operation.kind == Kind::kCreate && !want.changed &&
                            !answer.first.before.has_value() && !answer.first.after.has_value();
  if (!optional_wcc) {
    if (Complaint c = compare_wcc(want.first_before,
                                  want.first == kNone ? nullptr : find(want.first), answer.first,
                                  "first", lessons);
        !c.empty()) {
      return c;
    }
  }
  if (Complaint c = compare_wcc(want.second_before,
                                want.second == kNone ? nullptr : find(want.second),
                                answer.second, "second", lessons);
      !c.empty()) {
    return c;
  }
  if (answer.error.has_value()) {
    return {};
  }
  if (operation.kind == Kind::kRead) {
    return compare_data(operation, *object, answer);
  }
  if (operation.kind == Kind::kReadlink && answer.data != object->target) {
    return "another target of the symbolic link";
  }
  if (operation.kind == Kind::kWrite && answer.count != operation.data.size()) {
    return differ("WRITE", "count", std::size_t{answer.count}, operation.data.size());
  }
  if (operation.kind == Kind::kReaddir) {
    return compare_list(operation, *find(want.directory), answer, lessons);
  }
  if (operation.kind == Kind::kAccess) {
    const bool runs = (object->mode & 0111U) != 0 && object->type == FileType::kRegular;
    std::uint32_t bits = object->type == FileType::kDirectory ? 0x1FU : (runs ? 0x2DU : 0x0DU);
    bits &= snapshot_ ? 0x23U : ~0U;
    if (answer.access != (bits & operation.wanted)) {
      return differ("ACCESS", "bits", answer.access, bits & operation.wanted);
    }
  }
  return {};
}

Complaint Tree::compare_attributes(const Object& node, const filer::PostAttributes& given,
                                   const char* what, Lessons& lessons) const {
  if (!given.has_value()) {
    return std::string(what) + ": no attributes";
  }
  const wafl::Attributes& attributes = given->attributes;
  if (attributes.type != node.type) {
    return differ(what, "type", static_cast<int>(attributes.type), static_cast<int>(node.type));
  }
  if (attributes.mode != node.mode) {
    return differ(what, "mode", attributes.mode, node.mode);
  }
  if (attributes.links != node.links) {
    return differ(what, "links", attributes.links, node.links);
  }
  if (attributes.uid != node.uid || attributes.gid != node.gid) {
    return differ(what, "owner", attributes.uid, node.uid);
  }
  if (attributes.device != node.device) {
    return differ(what, "device", attributes.device.major, node.device.major);
  }
  if (raw(attributes.ctime) != node.ctime) {
    return differ(what, "ctime", raw(attributes.ctime), node.ctime);
  }
  if (raw(attributes.mtime) != node.mtime) {
    return differ(what, "mtime", raw(attributes.mtime), node.mtime);
  }
  if (node.type == FileType::kDirectory) {
    if (node.directory_bytes.value_or(attributes.size_bytes) != attributes.size_bytes) {
      return differ(what, "size", attributes.size_bytes, *node.directory_bytes);
    }
    if (node.directory_used.value_or(attributes.used_bytes) != attributes.used_bytes) {
      return differ(what, "used bytes", attributes.used_bytes, *node.directory_used);
    }
    lessons.directories[node.id] = {attributes.size_bytes, attributes.used_bytes};
  } else {
    const std::uint64_t used =
        (node.type == FileType::kSymlink ? 1 : node.blocks.size()) * std::uint64_t{4096};
    if (attributes.size_bytes != bytes_of(node)) {
      return differ(what, "size", attributes.size_bytes, bytes_of(node));
    }
    if (attributes.used_bytes != used) {
      return differ(what, "used bytes", attributes.used_bytes, used);
    }
  }
  if (fsid_.value_or(given->fsid) != given->fsid) {
    return differ(what, "fsid", given->fsid, *fsid_);
  }
  lessons.fsid = given->fsid;
  if (node.fileid.has_value()) {
    return *node.fileid == given->fileid ? Complaint()
                                         : differ(what, "fileid", given->fileid, *node.fileid);
  }
  for (const auto& [id, other] : nodes_) {
    if (id != node.id && other.fileid == given->fileid) {
      return std::string(what) + ": its fileid is that of another object that exists";
    }
  }
  lessons.fileids[node.id] = given->fileid;
  return {};
}

Complaint Tree::compare_wcc(const std::optional<filer::PreAttributes>& before, const Object* node,
                            const filer::WccData& given, const char* what,
                            Lessons& lessons) const {
  if (node == nullptr) {
    return given.before.has_value() || given.after.has_value()
               ? std::string(what) + ": attributes of nothing"
               : Complaint();
  }
  if (!given.before.has_value()) {
    return std::string(what) + ": no attributes from before";
  }
  if (given.before->ctime != before->ctime || given.before->mtime != before->mtime) {
    return differ(what, "ctime before", raw(given.before->ctime), raw(before->ctime));
  }
  if (before->size_bytes != 0 && given.before->size_bytes != before->size_bytes) {
    return differ(what, "size before", given.before->size_bytes, before->size_bytes);
  }
  return compare_attributes(*node, given.after, what, lessons);
}

Complaint Tree::compare_handle(ObjectId node, const std::string& handle, Lessons& lessons) const {
  if (const auto known = handles_.find(node); known != handles_.end()) {
    return known->second == handle ? Complaint() : "the handle of an object has changed";
  }
  if (by_handle_.contains(handle)) {
    return "a handle that another object had";
  }
  lessons.handles[node] = handle;
  return {};
}

Complaint Tree::compare_data(const Operation& operation, const Object& file,
                             const Answer& answer) const {
  const std::uint64_t begin = std::min(operation.offset, file.size);
  const std::uint64_t bytes = std::min<std::uint64_t>(operation.count, file.size - begin);
  if (answer.data.size() != bytes) {
    return differ("READ", "count", answer.data.size(), static_cast<std::size_t>(bytes));
  }
  if (answer.end != (begin + bytes >= file.size)) {
    return "READ: end of file said wrongly";
  }
  // Block by block: surveys read every file of every snapshot, and a search for each byte was most
  // of a run.
  static const Object::Block kHole{};
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t at = (begin + done) % 4096;
    const std::uint64_t now = std::min(bytes - done, 4096 - at);
    const auto block = file.blocks.find((begin + done) / 4096);
    const char* const wanted = (block == file.blocks.end() ? kHole : *block->second).data() + at;
    const char* const given = answer.data.data() + done;
    const auto wrong = std::mismatch(given, given + now, wanted).first - given;
    if (static_cast<std::uint64_t>(wrong) != now) {
      return differ("READ", "the byte at that offset",
                    begin + done + static_cast<std::uint64_t>(wrong), begin) +
             ": wrong data";
    }
    done += now;
  }
  return {};
}

Complaint Tree::compare_entry(const Operation& operation, const Object& directory,
                              const filer::ReaddirEntry& entry, Lessons& lessons) const {
  ObjectId target{};
  if (entry.name == "." || entry.name == "..") {
    target = entry.name == "." ? directory.id : directory.parent;
  } else {
    const auto found = directory.names.find(entry.name);
    if (found == directory.names.end()) {
      return "READDIR: a name that is not there: " + entry.name.substr(0, 20);
    }
    if (found->second.cookie.value_or(entry.cookie) != entry.cookie) {
      return "READDIR: a cookie has moved: " + entry.name.substr(0, 20);
    }
    target = found->second.node;
    lessons.cookies[{directory.id, entry.name}] = entry.cookie;
  }
  const Object& node = *find(target);
  if (node.fileid.value_or(entry.fileid) != entry.fileid) {
    return differ("READDIR", "fileid", entry.fileid, *node.fileid);
  }
  if (!operation.plus) {
    return {};
  }
  if (!entry.handle.has_value()) {
    return "READDIRPLUS: no handle";
  }
  const filer::Handle& handle = *entry.handle;
  const std::string bytes(reinterpret_cast<const char*>(handle.data.data()), handle.size);
  if (Complaint c = compare_handle(target, bytes, lessons); !c.empty()) {
    return "READDIRPLUS: " + c;
  }
  return compare_attributes(node, entry.attributes, "READDIRPLUS", lessons);
}

Complaint Tree::compare_list(const Operation& operation, const Object& directory,
                             const Answer& answer, Lessons& lessons) const {
  std::uint64_t last = operation.cookie;
  std::set<std::string> given;
  for (const filer::ReaddirEntry& entry : answer.entries) {
    if (entry.cookie <= last) {
      return "READDIR: cookies do not grow";
    }
    last = entry.cookie;
    if (!given.insert(entry.name).second) {
      return "READDIR: a name twice: " + entry.name.substr(0, 20);
    }
    if (Complaint c = compare_entry(operation, directory, entry, lessons); !c.empty()) {
      return c;
    }
  }
  // What was left out must stand elsewhere.
  for (const auto& [name, entry] : directory.names) {
    if (given.contains(name)) {
      continue;
    }
    const bool before = entry.cookie.has_value() && *entry.cookie <= operation.cookie;
    const bool after = !answer.end && (!entry.cookie.has_value() || *entry.cookie > last);
    const bool unknown = !entry.cookie.has_value() && operation.cookie != 0;
    if (!before && !after && !unknown) {
      return "READDIR: left out: " + name.substr(0, 20);
    }
  }
  if (operation.cookie == 0 && (!given.contains(".") || !given.contains(".."))) {
    return answer.end || !answer.entries.empty() ? "READDIR: no . or .." : Complaint();
  }
  return {};
}

void Tree::learn(const Lessons& lessons) {
  for (const auto& [node, handle] : lessons.handles) {
    handles_[node] = handle;
    by_handle_[handle] = node;
  }
  for (const auto& [id, fileid] : lessons.fileids) {
    find_mutable(id)->fileid = fileid;
  }
  for (const auto& [id, bytes] : lessons.directories) {
    find_mutable(id)->directory_bytes = bytes.first;
    find_mutable(id)->directory_used = bytes.second;
  }
  for (const auto& [place, cookie] : lessons.cookies) {
    find_mutable(place.first)->names[place.second].cookie = cookie;
  }
  fsid_ = lessons.fsid.has_value() ? lessons.fsid : fsid_;
}

}  // namespace duet::world
