// Giveback without an operator (rule 11): off by default, slow to begin, and soon tired.

#include <algorithm>

#include "failover/pair_node.h"

namespace duet::failover {

namespace {

constexpr Duration kHour = std::chrono::hours(1);

}  // namespace

// A filer that was taken over goes home once nothing has spoken against it for a while, not even
// softly.  After a few in an hour the home node is not to be trusted, and the operator decides.
void PairNode::consider_giveback() {
  const std::uint32_t filer = peer_number();
  const Slot& slot = filers_[filer];
  if (!options_.automatic_giveback || slot.state != FilerState::kServing || slot.by_operator ||
      leaving_) {
    giveback_since_[filer].reset();
    giveback_ = slot.state == FilerState::kServing && slot.by_operator
                    ? "the operator moved the filer here: it stays until duet giveback"
                    : "";
    return;
  }
  const Instant now = scheduler_.now();
  std::erase_if(givebacks_, [now](Instant at) { return now - at > kHour; });
  if (givebacks_.size() >= options_.givebacks_per_hour) {
    constexpr std::string_view kTired =
        "it went home by itself too often in an hour: it waits for duet giveback";
    if (giveback_ != kTired) {
      step("automatic giveback stops");
      tell(Severity::kError, kTired, "find out why its home node fails, then duet giveback", filer);
    }
    giveback_ = kTired;
    giveback_since_[filer].reset();
    return;
  }
  if (!handover_vetoes(filer).empty()) {
    giveback_ = "something speaks against it: see duet failover check";
    giveback_since_[filer].reset();
    return;
  }
  giveback_ = "it goes home by itself in a moment";
  if (!giveback_since_[filer]) {
    giveback_since_[filer] = now;
  }
  if (now - *giveback_since_[filer] >= options_.giveback_after) {
    step("automatic giveback");
    tell(Severity::kInformation, "the filer goes home by itself", "", filer);
    giveback_since_[filer].reset();
    givebacks_.push_back(now);
    ask_handover(filer);
  }
}

}  // namespace duet::failover
