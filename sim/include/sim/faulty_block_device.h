// FaultyBlockDevice: a disk that fails as it is told, in front of any other.
//
//   FaultyBlockDevice faulty(scheduler, disk);
//   faulty.arm({.fault = Fault::kLostWrite, .skip = 3});   // the fourth write from now
//   faulty.arm({.fault = Fault::kReadError, .block = 17, .always = true});
//   faulty.chance(Fault::kCorruptRead, 1000);              // one read in a thousand
//
// Thread-safety: one thread.

#pragma once

#include <array>
#include <list>
#include <optional>
#include <vector>

#include "platform/block_device.h"
#include "sim/sim_scheduler.h"

namespace duet::sim {

enum class Fault : std::uint8_t {
  kReadError,         // kIo, and the bytes are unspecified
  kWriteError,        // kIo; the write may have happened
  kFlushError,        // kIo, and nothing was flushed
  kCorruptRead,       // one bit of what is read has turned; the disk has it right
  kLostWrite,         // reported as done, and was not
  kMisdirectedWrite,  // reported as done, and was: elsewhere
};
inline constexpr std::size_t kFaults = 6;

class FaultyBlockDevice final : public BlockDevice {
 public:
  struct Armed {
    Fault fault = Fault::kReadError;
    std::uint64_t skip = 0;              // this many operations of its kind go well first
    std::optional<std::uint64_t> block;  // only operations that touch this block count
    bool always = false;                 // false: once
    bool until_written = false;          // always, until a write to `block` comes: a bad sector
  };

  // REQUIRES: `disk` outlives it.
  FaultyBlockDevice(SimScheduler& scheduler, BlockDevice& disk)
      : scheduler_(scheduler), disk_(disk) {}
  FaultyBlockDevice(const FaultyBlockDevice&) = delete;
  FaultyBlockDevice& operator=(const FaultyBlockDevice&) = delete;

  void arm(const Armed& armed) { armed_.push_back(armed); }
  // Zero: never.
  void chance(Fault fault, std::uint64_t one_in) { chances_[index(fault)] = one_in; }
  // No fault from now on.
  void disarm();
  // How often it has happened.
  [[nodiscard]] std::uint64_t happened(Fault fault) const { return happened_[index(fault)]; }

  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_.name(); }
  void start(BlockOperation& operation) override;

 private:
  // An operation that the disk carries out for another, and not quite the same.
  struct Twisted final : BlockOperation {
    Twisted(FaultyBlockDevice& owner, BlockOperation& what, Fault how)
        : device(owner), original(what), fault(how) {}
    void run() override { device.finish(*this); }
    FaultyBlockDevice& device;
    BlockOperation& original;
    Fault fault;
    std::list<Twisted>::iterator self;
  };

  static std::size_t index(Fault fault) { return static_cast<std::size_t>(fault); }
  std::optional<Fault> draw(const BlockOperation& operation);
  void fail(BlockOperation& operation, std::string_view context);
  void pass_on(BlockOperation& operation, Fault fault, std::uint64_t block);
  void finish(Twisted& twisted);

  SimScheduler& scheduler_;
  BlockDevice& disk_;
  std::vector<Armed> armed_;
  std::array<std::uint64_t, kFaults> chances_{};
  std::array<std::uint64_t, kFaults> happened_{};
  std::list<Twisted> under_way_;
};

}  // namespace duet::sim
