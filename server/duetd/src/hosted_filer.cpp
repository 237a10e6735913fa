#include "hosted_filer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "trace.h"

namespace duet::daemon {

namespace {

using namespace std::chrono_literals;

constexpr Duration kPoll = 2ms;
// After the addresses were taken: when switches and clients have heard of it, and again for what
// was lost on the way.  A client that heard of another move within the last second believes no
// announcement (Linux: neigh/locktime), so its answer to a tickle goes to the former host; and it
// answers twice a second at most (tcp_invalid_ratelimit).  Hence the last two.  A call of the
// kernel for each connection: so many in one turn.
constexpr std::array kTickleAfter{Duration(20ms), Duration(100ms), Duration(400ms), Duration(700ms),
                                  Duration(1800ms)};
constexpr std::size_t kTicklesPerTurn = 32;
constexpr Error kGone{Errc::kClosed, "the filer is not open here"};

}  // namespace

std::vector<address::FilerAddress> HostedFiler::filer_addresses(const config::Filer& configured) {
  std::vector<address::FilerAddress> list;
  for (const config::Listener& listener : configured.listeners) {
    const Result<os::TcpAddress> ip = os::TcpAddress::parse(listener.address, listener.port);
    DUET_CHECK(ip.ok());  // the configuration's reader saw to it
    list.push_back({ip.value(), listener.interface, listener.prefix_bits});
  }
  return list;
}

HostedFiler::HostedFiler(Machine& machine, const config::Filer& configured,
                         failover::PairNode& pair, nvlog::MirrorPort& port, PersistentMemory& log,
                         ClientBook& clients, DiskAccess disks, SocketKeeper sockets)
    : machine_(machine),
      configured_(configured),
      index_(configured.index()),
      pair_(pair),
      port_(port),
      log_(log),
      clients_(clients),
      served_(machine, configured, std::move(disks), std::move(sockets),
              clients.observer(configured)),
      addresses_(machine.strand, filer_addresses(configured), machine.config.failover.lease),
      scope_(machine.strand) {
  served_.more_warnings = [this] { return warnings(); };
}

HostedFiler::~HostedFiler() = default;

std::vector<std::string> HostedFiler::warnings() const {
  std::vector<std::string> list;
  if (filer_ != nullptr && filer_->mirrored_log()->mirror_status().solo) {
    list.emplace_back(
        "the partner does not hold the request log: what is acknowledged now is lost if this node "
        "is; "
        "repair the partner or the link, and the log is mirrored again by itself");
  }
  for (const failover::Veto& veto : pair_.takeover_vetoes()) {
    list.push_back(
        fmt::format("this node could not take over now: {}; {}", veto.reason, veto.remedy));
  }
  if (warnings_of_groups_) {
    for (std::string& warning : warnings_of_groups_()) {
      list.push_back(std::move(warning));
    }
  }
  return list;
}

std::vector<BlockDevice*> HostedFiler::disks() const {
  const std::vector<shelf::SharedDisk*> shared = pair_.disks_of(index_);
  return {shared.begin(), shared.end()};
}

Task<Result<failover::FilerFacts>> HostedFiler::facts() {
  const Result<wafl::DiskRoot> found = co_await wafl::read_root(disks());
  if (!found.ok()) {
    co_return found.error();
  }
  const wafl::DiskRoot& root = found.value();
  const nvlog::LogIdentity identity{.pair = root.pair, .filer = root.filer, .log_id = root.log_id};
  const nvlog::RegionProbe own = nvlog::probe_headers(log_);
  const nvlog::MirrorPort::Copy copy = port_.copy(index_);
  failover::FilerFacts facts;
  facts.epoch = root.epoch;
  facts.membership_generation = root.membership_generation;
  facts.log_empty = (root.flags & wafl::kRootLogEmpty) != 0;
  facts.own_log = own.ours && own.areas[index_] == identity && own.epochs[index_] == root.epoch;
  facts.copy = copy.epoch == root.epoch && copy.mirror_generation != 0 &&
               copy.mirror_generation == root.mirror_generation;
  co_return facts;
}

void HostedFiler::admit_partner(std::uint64_t epoch) {
  copy_.reset();
  port_.admit(index_, epoch);
}

void HostedFiler::cut_partner() { copy_ = port_.take(index_); }

Task<Result<failover::Opened>> HostedFiler::open(const failover::Opening& opening) {
  const Busy busy(*this);
  DUET_CHECK(filer_ == nullptr);
  ending_ = cp_wanted_ = false;
  port_.close(index_);
  filer::FilerOptions options = configured_.options;
  options.on_failure = [this] { pair_.filer_failed(index_); };
  filer::PairOpening pair{.epoch = opening.epoch,
                          .copy = opening.copy_allowed ? copy_.get() : nullptr,
                          .forced = opening.forced,
                          .port = port_,
                          .duties = pair_.duties_of(index_),
                          .gate = *this,
                          .mirror = {}};
  auto opened = co_await filer::Filer::open_in_pair(
      machine_.strand, machine_.clock, machine_.entropy, disks(), log_, std::move(options), pair);
  if (!opened.ok()) {
    co_return opened.error();
  }
  copy_.reset();
  filer_ = std::move(opened.value());
  filer_->pause();
  if (std::exchange(cp_wanted_, false)) {
    filer_->want_consistency_point();
  }
  failover::Opened result;
  result.from_copy = filer_->mirrored_log()->recovered_from_copy();
  result.records = filer_->statistics().replayed_records;
  trace(Level::kInfo, "filer_open",
        {{"filer", configured_.name},
         {"epoch", std::to_string(opening.epoch)},
         {"replayed_records", std::to_string(result.records)},
         {"from_copy", result.from_copy ? "yes" : "no"},
         {"replay_ms",
          fmt::format(
              "{:.1f}",
              std::chrono::duration<double, std::milli>(filer_->statistics().replay).count())}});
  co_return result;
}

void HostedFiler::line_up() { scope_.spawn(stand_behind()); }

// Whoever listened first gets every connection; so who stood in front of an owner that has opened
// the filer anew steps back.
Task<void> HostedFiler::stand_behind() {
  if (filer_ != nullptr || std::exchange(lining_up_, true)) {
    co_return;
  }
  co_await served_.close();
  const std::string wrong = co_await served_.listen();
  lining_up_ = false;
  if (!wrong.empty()) {
    trace(Level::kWarning, "not_in_line", {{"filer", configured_.name}, {"message", wrong}});
  }
}

Task<Status> HostedFiler::take_addresses() {
  const Busy busy(*this);
  while (lining_up_) {
    co_await sleep(machine_.strand, kPoll);
  }
  std::string wrong = co_await served_.listen();
  const address::Problems problems = addresses_.take();
  if (wrong.empty() && !problems.empty()) {
    wrong = fmt::format("{}: {}", configured_.listeners[problems.front().index].address,
                        text_of(problems.front().error));
  }
  if (!wrong.empty()) {
    trace(Level::kError, "address_not_taken", {{"filer", configured_.name}, {"message", wrong}});
    co_return Error{Errc::kIo, "an address of the filer cannot be taken; see the trace"};
  }
  if (ending_ || filer_ == nullptr) {
    co_return kGone;
  }
  scope_.spawn(announce());
  scope_.spawn(tickle(clients_.begin(index_)));
  co_await served_.start(*filer_);
  co_return Ok{};
}

Task<void> HostedFiler::announce() {
  const address::Problems problems = co_await addresses_.announce();
  for (const address::Problem& problem : problems) {
    trace(Level::kWarning, "address_not_announced",
          {{"filer", configured_.name}, {"message", text_of(problem.error)}});
  }
}

// Clients that wait for an answer of the former host are reset, and ask here.
Task<void> HostedFiler::tickle(std::vector<address::Connection> connections) {
  for (const Duration wait : kTickleAfter) {
    co_await sleep(machine_.strand, wait);
    const std::span<const address::Connection> all = connections;
    for (std::size_t at = 0; at < all.size() && addresses_.here(); at += kTicklesPerTurn) {
      const Status sent =
          address::tickle(all.subspan(at, std::min(kTicklesPerTurn, all.size() - at)));
      if (!sent.ok()) {
        trace(Level::kWarning, "clients_not_told",
              {{"filer", configured_.name}, {"message", text_of(sent.error())}});
        co_return;
      }
      co_await yield(machine_.strand);
    }
  }
}

void HostedFiler::renew_addresses() {
  if (!addresses_.here()) {
    return;
  }
  for (const address::Problem& problem : addresses_.renew()) {
    trace(Level::kError, "address_not_renewed",
          {{"filer", configured_.name}, {"message", text_of(problem.error)}});
  }
}

void HostedFiler::serve() {
  filer_->unpause();
  trace(Level::kInfo, "serving",
        {{"filer", configured_.name},
         {"address", served_.first_address()},
         {"memory", machine_.memory->persistent() ? "persistent" : "volatile"}});
}

Task<void> HostedFiler::make_ready() {
  const Busy busy(*this);
  if (filer_ != nullptr) {
    // An error is settle()'s to find.
    [[maybe_unused]] const Status done = co_await filer_->consistency_point();
  }
}

bool HostedFiler::mirrored() const {
  if (filer_ == nullptr || filer_->mirrored_log() == nullptr) {
    return false;
  }
  const nvlog::MirrorStatus mirror = filer_->mirrored_log()->mirror_status();
  return mirror.state == nvlog::MirrorState::kSynced && !mirror.marked;
}

Task<Status> HostedFiler::record_membership(std::uint64_t generation) {
  const Busy busy(*this);
  if (filer_ == nullptr || ending_) {
    co_return kGone;
  }
  co_return co_await filer_->set_membership_generation(generation);
}

void HostedFiler::stop_answering() {
  if (filer_ != nullptr) {
    filer_->pause();
  }
}

Task<Status> HostedFiler::settle(Instant deadline) {
  const Busy busy(*this);
  if (filer_ == nullptr || ending_) {
    co_return kGone;
  }
  co_return co_await filer_->settle(deadline);
}

Task<Status> HostedFiler::resume() {
  const Busy busy(*this);
  if (filer_ == nullptr || ending_) {
    co_return kGone;
  }
  co_return co_await filer_->resume();
}

// The addresses go first: a client that connects again never meets a machine that has the address
// and nobody who listens.
Task<void> HostedFiler::abandon() {
  ending_ = true;
  if (addresses_.here()) {
    for (const address::Problem& problem : addresses_.drop()) {
      trace(Level::kError, "address_not_dropped",
            {{"filer", configured_.name}, {"message", text_of(problem.error)}});
    }
  }
  co_await served_.cut();
  if (filer_ != nullptr) {
    co_await filer_->abandon();
  }
  while (busy_ > 0) {
    co_await sleep(machine_.strand, kPoll);
  }
  co_await served_.close();
  filer_.reset();
  copy_.reset();
}

void HostedFiler::want_consistency_point() {
  if (filer_ != nullptr) {
    filer_->want_consistency_point();
  } else {
    cp_wanted_ = true;
  }
}

}  // namespace duet::daemon
