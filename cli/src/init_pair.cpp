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

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "format.h"
#include "init.h"
#include "living.h"
#include "local.h"
#include "mailbox/arbiter.h"
#include "pair_groups.h"
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
// Epoch 0: it stays.
Task<Status> let_go(shelf::SharedDisk& disk, std::uint64_t epoch) {
  if (epoch != 0) {
    const Status raised = co_await disk.raise_epoch(epoch);
    if (!raised.ok() && raised.error().code != Errc::kNotSupported) {
      co_return raised;
    }
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
        pair_(config::pair_id(config.pair)),
        groups_(scheduler_, config) {}

  // Each gives an empty text, or why not.
  std::string open_disks();
  std::string find_life();
  // Decides what becomes of the groups, too.  The same nodes for all that follows.
  std::string find_data(const std::vector<const config::Node*>& nodes,
                        std::vector<std::string>& found);
  std::string open_memories(bool erase_them);
  std::string take_disks();
  std::string make_groups();
  std::string format(const config::Node& node);
  std::string close_groups();
  std::string write_record();

 private:
  // What becomes of a group: it is another filer's; it is made; it is opened as it is.
  enum class Fate : std::uint8_t { kLeft, kMade, kKept };
  struct Disk {
    std::uint32_t filer = 0;
    const config::RaidGroup* group = nullptr;
    bool carries = false;
    bool configured = false;   // for arbitration
    bool arbitration = false;  // holds the record, or will
    bool taken = false;        // nobody else can write there
    std::unique_ptr<shelf::SharedDisk> disk;
    shelf::DiskState state;
  };
  struct Memories {
    std::unique_ptr<os::MappedMemory> own, mirror;
    std::unique_ptr<MemorySlice> log, copies;  // of the two, without what groups have behind it
  };

  [[nodiscard]] bool is_formatted(std::uint32_t filer) const;
  [[nodiscard]] Fate fate_of(const config::RaidGroup& group) const;
  [[nodiscard]] Fate fate_of(const Disk& disk) const;
  [[nodiscard]] std::vector<GroupDisk> group_disks() const;
  std::string decide_fates(PairLook& look);
  std::string check_new_groups();
  std::string find_on_groups(const PairLook& look, std::vector<std::string>& found);
  std::string find_on_disk(BlockDevice& disk, std::vector<std::string>& found);
  std::string find_in(const config::Memory& memory, std::vector<std::string>& found);
  std::string read_other_root(std::uint32_t filer, const PairLook& look);
  // Own disks and, of groups that are open, virtual ones.
  [[nodiscard]] std::vector<BlockDevice*> disks_of(std::uint32_t filer,
                                                   const PairGroups& groups) const;
  [[nodiscard]] std::string look_at_disk(Disk& disk);
  std::string read_record();
  [[nodiscard]] Disk& arbitration_disk();
  [[nodiscard]] mailbox::Arbiter arbiter();
  [[nodiscard]] mailbox::Owners owners() const;
  std::string swap_record(const mailbox::Owners& owners);
  [[nodiscard]] std::uint64_t new_epoch_of(const Disk& disk) const;
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
  std::vector<const config::Node*> nodes_;  // whose filers are formatted
  std::map<const config::RaidGroup*, Fate> fates_;
  bool other_is_there_ = true;  // the groups that a filer lives on which is not formatted
  std::array<Memories, mailbox::kNodes> memories_;
  PairGroups groups_;
  std::vector<Disk> disks_;                                               // end before the groups
  std::array<std::optional<std::uint64_t>, mailbox::kFilers> found_;      // the epoch of its root
  std::uint64_t generation_ = 0;                                          // of its place
  std::optional<mailbox::OwnersRead> record_;                             // as it was found
  std::array<std::optional<std::uint64_t>, mailbox::kFilers> formatted_;  // the epoch of its root
};

std::vector<BlockDevice*> PairInit::disks_of(std::uint32_t filer, const PairGroups& groups) const {
  std::vector<BlockDevice*> disks;
  for (const Disk& disk : disks_) {
    if (disk.filer == filer && disk.group == nullptr) {
      disks.push_back(disk.disk.get());
    }
  }
  for (const config::Disk& disk :
       config_.filers[config_.filers[0].index() == filer ? 0 : 1].disks) {
    if (disk.is_virtual()) {
      disks.push_back(groups.virtual_disk(disk));
    }
  }
  return disks;
}

bool PairInit::is_formatted(std::uint32_t filer) const {
  return std::ranges::any_of(nodes_,
                             [&](const config::Node* node) { return number_of(*node) == filer; });
}

PairInit::Fate PairInit::fate_of(const config::RaidGroup& group) const {
  const auto fate = fates_.find(&group);
  return fate == fates_.end() ? Fate::kLeft : fate->second;
}

PairInit::Fate PairInit::fate_of(const Disk& disk) const {
  return disk.group != nullptr      ? fate_of(*disk.group)
         : is_formatted(disk.filer) ? Fate::kMade
                                    : Fate::kLeft;
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

// All of them, as a node reaches them all; and who lives may be seen on any.
std::string PairInit::open_disks() {
  for (const config::PairDisk& named : config_.pair_disks()) {
    Disk disk{.filer = named.filer,
              .group = named.group,
              .carries = named.carries,
              .configured = named.disk->arbitration,
              .arbitration = named.disk->arbitration,
              .disk = {},
              .state = {}};
    std::string refused = open_shared(scheduler_, config_, *named.disk, key_, disk.disk);
    if (refused.empty()) {
      refused = look_at_disk(disk);
    }
    if (!refused.empty()) {
      return refused;
    }
    disks_.push_back(std::move(disk));
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

std::string PairInit::find_on_disk(BlockDevice& disk, std::vector<std::string>& found) {
  const Result<std::string> contents = run(scheduler_, contents_of(disk));
  if (!contents.ok()) {
    return fmt::format("disk {}: {}", disk.name(), error_text(contents.error()));
  }
  if (!contents.value().empty()) {
    found.push_back(fmt::format("disk {} {}", disk.name(), contents.value()));
  }
  return {};
}

std::string PairInit::find_in(const config::Memory& memory, std::vector<std::string>& found) {
  std::unique_ptr<os::MappedMemory> opened;
  if (std::string refused = open_memory(config_, memory, /*create=*/false, opened);
      !refused.empty()) {
    return refused;
  }
  const auto probe = opened == nullptr ? std::nullopt : std::optional(nvlog::probe(*opened));
  if (probe && !probe->blank) {
    found.push_back(fmt::format("memory {} {}", memory.path.text, contents_of(*probe)));
  }
  return {};
}

// The filer that is not formatted, where no record says what its epoch is.  No root: not formatted
// yet.
std::string PairInit::read_other_root(std::uint32_t filer, const PairLook& look) {
  found_[filer] = 0;
  if (!other_is_there_) {
    return {};
  }
  const Result<wafl::DiskRoot> root =
      run(scheduler_, wafl::read_root(disks_of(filer, look.groups())));
  if (!root.ok() && root.error().code == Errc::kIo) {
    return "the other filer's root: " + error_text(root.error());
  }
  const bool ours = root.ok() && root.value().pair == pair_ && root.value().filer == filer;
  found_[filer] = ours ? root.value().epoch : 0;
  return {};
}

// Those that are kept, and those that the other filer's root must be read from, are then open.
std::string PairInit::decide_fates(PairLook& look) {
  const shelf::DiskKey key = draw_key(Purpose::kRead, clock_, entropy_);
  for (const config::RaidGroup& group : config_.groups) {
    bool touched = false;
    bool of_other = false;
    for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
      (is_formatted(filer) ? touched : of_other) |= config_.uses(filer, group);
    }
    if (touched && !of_other) {
      fates_[&group] = Fate::kMade;
    }
    if (!of_other || (!touched && record_)) {
      continue;
    }
    look.open_disks(group, key);
    const bool there = look.is_there(group);
    other_is_there_ = other_is_there_ && there;
    if (touched) {
      fates_[&group] = there ? Fate::kKept : Fate::kMade;
    }
    std::string refused = there ? look.open(group, entropy_) : "";
    if (!refused.empty()) {
      return refused;
    }
  }
  return {};
}

std::string PairInit::check_new_groups() {
  PairGroups planned(scheduler_, config_);
  const std::vector<GroupDisk> disks = group_disks();
  for (const config::RaidGroup& group : config_.groups) {
    const bool made = fate_of(group) == Fate::kMade;
    std::string refused = made ? planned.make(group, disks).check() : "";
    if (!refused.empty()) {
      return refused;
    }
  }
  return {};
}

// Of groups that are made: on their disks.  Of those that are kept: on what the formatted filers
// have there.
std::string PairInit::find_on_groups(const PairLook& look, std::vector<std::string>& found) {
  for (const Disk& disk : disks_) {
    const bool made = disk.group != nullptr && fate_of(disk) == Fate::kMade;
    std::string refused = made ? find_on_disk(*disk.disk, found) : "";
    if (!refused.empty()) {
      return refused;
    }
  }
  for (const config::Filer& filer : config_.filers) {
    for (const config::Disk& disk : filer.disks) {
      const bool kept = disk.is_virtual() && is_formatted(filer.index()) &&
                        fate_of(*config_.group(disk.group)) == Fate::kKept;
      std::string refused = kept ? find_on_disk(*look.groups().virtual_disk(disk), found) : "";
      if (!refused.empty()) {
        return refused;
      }
    }
  }
  return {};
}

std::string PairInit::find_data(const std::vector<const config::Node*>& nodes,
                                std::vector<std::string>& found) {
  nodes_ = nodes;
  PairLook look(scheduler_, config_);  // on copies, as nothing is to be touched yet
  std::string refused = look.copy_memories(nodes_);
  if (refused.empty()) {
    refused = decide_fates(look);
  }
  if (refused.empty()) {
    refused = check_new_groups();
  }
  for (std::uint32_t filer = 0; filer < mailbox::kFilers && refused.empty(); ++filer) {
    if (!is_formatted(filer) && !record_) {
      refused = read_other_root(filer, look);
    }
  }
  for (const config::Node* const node : nodes_) {
    for (const Disk& disk : disks_) {
      if (refused.empty() && disk.group == nullptr && disk.filer == number_of(*node)) {
        refused = find_on_disk(*disk.disk, found);
      }
    }
    for (const config::Memory* const memory : {&node->memory, &*node->mirror}) {
      if (refused.empty()) {
        refused = find_in(*memory, found);
      }
    }
  }
  return refused.empty() ? find_on_groups(look, found) : refused;
}

// The mirror's copies stay blank: the partner's log makes what it needs there when it first
// connects.  What it has of groups that are not made is left alone.
std::string PairInit::open_memories(bool erase_them) {
  const std::uint64_t log_bytes = log_bytes_of(config_);
  for (const config::Node* const node : nodes_) {
    Memories& memories = memories_[number_of(*node)];
    std::string refused = open_memory(config_, node->memory, /*create=*/true, memories.own);
    if (refused.empty()) {
      refused = open_memory(config_, *node->mirror, /*create=*/true, memories.mirror);
    }
    if (!refused.empty()) {
      return refused;
    }
    memories.log = std::make_unique<MemorySlice>(*memories.own, 0, log_bytes);
    memories.copies = std::make_unique<MemorySlice>(*memories.mirror, 0, log_bytes);
    groups_.add_memory(*node, *memories.mirror);
    if (erase_them) {
      erase(*memories.own);
      erase(*memories.copies);
      const Status erased = memories.mirror->persist();
      if (!erased.ok()) {
        return fmt::format("memory {}: {}", node->mirror->path.text, error_text(erased.error()));
      }
    }
  }
  return {};
}

// Of a group that is kept only what the formatted filers' nodes had in their mailboxes is wiped.
std::string PairInit::take_disks() {
  for (Disk& disk : disks_) {
    if (fate_of(disk) == Fate::kLeft) {
      continue;
    }
    disk.taken = true;
    if (const Status taken = run(scheduler_, take(*disk.disk)); !taken.ok()) {
      return wrong(*disk.disk, taken.error());
    }
  }
  for (Disk& disk : disks_) {
    const bool wiped = fate_of(disk) == Fate::kMade ||
                       (fate_of(disk) == Fate::kKept && disk.carries && is_formatted(disk.filer));
    if (!wiped) {
      continue;
    }
    if (const Status done = run(scheduler_, wipe_mailbox(*disk.disk)); !done.ok()) {
      return wrong(*disk.disk, done.error());
    }
  }
  return {};
}

// The configuration's, as they were opened: all are there.
std::vector<GroupDisk> PairInit::group_disks() const {
  std::vector<GroupDisk> disks;
  const std::vector<config::PairDisk> configured = config_.pair_disks();
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    disks.push_back({.configured = configured[i], .device = disks_[i].disk.get(), .problem = {}});
  }
  return disks;
}

std::string PairInit::make_groups() {
  const std::vector<GroupDisk> disks = group_disks();
  const auto say = [this](const std::string& line) { progress(session_, line); };
  for (const config::RaidGroup& group : config_.groups) {
    const Fate fate = fate_of(group);
    if (fate == Fate::kLeft) {
      continue;
    }
    progress(session_, fmt::format("redundancy group {}: {} of {} disks{}", group.name,
                                   config::level_name(group.level), group.disks.size(),
                                   fate == Fate::kKept ? ", kept as it is" : ""));
    groups::OfflineGroup& made = groups_.make(group, disks);
    std::string refused = fate == Fate::kMade ? run(scheduler_, made.format(entropy_, say)) : "";
    if (refused.empty()) {
      refused = run(scheduler_, made.open(entropy_));
    }
    if (!refused.empty()) {
      return refused;
    }
  }
  return {};
}

// Nobody has anything to finish when the nodes start.
std::string PairInit::close_groups() {
  for (const std::unique_ptr<groups::OfflineGroup>& group : groups_.all()) {
    const Status closed = run(scheduler_, group->close());
    if (!closed.ok()) {
      return fmt::format("closing redundancy group {}: {}", group->configured().name,
                         error_text(closed.error()));
    }
  }
  return {};
}

std::uint64_t PairInit::epoch_of(std::uint32_t filer) const {
  std::uint64_t epoch = record_ ? record_->owners[filer].epoch : 0;
  for (const Disk& disk : disks_) {
    const bool own = disk.group == nullptr ? disk.filer == filer : config_.uses(filer, *disk.group);
    epoch = own ? std::max(epoch, disk.state.epoch) : epoch;
  }
  return epoch;
}

std::string PairInit::format(const config::Node& node) {
  const config::Filer& filer = *config_.filer_at_home(node.name);
  progress(session_, fmt::format("filer {}: {} disks and {}", filer.name, filer.disks.size(),
                                 node.memory.path.text));
  const FilerFormat format{
      .config = config_,
      .filer = filer,
      .disks = disks_of(filer.index(), groups_),
      .memory = *memories_[filer.index()].log,
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
// said, else as its root did, else (not formatted yet) none.
mailbox::Owners PairInit::owners() const {
  mailbox::Owners owners;
  for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
    mailbox::OwnerEntry& entry = owners[filer];
    entry = {.owner = filer, .previous = filer, .incarnation = 0, .epoch = 0};
    if (formatted_[filer]) {
      entry.epoch = *formatted_[filer];
    } else if (record_) {
      entry = record_->owners[filer];
    } else {
      entry.epoch = *found_[filer];
    }
  }
  return owners;
}

// On a disk of the filer that keeps its data; or of a group that was taken already.
std::string PairInit::swap_record(const mailbox::Owners& owners) {
  const Disk& place = arbitration_disk();
  mailbox::Arbiter record = arbiter();
  const auto swap = [](shelf::SharedDisk& on, bool taken, mailbox::Arbiter& with,
                       mailbox::OwnersRead from, mailbox::Owners to) -> Task<Status> {
    if (!taken) {
      const Status registered = co_await on.register_key();
      if (!registered.ok()) {
        co_return registered;
      }
    }
    const Status swapped = co_await with.swap(from, to);
    if (!swapped.ok() || taken) {
      co_return swapped;
    }
    co_return co_await on.unregister_key();
  };
  const Status swapped = run(scheduler_, swap(*place.disk, place.taken, record, *record_, owners));
  return swapped.ok() ? "" : wrong(*place.disk, swapped.error());
}

// Of what is refused on a disk from now on: I/O of filers that are older than those that were
// formatted.  A disk that a filer uses which was not formatted stays as it is.
std::uint64_t PairInit::new_epoch_of(const Disk& disk) const {
  if (disk.group == nullptr) {
    return *formatted_[disk.filer];
  }
  std::optional<std::uint64_t> least;
  for (std::uint32_t filer = 0; filer < mailbox::kFilers; ++filer) {
    if (config_.uses(filer, *disk.group)) {
      const std::uint64_t epoch = formatted_[filer].value_or(0);
      least = std::min(least.value_or(epoch), epoch);
    }
  }
  return *least;
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
  const mailbox::Owners owners = this->owners();
  if (formatted_[place.filer]) {
    progress(session_, fmt::format("writing the owner record to {}", place.disk->name()));
    mailbox::Arbiter record = arbiter();
    const Status written = run(scheduler_, record.format(owners));
    if (!written.ok()) {
      return wrong(*place.disk, written.error());
    }
  } else if (record_) {
    progress(session_, fmt::format("changing the owner record on {}", place.disk->name()));
    if (std::string refused = swap_record(owners); !refused.empty()) {
      return refused;
    }
  } else {
    progress(session_, fmt::format("the owner record will be written with filer {}: run `duet init "
                                   "--node {}` on that node's machine",
                                   place.filer == 0 ? 'a' : 'b', place.filer == 0 ? 'a' : 'b'));
  }
  for (const Disk& disk : disks_) {
    if (!disk.taken) {
      continue;
    }
    const Status released = run(scheduler_, let_go(*disk.disk, new_epoch_of(disk)));
    if (!released.ok()) {
      return wrong(*disk.disk, released.error());
    }
  }
  return {};
}

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
