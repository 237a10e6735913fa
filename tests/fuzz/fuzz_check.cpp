// The offline check on an aggregate whose bytes anybody may have changed.

#include "image.h"
#include "sim/sim_block_device.h"
#include "wafl_check/check.h"
#include "world/node.h"

namespace {

duet::Task<void> check(duet::BlockDevice& disk, bool& done) {
  std::vector<duet::BlockDevice*> disks{&disk};
  duet::wafl::CheckOptions options;
  options.names_of_snapshots = true;
  const duet::wafl::CheckReport report = co_await duet::wafl::check(disks, options);
  DUET_CHECK(report.problems.size() <= report.problem_count);
  done = true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duet::fuzz::Input input(data, size);
  const auto disk = duet::fuzz::Image::valid().changed(input);
  duet::sim::SimScheduler scheduler(1);
  duet::sim::SimBlockDevice device(scheduler, *disk);
  bool done = false;
  duet::TaskScope scope(scheduler);
  scope.spawn(check(device, done));
  DUET_CHECK(scheduler.run(10'000'000));
  DUET_CHECK(done);
  return 0;
}
