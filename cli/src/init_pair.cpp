// duet init of a pair: both filers from the one host of both nodes, or one filer from the machine
// of its home node.
//
//   look at all disks -> nobody lives, nothing is lost -> of each filer: register, fence, wipe the
//   mailbox, format -> owner record -> let go of the disks
//
// The record is written last and names the epochs that the roots hold, so that the first opening
// finds what an orderly one leaves (rule 3 of docs/DESIGN.md, section 5).  An init that is
// interrupted leaves a pair without a record, which no node serves.

#include <fmt/format.h>

#include <array>
#include <optional>
#include <variant>

#include "format.h"
#include "init.h"
#include "living.h"
#include "local.h"
#include "mailbox/arbiter.h"
#include "shelf/fence.h"

namespace duet::cli {

namespace {

constexpr std::uint64_t kMailboxEnd = mailbox::kMembersBlock + mailbox::kNodes;

// Done with a filer before anything is written to its disks: nobody else writes there any more.
Task<Status> take(shelf::SharedDisk& disk) {
  const Status registered = co_await disk.register_key();
  if (!registered.ok()) {
    co_return registered;
  }
  // Nobody's life hangs on this fence: nobody lives, as far as anyone can see.
  co_return co_await shelf::fence_disk(disk, shelf::Reservation::kWriteExclusive,
                                       /*second_fence=*/true);
}

// Beats, marks, words, members and record of what was there before.
Task<Status> wipe_mailbox(shelf::SharedDisk& disk) {
  const auto blank = std::make_unique<mailbox::SectorBuffer>();
  for (std::uint64_t block = mailbox::kBeatBlock; block < kMailboxEnd; ++block) {
    const Status wiped = co_await disk.write(block, blank->parts());
    if (!wiped.ok()) {
      co_return wiped;
    }
  }
  co_return co_await disk.flush();
}

// What an older process had under way in an older epoch never lands; and everybody may register.
Task<Status> let_go(shelf::SharedDisk& disk, std::uint64_t epoch) {
  const Status raised = co_await disk.raise_epoch(epoch);
  if (!raised.ok() && raised.error().code != Errc::kNotSupported) {
    co_return raised;
  }
  co_return co_await disk.clear();
}

Task<Result<shelf::DiskState>> read_state(shelf::SharedDisk& disk) {
  co_return co_await disk.read_state();
}

class PairInit {
 public:
  PairInit(Session& session, const config::Config& config)
      : session_(session),
        config_(config),
        key_(draw_key(Purpose::kFormat, clock_, entropy_)),
        pair_(config::pair_id(config.pair)) {}

  // Each gives an empty text, or why not.
  std::string open_disks();
  std::string find_life();
  std::string find_data(const std::vector<const config::Node*>& nodes,
                        std::vector<std::string>& found);
  std::string open_memories(const std::vector<const config::Node*>& nodes, bool erase_them);
  std::string format(const config::Node& node);
  std::string write_record();

 private:
  struct Disk {
    std::uint32_t filer = 0;
    bool configured = false;   // for arbitration
    bool arbitration = false;  // holds the record, or will
    std::unique_ptr<shelf::SharedDisk> disk;
    shelf::DiskState state;
  };
  struct Memories {
    std::unique_ptr<os::MappedMemory> own, mirror;
  };

  [[nodiscard]] std::vector<BlockDevice*> disks_of(std::uint32_t filer) const;
  [[nodiscard]] std::string look_at_disk(Disk& disk);
  std::string read_record();
  [[nodiscard]] Disk& arbitration_disk();
  [[nodiscard]] mailbox::Arbiter arbiter();
  Result<mailbox::Owners> owners();
  std::string swap_record(const mailbox::Owners& owners);
  // The epoch that the root of `filer` begins with: no target refuses the next one as old, and the
  // owner record's grows.
  [[nodiscard]] std::uint64_t epoch_of(std::uint32_t filer) const;
  static std::string wrong(const shelf::SharedDisk& disk, const Error& error) {
    return fmt::format("disk {}: {}", disk.name(), error_text(error));
  }

