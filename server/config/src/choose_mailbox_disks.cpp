// Which disks of a pair carry its mailbox and its owner record.
//
//   what the file names                     -> checked
//   a filer's own disks, then those of the
//   groups that only this filer uses        -> up to two members of its node
//   disks of groups that both filers use    -> a's first, b's first, the record, then a second
//   member
//                                              for each node, if there is one for each
//
// A group's disk that a node may keep its mailbox on, or the record, is as good as a disk of a
// filer for that.  Spares carry nothing: they are given to groups that need them.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "schema.h"

namespace duet::config {

namespace {

constexpr std::size_t kMembersMax = 3;      // mailbox_format.h: kMembersMax
constexpr std::size_t kMembersDefault = 2;  // primary and backup

// What a filer's home node may use: disks that are its alone.
struct Side {
  Filer* filer = nullptr;
  std::vector<Disk*> disks;
  bool has_group = false;  // some of them are a group's
  std::size_t members = 0;
  bool named = false;  // by the file
};

class Chooser {
 public:
  Chooser(Reader& reader, Config& config) : reader_(reader), config_(config) {
    for (Filer& filer : config.filers) {
      sides_[filer.index()].filer = &filer;
      for (Disk& disk : filer.disks) {
        disk.home = filer.index();
        if (!disk.is_virtual()) {
          sides_[filer.index()].disks.push_back(&disk);
        }
      }
    }
    for (RaidGroup& group : config.groups) {
      add_group(group);
    }
  }

  void run() {
    check_arbitration();
    for (Side& side : sides_) {
      count_named(side);
    }
    for (Side& side : sides_) {
      choose_own(side);
    }
    if (shared_group_ == nullptr) {
      choose_own_arbitration();
    } else {
      choose_shared();
    }
    for (const Side& side : sides_) {
      if (side.members == 0) {
        refuse_without_member(side);
      }
    }
  }

 private:
  void add_group(RaidGroup& group) {
    const bool shared = config_.is_shared(group);
    const std::uint32_t user = config_.uses(1, group) ? 1 : 0;
    if (shared && shared_group_ == nullptr) {
      shared_group_ = &group;
    }
    for (Disk& disk : group.disks) {
      if (shared) {
        shared_.push_back(&disk);
        continue;
      }
      if (disk.mailbox && disk.home != user) {
        reader_.fail(disk.path.line,
                     fmt::format("raid.{}.disks: only filer {} uses the group, so node {} keeps "
                                 "no mailbox there",
                                 group.name, name_of(user), name_of(disk.home)),
                     fmt::format("write `mailbox: {}`, or name a disk that filer {} uses",
                                 name_of(user), name_of(disk.home)));
      }
      disk.home = user;
      sides_[user].disks.push_back(&disk);
      sides_[user].has_group = true;
    }
    for (Disk& spare : group.spares) {
      spare.home = shared ? 0 : user;
    }
  }

  [[nodiscard]] std::vector<Disk*> all() const {
    std::vector<Disk*> disks = sides_[0].disks;
    disks.insert(disks.end(), sides_[1].disks.begin(), sides_[1].disks.end());
    disks.insert(disks.end(), shared_.begin(), shared_.end());
    return disks;
  }

  void check_arbitration() {
    for (Disk* const disk : all()) {
      if (!disk->arbitration) {
        continue;
      }
      if (arbitration_ != nullptr) {
        const auto [first, second] =
            std::minmax(arbitration_->path.line, disk->path.line);  // in the file
        return reader_.fail(
            second,
            fmt::format("two disks are named for arbitration; the first is in line {}", first),
            "name one of the pair's disks");
      }
      arbitration_ = disk;
    }
  }

  void count_named(Side& side) {
    const std::uint32_t index = side.filer->index();
    side.members = static_cast<std::size_t>(std::ranges::count_if(
        all(), [&](const Disk* disk) { return disk->mailbox && disk->home == index; }));
    side.named = side.members > 0;
    if (side.members > kMembersMax) {
      reader_.fail(side.filer->line,
                   fmt::format("filers.{}.disks: {} disks are mailbox members", side.filer->name,
                               side.members),
                   "name one, two or three");
    }
  }

