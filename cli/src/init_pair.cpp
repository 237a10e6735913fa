// duet init of a pair: both filers from the one host of both nodes, or one filer from the machine
// of its home node.
//
//   look at all disks -> nobody lives, nothing is lost -> register and fence the disks, wipe the
//   mailbox -> make the redundancy groups -> format each filer -> close the groups -> owner record
//   -> let go of the disks
//
// A group is made with the filers that use it.  Where both do and only one is formatted, a group
// that is there as configured is kept, with what the other filer has on it.
//
// The record is written last and names the epochs that the roots hold, so that the first opening
// finds what an orderly one leaves (rule 3 of docs/DESIGN.md, section 5).  An init that is
// interrupted leaves a pair without a record, which no node serves.

#include <fmt/format.h>

#include "pair_init.h"

namespace duet::cli {

namespace {

void make_directories(const config::Config& config, const config::Node& node) {
  std::vector<std::string> paths{node.memory.path.text, node.mirror->path.text,
                                 node.admin.socket.text};
  if (config.on_one_host()) {
    paths.push_back(config.interconnect->directory.text + "/");
  }
  make_directories_of(paths);
}

}  // namespace

Exit init_pair(Session& session, const config::Config& config, bool force) {
  std::vector<const config::Node*> nodes;
  if (!session.options().node.empty()) {
    nodes = {session.node()};
  } else if (config.on_one_host()) {
    nodes = {config.node("a"), config.node("b")};
  } else {
    return session.fail(
        Exit::kUsage,
        fmt::format("{}:{}: the nodes of this pair are two machines, each with memory of its own; "
                    "run `duet init --node a` on node a's and `duet init --node b` on node b's",
                    config.file, config.interconnect->line));
  }
  for (const config::Node* const node : nodes) {
    if (node == nullptr) {
      return Exit::kUsage;
    }
    if (const auto wrong = config::check_files(config, *node, config::Purpose::kFormat)) {
      return session.fail(Exit::kUsage, wrong->text());
    }
  }
  PairInit init(session, config);
  if (const std::string wrong = init.open_disks(); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (const std::string living = init.find_life(); !living.empty()) {
    return session.fail(Exit::kFailed, "nothing was touched, because " + living);
  }
  std::vector<std::string> found;
  if (const std::string wrong = init.find_data(nodes, found); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (!may_destroy(session, found, force)) {
    return Exit::kFailed;
  }
  for (const config::Node* const node : nodes) {
    make_directories(config, *node);
  }
  if (const std::string wrong = init.open_memories(!found.empty()); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  if (const std::string wrong = init.take_disks(); !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  if (const std::string wrong = init.make_groups(); !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  for (const config::Node* const node : nodes) {
    if (const std::string wrong = init.format(*node); !wrong.empty()) {
      return session.fail(
          Exit::kFailed,
          fmt::format("filer {}: {}", config.filer_at_home(node->name)->name, wrong));
    }
  }
  if (const std::string wrong = init.close_groups(); !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  if (const std::string wrong = init.write_record(); !wrong.empty()) {
    return session.fail(Exit::kFailed, wrong);
  }
  for (const config::Node* const node : nodes) {
    progress(session, fmt::format("filer {} is ready; serve it with: duetd --config {} --node {}",
                                  config.filer_at_home(node->name)->name, config.file, node->name));
  }
  return done(session);
}

}  // namespace duet::cli
