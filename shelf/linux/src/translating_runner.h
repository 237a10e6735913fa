// TranslatingRunner: what ScsiDisk asks of a unit, for a disk that is none: the commands about
// keys, reservation, size, and durable writes.  What is not translated is refused as unknown, which
// ScsiDisk takes as it takes it of a unit.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "command_runner.h"

namespace duet::shelf {

// Reservation types and service actions are SPC-4's.
class TranslatingRunner : public CommandRunner {
 public:
  TranslatingRunner(std::shared_ptr<DeviceCalls> device, std::uint64_t blocks);
  void run(ScsiCommand& command) final;
  bool reset() override { return false; }

 protected:
  enum class Outcome : std::uint8_t {
    kDone,
    kConflict,
    kUnknown,  // the disk does not do that
    kAgain,    // not now
    kFailed,
  };
  struct Held {
    std::uint32_t generation = 0;
    std::vector<std::uint64_t> keys;
    std::uint64_t holder = 0;
    std::uint8_t type = 0;  // 0: there is no reservation
  };
  struct Abilities {
    bool persists = false;
    bool exclusive_access = false;
    bool aborts = false;
  };
  struct Change {
    std::uint8_t action = 0;
    std::uint8_t type = 0;
    std::uint64_t key = 0;
    std::uint64_t other = 0;
    bool persist = false;
  };
  virtual Outcome read(Held& held) = 0;
  virtual Outcome ask(Abilities& abilities) = 0;
  virtual Outcome change(const Change& what) = 0;

  DeviceCalls& device() { return *device_; }

 private:
  Outcome execute(ScsiCommand& command);
  Outcome reserve_in(ScsiCommand& command);
  Outcome reserve_out(const ScsiCommand& command);
  Outcome move(const ScsiCommand& command, bool write);

  const std::shared_ptr<DeviceCalls> device_;
  const std::uint64_t blocks_;
};

}  // namespace duet::shelf
