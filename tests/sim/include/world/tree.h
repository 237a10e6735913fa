// Tree: the reference model: one file system in memory, as simple as can be, that says
// what each request must give.  It shares no code with the filer.
//
// Some numbers are the filer's to choose (handles, file ids, cookies, the size of a directory):
// the tree learns each from the first reply that shows it, and holds every later reply to it.
//
// Checks are made with `complaint`s: empty, or what is wrong, for people.

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "world/operation.h"

namespace duet::world {

using Complaint = std::string;

enum class ObjectId : std::uint64_t {};

struct Object {
  ObjectId id{};
  wafl::FileType type = wafl::FileType::kRegular;
  std::uint32_t mode = 0;
  std::uint32_t links = 1;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  wafl::Device device;
  std::int64_t mtime = 0;
  std::int64_t ctime = 0;
  std::optional<std::uint64_t> verifier;  // of the exclusive CREATE; until the times change
  std::string target;                     // symbolic links

  // Files.
  using Block = std::array<char, 4096>;
  std::uint64_t size = 0;
  std::map<std::uint64_t, std::shared_ptr<const Block>> blocks;

  // Directories.
  struct Entry {
    ObjectId node{};
    std::optional<std::uint64_t> cookie;
  };
  std::map<std::string, Entry> names;
  ObjectId parent{};

  // Learned.
  std::optional<std::uint64_t> fileid;
  std::optional<std::uint64_t> directory_bytes;  // since the directory last changed
  std::optional<std::uint64_t> directory_used;
};

class Tree {
 public:
  // With only a root directory, as GETATTR showed it when the volume was new.
  Tree(std::string root_handle, const filer::FileAttributes& root);

  // Makes the change that a log record of `operation` at time `now` stands for, and holds
  // the answer, when there is one, to it.
  Complaint apply(const Operation& operation, std::int64_t now, const Answer* answer);
  // Holds an answer that came without a log record to this state.  Learns if it agrees.
  Complaint check(const Operation& operation, const Answer& answer);

  // The tree inside a snapshot that is taken now: other handles, another fsid.
  [[nodiscard]] Tree as_snapshot() const;
  // A clone of this snapshot, writable: other handles, another fsid.
  [[nodiscard]] Tree as_clone() const;
  // What this live tree becomes when `snapshot`, taken of it, is restored.
  void restore(const Tree& snapshot);

  [[nodiscard]] const Object& root() const { return *find(kRoot); }
  [[nodiscard]] const Object* find(ObjectId id) const;
  [[nodiscard]] const Object* find(const std::string& handle) const;
  [[nodiscard]] std::optional<std::string> handle_of(ObjectId id) const;
  void learn_root(std::string handle);
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

  // No room: any change may be refused with kNoSpace or kOverLimit.
  bool may_be_full = false;

  static constexpr ObjectId kRoot{1};

 private:
  struct Expected;
  struct Lessons;
  Expected execute(const Operation& operation, std::int64_t now, bool commit);
  void execute_setattr(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_write(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_create(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_make(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_remove(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_rename(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_link(const Operation& operation, std::int64_t now, bool commit, Expected& want);
  void execute_look(const Operation& operation, Expected& want);
  Object* new_node(const Operation& operation, wafl::FileType type, Object& parent, std::int64_t now);
  bool find_place(const Operation& operation, const std::string& handle, Expected& want);
  [[nodiscard]] bool is_below(ObjectId directory, ObjectId ancestor) const;
  Object* find_mutable(ObjectId id);
  Object* find_mutable(const std::string& handle, Expected& want);
  void drop(Object& node, std::int64_t now);
  void resize(Object& node, std::uint64_t size);
  void changed(Object& directory, std::int64_t now);

  Complaint compare(const Operation& operation, const Expected& want, const Answer& answer,
                    Lessons& lessons) const;
  Complaint compare_attributes(const Object& node, const filer::PostAttributes& given,
                               const char* what, Lessons& lessons) const;
  Complaint compare_wcc(const std::optional<filer::PreAttributes>& before, const Object* node,
                        const filer::WccData& given, const char* what, Lessons& lessons) const;
  Complaint compare_handle(ObjectId node, const std::string& handle, Lessons& lessons) const;
  Complaint compare_list(const Operation& operation, const Object& directory, const Answer& answer,
                         Lessons& lessons) const;
  Complaint compare_entry(const Operation& operation, const Object& directory,
                          const filer::ReaddirEntry& entry, Lessons& lessons) const;
  Complaint compare_data(const Operation& operation, const Object& file, const Answer& answer) const;
  [[nodiscard]] static std::uint64_t bytes_of(const Object& node);
  [[nodiscard]] static filer::PreAttributes pre(const Object& node);
  void learn(const Lessons& lessons);

  std::map<ObjectId, Object> nodes_;
  std::map<std::string, ObjectId> by_handle_;  // of all that ever were, too
  std::map<ObjectId, std::string> handles_;
  std::uint64_t next_node_ = 2;
  std::optional<std::uint64_t> fsid_;
  bool snapshot_ = false;
};

}  // namespace duet::world
