// PairInit: the steps of `duet init` of a pair, one after the other as init_pair() takes them.  The
// first ones only look (pair_init_look.cpp); behind open_memories() the disks are changed
// (pair_init_change.cpp).
//
// Thread-safety: one thread.

#pragma once

#include <fmt/format.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "format.h"
#include "init.h"
#include "local.h"
#include "mailbox/arbiter.h"
#include "pair_groups.h"

namespace duet::cli {

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

}  // namespace duet::cli