  static Disk* next_free(const std::vector<Disk*>& disks) {
    const auto found = std::ranges::find_if(
        disks, [](const Disk* disk) { return !disk->mailbox && !disk->arbitration; });
    return found == disks.end() ? nullptr : *found;
  }

  static void make_member(Side& side, Disk& disk) {
    disk.mailbox = true;
    disk.home = side.filer->index();
    ++side.members;
  }

  void make_arbitration(Disk& disk) {
    disk.arbitration = true;
    arbitration_ = &disk;
  }

  static void choose_own(Side& side) {
    while (!side.named && side.members < kMembersDefault) {
      Disk* const disk = next_free(side.disks);
      if (disk == nullptr) {
        return;
      }
      make_member(side, *disk);
    }
  }

  // On a disk of filer a.
  void choose_own_arbitration() {
    Side& side = sides_[0];
    if (arbitration_ != nullptr) {
      return;
    }
    if (Disk* const disk = next_free(side.disks); disk != nullptr) {
      return make_arbitration(*disk);
    }
    if (side.has_group && !side.named && side.members == kMembersDefault) {
      // A group has as many disks as its level asks for: one member must do.
      const auto last = std::ranges::find_if(side.disks.rbegin(), side.disks.rend(),
                                             [](const Disk* disk) { return disk->mailbox; });
      (*last)->mailbox = false;
      --side.members;
      return make_arbitration(**last);
    }
    reader_.fail(side.filer->line,
                 "filers.a.disks: every disk is a mailbox member, and none is left for the "
                 "arbitration record",
                 "add a third disk, or name one of filer b with `arbitration: true`");
  }

  void choose_shared() {
    for (Side& side : sides_) {
      Disk* const disk = next_free(shared_);
      if (side.members == 0 && disk != nullptr) {
        make_member(side, *disk);
      }
    }
    if (arbitration_ == nullptr) {
      Disk* const own = next_free(sides_[0].disks);
      Disk* const disk = own != nullptr ? own : next_free(shared_);
      if (disk == nullptr) {
        return refuse_shared("the arbitration record");
      }
      make_arbitration(*disk);
    }
    std::vector<Side*> wanting;
    for (Side& side : sides_) {
      if (!side.named && side.members == 1) {
        wanting.push_back(&side);
      }
    }
    const auto left = std::ranges::count_if(
        shared_, [](const Disk* disk) { return !disk->mailbox && !disk->arbitration; });
    if (static_cast<std::size_t>(left) < wanting.size()) {
      return;  // one node is not to be worse off than the other
    }
    for (Side* const side : wanting) {
      make_member(*side, *next_free(shared_));
    }
  }

  void refuse_without_member(const Side& side) {
    if (shared_group_ != nullptr) {
      return refuse_shared(fmt::format("the mailbox of node {}", side.filer->home));
    }
    reader_.fail(side.filer->line,
                 fmt::format("filers.{}.disks: the arbitration disk is its only one, so there is "
                             "no mailbox member",
                             side.filer->name),
                 "add a disk");
  }

  void refuse_shared(const std::string& what) {
    reader_.fail(shared_group_->line,
                 fmt::format("raid.{}.disks: no disk is left for {}", shared_group_->name, what),
                 "a group that both filers use has a disk for the mailbox of each node and one for "
                 "the arbitration record: give it at least three, or the filers disks of their "
                 "own");
  }

  static char name_of(std::uint32_t filer) { return filer == 0 ? 'a' : 'b'; }

  Reader& reader_;
  Config& config_;
  std::array<Side, 2> sides_;
  std::vector<Disk*> shared_;  // of the groups that both filers use
  const RaidGroup* shared_group_ = nullptr;
  const Disk* arbitration_ = nullptr;
};

}  // namespace

void choose_mailbox_disks(Reader& reader, Config& config) {
  Chooser chooser(reader, config);
  if (!reader.error()) {
    chooser.run();
  }
}

}  // namespace duet::config
