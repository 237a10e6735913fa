// Workload: what a client may ask next.  All clients draw from one pool of handles, so they meet.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/random.h"
#include "world/operation.h"

namespace duet::world {

struct WorkloadOptions {
  std::uint64_t names = 12;             // per directory, for each to draw from
  std::uint64_t write_percent = 25;     // of the changes
  std::uint64_t write_bytes = 12'000;   // at most, of most writes
  std::uint64_t file_bytes = 60'000;    // offsets of most writes
  std::uint64_t large_one_in = 60;      // writes of up to 300 KB; 0: none
  std::uint64_t far_one_in = 40;        // offsets up to 2^59
  std::uint64_t long_names_one_in = 8;  // of 200 bytes and more: directories of many blocks
  std::uint64_t remove_percent = 20;
};

// What the clients have been told, true or no longer.
class Workload {
 public:
  Workload(std::uint64_t seed, const WorkloadOptions& options, std::string root);

  [[nodiscard]] Operation next();
  // What an answer tells.
  void heard(const Operation& operation, const Answer& answer);

 private:
  struct Listing {
    std::string directory;
    std::uint64_t cookie = 0;
    std::uint64_t verifier = 0;
  };
  std::string pick(const std::vector<std::string>& handles);
  std::string directory();
  std::string any();
  std::string name();
  std::string data(std::uint64_t bytes);
  std::uint64_t offset();
  void remember(std::vector<std::string>& handles, const std::string& handle);
  Operation change();
  Operation look();
  Operation make();
  filer::SetAttributes attributes();

  sim::Random random_;
  const WorkloadOptions options_;
  std::string root_;
  std::vector<std::string> directories_;
  std::vector<std::string> files_;
  std::vector<std::string> others_;
  std::vector<Listing> listings_;
  std::vector<std::uint64_t> verifiers_;  // of exclusive creates
  std::string guarded_;           // what may be set if it still has this ctime
  wafl::Timestamp last_ctime_{};
};

}  // namespace duet::world
