// What the operator is told of a redundancy group.
//
// And what he may want of it.  Thread-safety: values.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace duet::admin {

struct RaidDiskInfo {
  std::string path;                     // empty: no disk of the configuration
  std::optional<std::uint32_t> number;  // in the group; none: it is no member
  // "in_sync", "rebuilding", "failed", "spare", "unused"; "unknown": of a group not managed here.
  std::string state;
  std::string problem;      // why it is not used; may be none
  std::uint64_t bytes = 0;  // 0: it is not there
  // Of it, wrong or unreadable and repaired by this node, since the start or since it joined.
  std::uint64_t blocks_put_right = 0;
};

struct RaidGroupInfo {
  std::string name;
  std::string level;  // "raid6"
  // False: the configuration names it, and this node does not manage it.  Then `why_not` says why,
  // with a remedy, `disks` are the configuration's, and the rest says nothing.
  bool managed = true;
  std::string why_not;
  std::optional<std::uint32_t> can_lose;  // disks, from now on; none: it has lost too many
  std::uint32_t redundancy = 0;           // the same when all is well
  std::uint64_t chunk_bytes = 0;
  std::uint64_t stripe_bytes = 0;  // of data
  std::uint64_t bytes = 0;
  std::uint64_t background_bytes_per_s = 0;  // of each node, at most; 0: no bound
  std::uint64_t generation = 0;
  std::uint64_t intents = 0;  // writes that are not settled
  std::uint64_t loose_regions =
      0;  // with stripes that a rebuild has passed by, as nobody needs them
  std::vector<RaidDiskInfo> disks;
  struct VirtualDisk {
    std::string name;
    std::uint64_t bytes = 0;
  };
  std::vector<VirtualDisk> virtual_disks;
  // "rebuilding" disks, together: of so many stripes, those that are done, and how it goes.
  struct Rebuild {
    std::uint64_t stripes = 0, done = 0;
    double stripes_per_second = 0;           // 0: not known yet
    std::vector<std::uint64_t> node_shares;  // stripes that each node has done, since it was seen
    std::string trouble;                     // why it does not get on; may be none
    [[nodiscard]] std::uint64_t percent() const { return stripes == 0 ? 0 : done * 100 / stripes; }
  };
  std::optional<Rebuild> rebuild;
  // The group spreads over more disks.
  struct Expansion {
    std::uint32_t disks_before = 0, disks_after = 0;
    std::uint64_t stripes = 0, done = 0;     // of the group; those on all disks
    bool waits = false;                      // for a disk that has failed or is rebuilt
    double stripes_per_second = 0;           // 0: not known yet
    std::vector<std::uint64_t> node_shares;  // stripes that each node has moved, since it was seen
    std::string trouble;                     // why it does not get on; may be none
    [[nodiscard]] std::uint64_t percent() const { return stripes == 0 ? 0 : done * 100 / stripes; }
  };
  std::optional<Expansion> expansion;
  // The comparison of data and check data that runs, or the last one.
  struct Scrub {
    bool running = false;
    bool trusts_data = false;  // what does not tell what is wrong gets new check data
    std::uint64_t stripes = 0, done = 0;
    std::vector<std::uint64_t> node_shares;  // stripes
    // Rows: put right; with a block that could not be read, put right; that do not match, and do
    // not tell what is wrong; of these, with new check data, as the data is trusted.
    std::uint64_t repaired = 0, unreadable = 0, unsure = 0, trusted = 0;
    // Rows that a rebuild had passed by: made to match; left, as somebody may need them.
    std::uint64_t loose = 0, loose_left = 0;
    std::string trouble;  // why it does not get on; may be none
    [[nodiscard]] std::uint64_t percent() const { return stripes == 0 ? 0 : done * 100 / stripes; }
  };
  std::optional<Scrub> scrub;
  // Since the start.
  std::uint64_t reads = 0, degraded_reads = 0;
  std::uint64_t whole_stripes = 0, read_modify = 0, reconstruct = 0;  // updates
  std::uint64_t blocks_read = 0, blocks_written = 0;                  // of disks
  std::uint64_t settles = 0, recovered = 0;
  std::uint64_t healed = 0;  // blocks that were wrong by a filer's checksum, and were put right
  std::uint64_t others_read = 0;             // ways that were tried to compute such a block
  std::uint64_t rebuilt = 0, passed_by = 0;  // stripes: of new disks; those that nobody needed

  // "optimal", "degraded", "failed", "not_managed".
  [[nodiscard]] std::string_view state() const {
    return !managed                 ? "not_managed"
           : !can_lose              ? "failed"
           : *can_lose < redundancy ? "degraded"
                                    : "optimal";
  }
  [[nodiscard]] std::uint64_t updates() const { return whole_stripes + read_modify + reconstruct; }
  [[nodiscard]] std::uint64_t whole_percent() const {
    return updates() == 0 ? 0 : whole_stripes * 100 / updates();
  }
};

struct RaidOrder {
  enum class Verb : std::uint8_t {
    kFail,         // `disk` is not to be used any more
    kReturn,       // `disk`, which has failed, is used again
    kReplace,      // the disk at `path` takes the place of `disk`, which has failed
    kAddSpare,     // the disk at `path` takes the place of the next one that fails
    kRemoveSpare,  // it does not any more
    kRemoveDisk,   // `disk`, a spare or one that is not used any more, is let go of
    kExpand,       // the group spreads over the disks at `paths`, too
    kAddVirtual,   // a virtual disk `name` of at least `bytes`, in room that none has
    kScrub,        // data and check data are compared, by all nodes together
    kStopScrub,    // not any more
  };
  Verb verb = Verb::kFail;
  std::string group;
  std::string disk;         // a path, the end of one, or a number
  std::string path;         // of a disk that comes or goes
  bool force = false;       // it may hold something
  bool trust_data = false;  // kScrub: the data is right; what does not match it is made to
  std::vector<std::string> paths;
  std::string name;
  std::uint64_t bytes = 0;
};

struct RaidOutcome {
  std::string wrong;  // why not, with a remedy; empty: it is done
  std::string note;   // what the operator is to know or to do now; may be none
};

}  // namespace duet::admin
