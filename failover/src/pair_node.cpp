#include "failover/pair_node.h"

#include "duties.h"

namespace duet::failover {

namespace {

// As configured; what counts is on the disks (learn_members()).
mailbox::MemberDisks members_of(const std::vector<PairDisk>& disks, std::uint32_t node) {
  mailbox::MemberDisks result;
  for (const PairDisk& each : disks) {
    if (each.member && each.filer == node) {
      result.push_back(each.disk);
    }
  }
  return result;
}

}  // namespace

PairNode::PairNode(Scheduler& scheduler, const BootClock& clock, const PairOptions& options,
                   std::vector<PairDisk> disks, shelf::SharedDisk& arbitration,
                   interconnect::PartnerLink& link, GroupParts groups)
    : scheduler_(scheduler),
      clock_(clock),
      options_(options),
      disks_(std::move(disks)),
      groups_(std::move(groups)),
      link_(link),
      guard_(scheduler, clock, options.beat.lease),
      arbiter_(options.self, arbitration),
      beater_(scheduler, clock, options.self, members_of(disks_, my_number()), options.beat),
      observer_(scheduler, options.self.pair, mailbox::partner_of(options.self.node),
                members_of(disks_, peer_number()), options.beat),
      note_writer_(scheduler, options.self),
      conflict_over_(scheduler),
      scope_(scheduler) {
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    arbitration_ = disks_[i].disk == &arbitration ? i : arbitration_;
  }
  arbiter_.on_moved = [this] { record_moved(); };
  for (const PairDisk& each : disks_) {
    DUET_CHECK(each.filer < kFilers);
    gates_.push_back(std::make_unique<GatedDisk>(scheduler, *each.disk, each.grouped));
    gates_.back()->on_fenced = [this] { conflict(); };
  }
  for (const VirtualDisk& each : groups_.virtual_disks) {
    DUET_CHECK(each.filer < kFilers && groups_.groups != nullptr);
    virtual_gates_.push_back(std::make_unique<GatedDisk>(scheduler, *each.disk));
    virtual_gates_.back()->on_fenced = [this] { conflict(); };
  }
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i].member) {
      members_[disks_[i].filer].disks.push_back(i);  // not known to count
    }
  }
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    mailbox::MemberDisks members;
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      if (disks_[i].filer == filer && disks_[i].member) {
        members.push_back(gates_[i].get());
      }
    }
    marks_.push_back(std::make_unique<mailbox::Marks>(scheduler, options.self, filer, members));
    duties_.push_back(std::make_unique<Duties>(*this, filer));
  }
  beater_.on_renewed = [this] {
    guard_.renewed(*beater_.renewed());
    if (on_renewed && guard_.may_answer()) {
      on_renewed();
    }
  };
  beater_.on_fenced = [this] { conflict(); };
  beater_.progress = [this] { return !progress || progress(); };
  link_.attach(interconnect::Channel::kFailover, this);
}

PairNode::~PairNode() { link_.attach(interconnect::Channel::kFailover, nullptr); }

void PairNode::start() {
  DUET_CHECK(filers_[0].host != nullptr && filers_[1].host != nullptr);
  record_seen_ = scheduler_.now();
  describe();
  scope_.spawn(run());
  scope_.spawn(beat_link());
}

std::vector<shelf::SharedDisk*> PairNode::disks_of(std::uint32_t filer) {
  std::vector<shelf::SharedDisk*> result;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i].filer == filer && !disks_[i].grouped) {
      result.push_back(gates_[i].get());
    }
  }
  for (std::size_t i = 0; i < virtual_gates_.size(); ++i) {
    if (groups_.virtual_disks[i].filer == filer) {
      result.push_back(virtual_gates_[i].get());
    }
  }
  return result;
}

nvlog::MirrorDuties& PairNode::duties_of(std::uint32_t filer) { return *duties_[filer]; }

void PairNode::filer_failed(std::uint32_t filer) {
  filers_[filer].failed = true;
  filers_[filer].answering = false;
}

void PairNode::step(std::string_view what) const {
  if (on_step) {
    on_step(what);
  }
}

void PairNode::tell(Severity severity, std::string_view what, std::string_view remedy,
                    std::optional<std::uint32_t> filer) const {
  if (on_event) {
    on_event({.severity = severity, .what = what, .remedy = remedy, .filer = filer});
  }
}

