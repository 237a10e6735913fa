// History: holds every answer to the reference model, while clients overlap and servers die.
//
// The filer gives each logged change a time, later than all before it; that is the order of
// the changes.  An answer to a change is held to the tree right after its own record.  Any other
// answer must be right for some state between those in which it was asked and given.
//
// The tree is kept as it was when the oldest request that still runs was asked, and moves on
// when that ends; so whatever is compared is complete.
//
// Named by their invariants: I5 (acknowledged and lost), I6 (not as the model), I7 (done twice).

#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "world/tree.h"

namespace duet::world {

class History {
 public:
  // One request, through all its retries, until it is answered.
  struct Request {
    Operation operation;
    std::uint32_t client = 0;
    std::uint32_t xid = 0;
    std::int64_t begin = 0;  // the newest record when it was first asked
    std::optional<std::int64_t> end;
    std::optional<Answer> answer;
    std::vector<std::int64_t> records;  // those that are in the log
  };
  using RequestRef = std::list<Request>::iterator;

  explicit History(Tree tree) : tree_(std::move(tree)) {}

  RequestRef begin(Operation operation, std::uint32_t client, std::uint32_t xid);
  Complaint end(RequestRef request, Answer answer);

  // A record of this request was stored.
  Complaint logged(std::uint64_t sequence, std::int64_t now, std::uint32_t client,
                   std::uint32_t xid);
  // A restart brought back all up to `last` and nothing else.
  Complaint recovered(std::uint64_t last);

  // A snapshot was taken at that time, between two changes; or gone; or another name.
  // REQUIRES: a request that pins the tree runs since before (pin()).
  void snapshot_taken(std::int64_t now, std::string name);
  void snapshot_deleted(const std::string& name) { snapshots_.erase(name); }
  void snapshot_renamed(const std::string& from, const std::string& to);
  // REQUIRES: nothing runs.
  Complaint restored(const std::string& name);

  // The tree does not move while a pin stands.
  RequestRef pin();
  Complaint unpin(RequestRef pin);

  // What the filer must hold now, every record included.
  [[nodiscard]] Tree present() const;
  // REQUIRES: snapshot_taken(), and the tree has moved there.
  Tree* snapshot(const std::string& name);
  [[nodiscard]] std::map<std::string, Tree>& snapshots() { return snapshots_; }
  Tree& tree() { return tree_; }
  [[nodiscard]] std::size_t running() const { return running_.size(); }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

 private:
  struct Event {
    std::uint64_t sequence = 0;
    Request* request = nullptr;  // null: a snapshot
    std::string snapshot;
  };

  Complaint advance();
  Complaint match();
  Complaint apply(std::int64_t now, const Event& event);
  [[nodiscard]] static Complaint describe(const Request& request, const Complaint& what);

  Tree tree_;
  std::int64_t position_ = 0;  // the newest record in tree_
  std::int64_t newest_ = 0;    // the newest record
  std::map<std::int64_t, Event> journal_;  // behind position_
  std::list<Request> running_;
  std::list<Request> ended_;  // answered, and not yet held to the tree
  std::map<std::string, Tree> snapshots_;
  std::uint64_t changes_ = 0;
};

}  // namespace duet::world