  Session& session_;
  const config::Config& config_;
  os::EpollScheduler scheduler_;
  os::SystemClock clock_;
  os::SystemEntropy entropy_;
  const shelf::DiskKey key_;
  const std::array<std::uint64_t, 2> pair_;
  std::vector<Disk> disks_;
  std::array<Memories, mailbox::kNodes> memories_;
  std::uint64_t generation_ = 0;                                          // of its place
  std::optional<mailbox::OwnersRead> record_;                             // as it was found
  std::array<std::optional<std::uint64_t>, mailbox::kFilers> formatted_;  // the epoch of its root
};

std::vector<BlockDevice*> PairInit::disks_of(std::uint32_t filer) const {
  std::vector<BlockDevice*> disks;
  for (const Disk& disk : disks_) {
    if (disk.filer == filer) {
      disks.push_back(disk.disk.get());
    }
  }
  return disks;
}

PairInit::Disk& PairInit::arbitration_disk() {
  for (Disk& disk : disks_) {
    if (disk.arbitration) {
      return disk;
    }
  }
  DUET_CHECK(false);  // the configuration's reader saw to it
  return disks_.front();
}

mailbox::Arbiter PairInit::arbiter() {
  // A record names who wrote it; an operator speaks for the home of the disk.
  Disk& disk = arbitration_disk();
  const mailbox::Writer writer{pair_, mailbox::Node{static_cast<std::uint8_t>(disk.filer)},
                               mailbox::Incarnation{shelf::incarnation_of(key_)}};
  return {writer, *disk.disk, generation_};
}

std::string PairInit::look_at_disk(Disk& disk) {
  Result<shelf::DiskState> state = run(scheduler_, read_state(*disk.disk));
  if (!state.ok()) {
    return wrong(*disk.disk, state.error());
  }
  disk.state = std::move(state.value());
  return {};
}

// All of both filers, as a node reaches them all; and who lives may be seen on any.
std::string PairInit::open_disks() {
  for (const config::Filer& filer : config_.filers) {
    for (const config::Disk& named : filer.disks) {
      Disk disk{.filer = filer.index(),
                .configured = named.arbitration,
                .arbitration = named.arbitration,
                .disk = {},
                .state = {}};
      std::string refused = open_shared(scheduler_, config_, named, key_, disk.disk);
      if (refused.empty()) {
        refused = look_at_disk(disk);
      }
      if (!refused.empty()) {
        return refused;
      }
      disks_.push_back(std::move(disk));
    }
  }
  return read_record();
}

// It may have moved from where the configuration names it.
std::string PairInit::read_record() {
  std::vector<shelf::SharedDisk*> all;
  for (const Disk& disk : disks_) {
    all.push_back(disk.disk.get());
  }
  const Result<mailbox::FoundPlace> place =
      run(scheduler_, mailbox::find_record(pair_, std::move(all)));
  if (place.ok()) {
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      disks_[i].arbitration = i == place.value().disk;
    }
    generation_ = place.value().read.generation;
  }
  mailbox::Arbiter from = arbiter();
  Result<mailbox::OwnersRead> read = run(scheduler_, from.read());
  if (read.ok()) {
    record_ = std::move(read.value());
    return {};
  }
  // Another pair's, or no record at all, are looked at as data; damage leaves no epoch to go on
  // from, and the roots and the targets know theirs.
  const Errc code = read.error().code;
  const bool no_record =
      code == Errc::kNotFound || code == Errc::kForeign || code == Errc::kCorrupt;
  return no_record ? "" : wrong(from.disk(), read.error());
}

std::string PairInit::find_life() {
  std::vector<shelf::SharedDisk*> all;
  for (const Disk& disk : disks_) {
    all.push_back(disk.disk.get());
  }
  const Result<std::vector<LivingNode>> living = run(scheduler_, find_living(scheduler_, all));
  if (!living.ok()) {
    return "the mailbox: " + error_text(living.error());
  }
  return living.value().empty() ? "" : text_of(living.value().front());
}

std::string PairInit::find_data(const std::vector<const config::Node*>& nodes,
                                std::vector<std::string>& found) {
  for (const config::Node* const node : nodes) {
    for (BlockDevice* const disk : disks_of(config_.filer_at_home(node->name)->index())) {
      const Result<wafl::DiskProbe> probe = run(scheduler_, wafl::probe(*disk));
      if (!probe.ok()) {
        return fmt::format("disk {}: {}", disk->name(), error_text(probe.error()));
      }
      if (!probe.value().blank) {
        found.push_back(fmt::format("disk {} {}", disk->name(), contents_of(probe.value())));
      }
    }
    for (const config::Memory* const memory : {&node->memory, &*node->mirror}) {
      std::unique_ptr<os::MappedMemory> opened;
      if (std::string refused = open_memory(config_, *memory, /*create=*/false, opened);
          !refused.empty()) {
        return refused;
      }
      const auto probe = opened == nullptr ? std::nullopt : std::optional(nvlog::probe(*opened));
      if (probe && !probe->blank) {
        found.push_back(fmt::format("memory {} {}", memory->path.text, contents_of(*probe)));
      }
    }
  }
  return {};
}

// The mirror stays blank: the partner's log makes what it needs there when it first connects.
std::string PairInit::open_memories(const std::vector<const config::Node*>& nodes,
                                    bool erase_them) {
  for (const config::Node* const node : nodes) {
    Memories& memories = memories_[config_.filer_at_home(node->name)->index()];
    std::string refused = open_memory(config_, node->memory, /*create=*/true, memories.own);
    if (refused.empty()) {
      refused = open_memory(config_, *node->mirror, /*create=*/true, memories.mirror);
    }
    if (!refused.empty()) {
      return refused;
    }
    if (erase_them) {
      erase(*memories.own);
      erase(*memories.mirror);
      const Status erased = memories.mirror->persist();
      if (!erased.ok()) {
        return fmt::format("memory {}: {}", node->mirror->path.text, error_text(erased.error()));
      }
    }
  }
  return {};
}

std::uint64_t PairInit::epoch_of(std::uint32_t filer) const {
  std::uint64_t epoch = record_ ? record_->owners[filer].epoch : 0;
  for (const Disk& disk : disks_) {
    if (disk.filer == filer) {
      epoch = std::max(epoch, disk.state.epoch);
    }
  }
  return epoch;
}

std::string PairInit::format(const config::Node& node) {
  const config::Filer& filer = *config_.filer_at_home(node.name);
  progress(session_, fmt::format("filer {}: {} disks and {}", filer.name, filer.disks.size(),
                                 node.memory.path.text));
  for (const auto step : {take, wipe_mailbox}) {
    for (const Disk& disk : disks_) {
      if (disk.filer != filer.index()) {
        continue;
      }
      const Status done = run(scheduler_, step(*disk.disk));
      if (!done.ok()) {
        return wrong(*disk.disk, done.error());
      }
    }
  }
  const FilerFormat format{
      .config = config_,
      .filer = filer,
      .disks = disks_of(filer.index()),
      .memory = *memories_[filer.index()].own,
      .epoch = epoch_of(filer.index()),
      .progress = [this](const std::string& line) { progress(session_, line); }};
  if (std::string refused = format_filer(scheduler_, clock_, entropy_, format); !refused.empty()) {
    return refused;
  }
  const Result<wafl::DiskRoot> root = run(scheduler_, wafl::read_root(format.disks));
  if (!root.ok()) {
    return "the new root: " + error_text(root.error());
  }
  formatted_[filer.index()] = root.value().epoch;
  return {};
}

// Homes and epochs: of what was formatted now as its root says; of the other filer as the record
// said, else as its root does, else (not formatted yet) none.
Result<mailbox::Owners> PairInit::owners() {
  mailbox::Owners owners;
  for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
    mailbox::OwnerEntry& entry = owners[filer];
    entry = {.owner = filer, .previous = filer, .incarnation = 0, .epoch = 0};
    if (formatted_[filer]) {
      entry.epoch = *formatted_[filer];
    } else if (record_) {
      entry = record_->owners[filer];
    } else {
      const Result<wafl::DiskRoot> root = run(scheduler_, wafl::read_root(disks_of(filer)));
      if (!root.ok() && root.error().code == Errc::kIo) {
        return root.error();
      }
      const bool ours = root.ok() && root.value().pair == pair_ && root.value().filer == filer;
      entry.epoch = ours ? root.value().epoch : 0;
    }
  }
  return owners;
}