// Node, incarnation and epoch: never the node's name alone.
bool PairNode::is_mine(const mailbox::Owners& owners, std::uint32_t filer) const {
  const mailbox::OwnerEntry& entry = owners[filer];
  return entry.owner == my_number() &&
         entry.incarnation == static_cast<std::uint64_t>(options_.self.incarnation) &&
         entry.epoch == filers_[filer].epoch;
}

bool PairNode::link_up() const {
  const interconnect::LinkStatus status = link_.status();
  return interconnect::connected(status.state) &&
         scheduler_.now() - std::max(status.beat_changed, status.since) < options_.link_silence;
}

bool PairNode::partner_shows_life() const {
  const bool beats = observer_.readable() != mailbox::Readable::kNone &&
                     scheduler_.now() - observer_.changed() < observer_.wait_time();
  return link_up() || beats;
}

bool PairNode::hosts_any() const {
  return std::ranges::any_of(filers_,
                             [](const Slot& slot) { return slot.state != FilerState::kAway; });
}

bool PairNode::reaches_disks_of(std::uint32_t filer) const {
  const bool own = std::ranges::all_of(disks_, [filer](const PairDisk& each) {
    return each.filer != filer || each.grouped || each.disk->health().connected;
  });
  return own && manages_groups_of(filer);
}

// All that the filer's writes go through: its disks, its virtual disks, and where its marks are.
std::vector<GatedDisk*> PairNode::gates_of(std::uint32_t filer) const {
  std::vector<GatedDisk*> result;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i].filer == filer) {
      result.push_back(gates_[i].get());
    }
  }
  for (std::size_t i = 0; i < virtual_gates_.size(); ++i) {
    if (groups_.virtual_disks[i].filer == filer) {
      result.push_back(virtual_gates_[i].get());
    }
  }
  return result;
}

bool PairNode::gates_under_way(std::uint32_t filer) const {
  return std::ranges::any_of(gates_of(filer),
                             [](const GatedDisk* gate) { return gate->under_way() > 0; });
}

void PairNode::open_gates(std::uint32_t filer, std::uint64_t epoch) {
  for (GatedDisk* const gate : gates_of(filer)) {
    gate->open(epoch);
  }
}

void PairNode::end_gates(std::uint32_t filer) {
  for (GatedDisk* const gate : gates_of(filer)) {
    gate->end();
  }
}

Task<void> PairNode::gates_quiet(std::uint32_t filer) {
  for (GatedDisk* const gate : gates_of(filer)) {
    co_await gate->quiet();
  }
}

PairStatus PairNode::status() const {
  PairStatus result;
  for (std::uint32_t filer = 0; filer < kFilers; ++filer) {
    const Slot& slot = filers_[filer];
    result.filers[filer] = {.state = slot.state,
                            .owner = record_ ? record_->owners[filer].owner : filer,
                            .epoch = record_ ? record_->owners[filer].epoch : 0,
                            .answering = may_answer(filer),
                            .waits_for = slot.waits_for,
                            .handovers = slot.handovers,
                            .handover_error = slot.handover_error,
                            .handover_silence = slot.handover_silence};
  }
  result.evidence = evidence();
  result.verdict = verdict_;
  result.entered = entered_;
  result.waits_for = waits_for_;
  result.lease_valid = guard_.may_answer();
  result.conflict = conflict_;
  result.halted = halted_;
  result.lapsed = hosts_any() && !guard_.may_answer() ? guard_.lapsed() : Duration(0);
  for (std::uint32_t node = 0; node < mailbox::kNodes; ++node) {
    result.members[node] = {members_[node].known, members_[node].generation, members_[node].disks};
  }
  result.replacing = replacing_;
  result.replacements = replacements_;
  result.replacement_error = replacement_error_;
  result.arbitration = arbitration_;
  result.arbitration_generation = arbiter_.generation();
  result.moving = moving_ || proposal_.has_value();
  result.moves = moves_;
  result.move_error = move_error_;
  result.refused_takeovers = refused_takeovers_;
  result.giveback = giveback_;
  result.last_takeover = last_takeover_;
  return result;
}

}  // namespace duet::failover