// On a disk of the filer that keeps its data.
std::string PairInit::swap_record(const mailbox::Owners& owners) {
  shelf::SharedDisk& disk = *arbitration_disk().disk;
  mailbox::Arbiter record = arbiter();
  const auto swap = [](shelf::SharedDisk& on, mailbox::Arbiter& with, mailbox::OwnersRead from,
                       mailbox::Owners to) -> Task<Status> {
    const Status registered = co_await on.register_key();
    if (!registered.ok()) {
      co_return registered;
    }
    const Status swapped = co_await with.swap(from, to);
    if (!swapped.ok()) {
      co_return swapped;
    }
    co_return co_await on.unregister_key();
  };
  const Status swapped = run(scheduler_, swap(disk, record, *record_, owners));
  return swapped.ok() ? "" : wrong(disk, swapped.error());
}

std::string PairInit::write_record() {
  if (formatted_[0] && formatted_[1]) {
    // Nothing is left of where it moved.
    for (Disk& disk : disks_) {
      disk.arbitration = disk.configured;
    }
    generation_ = 0;
  }
  Disk& place = arbitration_disk();
  const Result<mailbox::Owners> owners = this->owners();
  if (!owners.ok()) {
    return "the other filer's root: " + error_text(owners.error());
  }
  if (formatted_[place.filer]) {
    progress(session_, fmt::format("writing the owner record to {}", place.disk->name()));
    mailbox::Arbiter record = arbiter();
    const Status written = run(scheduler_, record.format(owners.value()));
    if (!written.ok()) {
      return wrong(*place.disk, written.error());
    }
  } else if (record_) {
    progress(session_, fmt::format("changing the owner record on {}", place.disk->name()));
    if (std::string refused = swap_record(owners.value()); !refused.empty()) {
      return refused;
    }
  } else {
    progress(session_, fmt::format("the owner record will be written with filer {}: run `duet init "
                                   "--node {}` on that node's machine",
                                   place.filer == 0 ? 'a' : 'b', place.filer == 0 ? 'a' : 'b'));
  }
  for (const Disk& disk : disks_) {
    if (!formatted_[disk.filer]) {
      continue;
    }
    const Status released = run(scheduler_, let_go(*disk.disk, *formatted_[disk.filer]));
    if (!released.ok()) {
      return wrong(*disk.disk, released.error());
    }
  }
  return {};
}

void make_directories(const config::Config& config, const config::Node& node) {
  std::vector<std::string> paths{node.memory.path.text, node.mirror->path.text,
                                 node.admin.socket.text};
  if (config.interconnect->transport == config::Transport::kSharedMemory) {
    paths.push_back(config.interconnect->directory.text + "/");
  }
  make_directories_of(paths);
}

}  // namespace

Exit init_pair(Session& session, const config::Config& config, bool force) {
  std::vector<const config::Node*> nodes;
  if (!session.options().node.empty()) {
    nodes = {session.node()};
  } else if (config.interconnect->transport == config::Transport::kSharedMemory) {
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
  if (const std::string wrong = init.open_memories(nodes, !found.empty()); !wrong.empty()) {
    return session.fail(Exit::kUsage, wrong);
  }
  for (const config::Node* const node : nodes) {
    if (const std::string wrong = init.format(*node); !wrong.empty()) {
      return session.fail(
          Exit::kFailed,
          fmt::format("filer {}: {}", config.filer_at_home(node->name)->name, wrong));
    }
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
