#include "pair.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <thread>

#include "group_orders.h"
#include "shelf/linux/open_disk.h"
#include "supervisor/words_writer.h"
#include "trace.h"

namespace duet::daemon {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kEventsKept = 100;
constexpr Duration kTlsWithin = 2s;
constexpr Duration kWordsPatience = 900ms;
// A takeover that takes longer than this does not come.
constexpr Duration kServedWithin = 10s;
// What is left of a node that was killed, its memory unmapped.
constexpr Duration kPredecessorEnds = 5s;
constexpr Duration kLookAgain = 20ms;
// A disk that was not reached by then is waited for beside the rest.
constexpr Duration kReachWithin = 3s;
constexpr Duration kOneAttempt = 1s;
constexpr Duration kReachAgain = 1s;
constexpr Duration kCloseWithin = 5s;

constexpr std::string_view kNodeNames[] = {"a", "b"};

// Waiting does not mend it.
bool is_mistake(const Error& error) {
  constexpr std::array kMistakes{Errc::kInvalid, Errc::kNotSupported, Errc::kForeign,
                                 Errc::kRefused, Errc::kAccess,       Errc::kFenced};
  return std::ranges::find(kMistakes, error.code) != kMistakes.end();
}

mailbox::Node mailbox_node(std::uint32_t number) {
  return mailbox::Node{static_cast<std::uint8_t>(number)};
}

Level level_of(failover::Severity severity) {
  switch (severity) {
    case failover::Severity::kInformation:
      return Level::kInfo;
    case failover::Severity::kWarning:
      return Level::kWarning;
    case failover::Severity::kError:
    case failover::Severity::kCritical:
      break;
  }
  return Level::kError;
}

// Of a filer among all that the supervisor keeps.
std::size_t first_listener(const config::Config& config, std::uint32_t filer) {
  std::size_t first = 0;
  for (const config::Filer& each : config.filers) {
    if (each.index() == filer) {
      break;
    }
    first += each.listeners.size();
  }
  return first;
}

// Both nodes listen, one behind the other.
os::TcpOptions line_options(bool address_moves) {
  os::TcpOptions options = tcp_options(/*reactors=*/1);
  options.in_line = true;
  options.reset_on_close = true;
  options.freebind = address_moves;
  return options;
}

supervisor::WordsPlace words_place(const config::Config& config, const std::string& node_name) {
  const std::uint32_t node = node_name == "b" ? 1 : 0;
  supervisor::WordsPlace place;
  place.pair = config::pair_id(config.pair);
  place.node = mailbox_node(node);
  // Which of them are members is on the disks, and may change while the node runs.
  for (const config::PairDisk& disk : config.pair_disks()) {
    if (disk.carries && disk.filer == node) {
      place.members.push_back(shelf::DiskUrl::parse(disk.disk->url()).value());
    }
  }
  return place;
}

}  // namespace

supervisor::SupervisorOptions supervisor_options(const config::Config& config,
                                                 const std::string& node_name) {
  supervisor::SupervisorOptions options;
  std::vector<address::FilerAddress> addresses;
  for (const config::Filer& filer : config.filers) {
    for (const address::FilerAddress& each : HostedFiler::filer_addresses(filer)) {
      supervisor::ListenerSpec spec;
      spec.address = each.ip;
      spec.options = line_options(!each.interface.empty());
      spec.open_at_start = false;
      options.listeners.push_back(spec);
      addresses.push_back(each);
    }
  }
  options.on_crash = config.failover.on_crash == config::OnCrash::kRestartFirst
                         ? supervisor::OnCrash::kRestartFirst
                         : supervisor::OnCrash::kTakeoverFirst;
  options.restart_deadline = config.failover.restart_deadline;
  options.again_code = kExitAgain;
  options.last_words = [place = words_place(config, node_name)](const supervisor::Death& death) {
    const Status written = supervisor::write_last_words(place, death, kWordsPatience);
    trace(written.ok() ? Level::kInfo : Level::kWarning, "last_words",
          {{"incarnation", std::to_string(death.incarnation)},
           {"message", written.ok() ? "written" : text_of(written.error())}});
  };
  // On one host the partner may have the same addresses by now, on the same interfaces.
  const bool one_host = config.on_one_host();
  options.let_go = [addresses, one_host] {
    if (one_host) {
      return;
    }
    for (const address::Problem& problem : address::drop_addresses(addresses)) {
      trace(Level::kError, "address_not_dropped", {{"message", text_of(problem.error)}});
    }
  };
  options.reset_within = one_host ? Duration{} : kServedWithin;
  options.say = [](std::string_view text) {
    trace(Level::kWarning, "supervisor", {{"message", std::string(text)}});
  };
  return options;
}

std::string claim_addresses(const config::Config& config, const std::string& node_name,
                            std::vector<address::AddressClaim>& claims) {
  const address::AddressClaim::Claimant claimant{.pair = config::pair_id(config.pair),
                                                 .node = node_name.front()};
  const auto deadline = std::chrono::steady_clock::now() + kPredecessorEnds;
  for (const config::Filer& filer : config.filers) {
    for (const config::Listener& listener : filer.listeners) {
      const os::TcpAddress at = os::TcpAddress::parse(listener.address, listener.port).value();
      address::AddressClaim::Other other;
      auto claim = address::AddressClaim::take(at, claimant, other);
      while (!claim.ok() && other.same_pair && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(kLookAgain);
        other = {};
        claim = address::AddressClaim::take(at, claimant, other);
      }
      if (!claim.ok() && claim.error().code != Errc::kExists) {
        return fmt::format("{}:{}: {}", config.file, listener.line, text_of(claim.error()));
      }
      if (!claim.ok() && other.same_pair) {
        return fmt::format(
            "node {} of pair {} runs on this machine already, as process {}; stop that one, or "
            "give "
            "this pair another name",
            node_name, config.pair, other.process);
      }
      if (!claim.ok()) {
        return fmt::format(
            "{}:{}: {} belongs to another pair, process {} of this machine; stop that one, or give "
            "this filer another address or port",
            config.file, listener.line, at.text(), other.process);
      }
      claims.push_back(std::move(claim.value()));
      // A program that is no pair does not share.
      const auto tried = os::TcpListener::open(at, line_options(!listener.interface.empty()));
      if (!tried.ok()) {
        return cannot_listen(config.file, listener, tried.error());
      }
      ::close(tried.value().descriptor);
    }
  }
  return {};
}

Pair::Pair(Machine& machine, supervisor::ParentLink& parent)
    : machine_(machine), parent_(parent), id_(config::pair_id(machine.config.pair)) {
  for (const config::PairDisk& each : machine.config.pair_disks()) {
    disks_.push_back({each.disk, each.filer, each.group, each.carries, nullptr});
  }
  std::stable_partition(disks_.begin(), disks_.end(),
                        [](const Disk& disk) { return disk.carries; });
}

Pair::~Pair() {
  pair_.reset();  // before what it borrows; its hosts' disks are its own
  hosts_ = {};
  watch_.reset();
  groups_.reset();
  host_disks_.reset();
  clients_.reset();
  port_.reset();
  link_.reset();
}

std::string Pair::open() {
  if (std::string wrong = HostDisks::check(machine_); !wrong.empty()) {
    return wrong;
  }
  if (std::string wrong = machine_.map(*machine_.node.mirror, mirror_); !wrong.empty()) {
    return wrong;
  }
  const std::vector<const config::RaidGroup*> groups = machine_.config.groups_of(machine_.node);
  const std::uint64_t log_bytes = config::map_memory(groups, mirror_->bytes().size()).log_bytes;
  copies_ = std::make_unique<MemorySlice>(*mirror_, 0, log_bytes);
  log_ = std::make_unique<MemorySlice>(*machine_.memory, 0, log_bytes);
  if (nvlog::probe_headers(*log_).blank) {
    trace(Level::kWarning, "blank_memory",
          {{"message",
            "this node's log memory is blank: its filer's last requests are with the "
            "partner, if it was not stopped in order"}});
  }
  if (machine_.config.interconnect->transport == config::Transport::kSharedMemory) {
    std::error_code failed;
    std::filesystem::create_directories(machine_.config.interconnect->directory.text, failed);
    if (failed) {
      return fmt::format("{}: directory {}: {}; make it, writable for this user",
                         machine_.place(machine_.config.interconnect->directory.line),
                         machine_.config.interconnect->directory.text, failed.message());
    }
  }
  return {};
}

Task<int> Pair::begin() {
  std::string wrong = co_await choose_incarnation();
  if (wrong.empty()) {
    if (const Status told = parent_.tell_incarnation(incarnation_); !told.ok()) {
      wrong = "the supervisor: " + text_of(told.error());
    }
  }
  if (wrong.empty()) {
    wrong = open_link();
  }
  if (!wrong.empty()) {
    fmt::print(stderr, "duetd: {}\n", wrong);
    co_return kExitRefused;
  }
  make_groups();
  make_pair();
  gate_.emplace(*pair_);
  host_disks_ = std::make_unique<HostDisks>(
      machine_,
      [this](std::string_view name) { return groups_ == nullptr ? nullptr : groups_->find(name); },
      &*gate_);
  pair_->start();
  if (watch_ != nullptr) {
    watch_->start();
  }
  host_disks_->start();
  trace(Level::kInfo, "node_started",
        {{"node", machine_.node.name}, {"incarnation", std::to_string(incarnation_)}});
  co_return kExitOk;
}

Task<Result<std::unique_ptr<shelf::SharedDisk>>> Pair::open_disk(std::size_t disk,
                                                                 shelf::DiskKey key) {
  Result<shelf::DiskUrl> url = shelf::DiskUrl::parse(disks_[disk].configured->url());
  DUET_CHECK(url.ok());  // the configuration's reader saw to it
  shelf::OpenOptions options;
  options.key = key;
  options.name = url_of(disk);
  const config::Failover& patience = machine_.config.failover;
  options.fail_after =
      disks_[disk].group != nullptr ? patience.group_disk_patience : patience.disk_patience;
  options.open_within = kOneAttempt;
  co_return co_await shelf::open_shared_disk(machine_.strand, std::move(url.value()),
                                             std::move(options));
}

std::string Pair::cannot_open(std::size_t disk) const {
  return fmt::format(
      "{}: disk {}: {}; start what serves it, or correct its URL; if it is gone "
      "for good, see OPERATIONS.md, \"A disk is gone for good\"",
      machine_.place(disks_[disk].configured->path.line), url_of(disk),
      text_of(disks_[disk].device->last_error()));
}

// Empty: each disk is here, or it is away and was tried; PairNode goes on without it, or waits.
Task<std::string> Pair::reach_disks() {
  const Instant begun = machine_.strand.now();
  for (;;) {
    std::size_t here = 0;
    std::size_t tried = 0;
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      const shelf::LateDisk& device = *disks_[i].device;
      if (!device.here() && device.failures() > 0 && is_mistake(device.last_error())) {
        co_return cannot_open(i);
      }
      here += device.here() ? 1 : 0;
      tried += device.here() || device.failures() > 0 ? 1 : 0;
    }
    const Duration waited = machine_.strand.now() - begun;
    if (here == disks_.size() || (here > 0 && (tried == disks_.size() || waited >= kReachWithin))) {
      break;
    }
    if (here == 0 && waited >= machine_.config.failover.disk_patience) {
      co_return cannot_open(0);
    }
    co_await sleep(machine_.strand, kLookAgain);
  }
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (!disks_[i].device->here()) {
      trace(Level::kWarning, "disk_away", {{"message", cannot_open(i)}});
    }
  }
  co_return std::string();
}

// Greater than every earlier one of this node, whatever the clock says: keys, beats, last words and
// the owner record remember the last one's.  A disk that is away may know a greater one: then this
// process halts when it comes, and the next one reads it.
Task<std::string> Pair::choose_incarnation() {
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(machine_.clock.since_epoch());
  incarnation_ = static_cast<std::uint64_t>(now.count()) & shelf::kIncarnationMax;
  for (std::uint64_t chosen = 0; chosen != incarnation_;) {
    chosen = incarnation_;
    const shelf::DiskKey key = shelf::make_key(static_cast<std::uint8_t>(number()), chosen);
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      disks_[i].device.reset();  // one session of this node at a time
      disks_[i].device = std::make_unique<shelf::LateDisk>(
          machine_.strand, key, url_of(i), [this, i, key] { return open_disk(i, key); },
          kReachAgain);
    }
    std::string wrong = co_await reach_disks();
    if (!wrong.empty()) {
      co_return wrong;
    }
    for (const Disk& disk : disks_) {
      if (!disk.device->here()) {
        continue;
      }
      const Result<shelf::DiskState> state = co_await disk.device->read_state();
      if (state.ok()) {
        later_than_keys(state.value().keys);
      }
      co_await look_for_older(*disk.device);
    }
  }
  co_return std::string();
}

// By its label a disk is known whatever its URL.
Task<Result<mailbox::DiskIdentity>> Pair::identify(std::size_t disk) {
  if (disks_[disk].group != nullptr) {
    const Result<raid::GroupLabel> label = co_await raid::read_label(*disks_[disk].device);
    if (!label.ok() && label.error().code == Errc::kIo) {
      co_return label.error();
    }
    co_return label.ok() ? label.value().own_id : mailbox::DiskIdentity{0, disk + 1};
  }
  const Result<wafl::DiskProbe> probe = co_await wafl::probe(*disks_[disk].device);
  if (!probe.ok()) {
    co_return probe.error();
  }
  // One that was never formatted holds nothing that its identity could matter for.
  co_return probe.value().ours ? probe.value().label.disk : mailbox::DiskIdentity{0, disk + 1};
}

// What cannot be read says nothing.
Task<void> Pair::look_for_older(shelf::SharedDisk& disk) {
  const auto beat = co_await mailbox::read_sector<mailbox::BeatSector>(
      disk, mailbox::kBeatBlock + number(), id_, number());
  if (beat.ok()) {
    later_than(beat.value().header.incarnation);
  }
  const auto words = co_await mailbox::read_sector<mailbox::WordsSector>(
      disk, mailbox::kWordsBlock + number(), id_, number());
  if (words.ok()) {
    later_than(words.value().dead_incarnation);
  }
  const auto record = co_await mailbox::read_sector<mailbox::ArbitrationSector>(
      disk, mailbox::kArbitrationBlock, id_, 0);
  if (record.ok()) {
    for (const mailbox::OwnerEntry& entry : record.value().filers) {
      later_than(entry.owner == number() ? entry.incarnation : 0);
    }
  }
}

void Pair::later_than_keys(const std::vector<shelf::DiskKey>& keys) {
  for (const shelf::DiskKey key : keys) {
    if (shelf::node_of(key) == number()) {
      later_than(shelf::incarnation_of(key));
    }
  }
}

void Pair::later_than(std::uint64_t incarnation) {
  if (incarnation < shelf::kIncarnationMax) {
    incarnation_ = std::max(incarnation_, incarnation + 1);
  }
}

std::string Pair::open_link() {
  const interconnect::LinkIdentity identity{
      .pair = id_,
      .node = number() == 0 ? interconnect::Node::kA : interconnect::Node::kB,
      .incarnation = interconnect::Incarnation{incarnation_}};
  return machine_.config.interconnect->transport == config::Transport::kSharedMemory
             ? open_shared_memory(identity)
             : open_tcp(identity);
}

std::string Pair::open_shared_memory(const interconnect::LinkIdentity& identity) {
  const config::Interconnect& configured = *machine_.config.interconnect;
  const config::Node& partner = *machine_.config.node(kNodeNames[1 - number()]);
  const auto in_directory = [&](std::string_view node, std::string_view what) {
    return fmt::format("{}/{}{}", configured.directory.text, node, what);
  };
  interconnect::SharedMemoryLinkOptions options;
  options.connects = number() == 1;
  options.socket_path = in_directory("", "link.sock");
  options.inbox_path = in_directory(machine_.node.name, ".inbox");
  options.partner_inbox_path = in_directory(partner.name, ".inbox");
  options.partner_memory_path = partner.mirror->path.text;
  options.accept_volatile = partner.mirror->accept_volatile;
  auto link = std::make_unique<interconnect::SharedMemoryLink>(
      machine_.strand, *mirror_, machine_.entropy, identity, std::move(options));
  if (const Status listening = link->listening(); !listening.ok()) {
    return fmt::format("{}: interconnect: {}; free {}", machine_.place(configured.line),
                       text_of(listening.error()), in_directory("", "link.sock"));
  }
  one_host_ = link.get();
  link_ = std::move(link);
  return {};
}

std::string Pair::open_tcp(const interconnect::LinkIdentity& identity) {
  const config::Interconnect& configured = *machine_.config.interconnect;
  if (configured.key_file) {
    const config::Path& file = *configured.key_file;
    Result<std::vector<std::byte>> key = tls::read_key_file(file.text);
    auto tls = key.ok() ? tls::TlsContext::with_key(std::move(key.value()))
                        : Result<std::unique_ptr<tls::TlsContext>>(key.error());
    if (!tls.ok()) {
      return fmt::format(
          "{}: key file {}: {}; write 64 to 128 hexadecimal digits, readable by "
          "this user alone",
          machine_.place(file.line), file.text, text_of(tls.error()));
    }
    tls_ = std::move(tls.value());
  }
  interconnect::StreamLinkOptions options;
  options.connects = number() == 1;
  const config::Listener& there = *machine_.config.node(kNodeNames[0])->interconnect;
  const Result<os::TcpAddress> address = os::TcpAddress::parse(there.address, there.port);
  DUET_CHECK(address.ok());
  if (options.connects) {
    source_ = interconnect::make_connecting_source(machine_.strand, address.value(), tls_.get(),
                                                   kTlsWithin);
  } else {
    auto listener = os::TcpListener::listen(machine_.strand, address.value());
    if (!listener.ok()) {
      return fmt::format("{}: {} port {}: {}; give this machine the address, or free the port",
                         machine_.place(there.line), there.address, there.port,
                         text_of(listener.error()));
    }
    source_ = interconnect::make_listening_source(machine_.strand, std::move(listener.value()),
                                                  tls_.get(), kTlsWithin);
  }
  link_ = std::make_unique<interconnect::StreamLink>(machine_.strand, *mirror_, machine_.entropy,
                                                     *source_, identity, options);
  return {};
}

void Pair::make_groups() {
  if (machine_.config.groups.empty()) {
    return;
  }
  const auto device_of = [this](const config::Disk& disk) -> shelf::SharedDisk* {
    return std::ranges::find(disks_, &disk, &Disk::configured)->device.get();
  };
  groups_ = std::make_unique<groups::PairGroups>(machine_.strand, machine_.config, machine_.node,
                                                 *mirror_, *link_, incarnation_, device_of);
  groups_->on_trouble = [](const std::string& text) {
    trace(Level::kError, "redundancy_group", {{"message", text}});
  };
  watch_ = std::make_unique<GroupWatch>(machine_.strand, groups_->all());
}

failover::GroupParts Pair::group_parts() const {
  failover::GroupParts parts;
  if (groups_ == nullptr) {
    return parts;
  }
  parts.groups = groups_.get();
  for (const Disk& disk : disks_) {
    if (!disk.carries) {
      parts.disks.push_back({disk.device.get(), disk.device.get()});
    }
  }
  for (const config::Filer& filer : machine_.config.filers) {
    for (const config::Disk& disk : filer.disks) {
      if (disk.is_virtual()) {
        parts.virtual_disks.push_back({&groups_->port(disk), filer.index()});
      }
    }
  }
  return parts;
}

namespace {

Task<admin::RaidOutcome> refuse(std::string wrong) {
  admin::RaidOutcome outcome;
  outcome.wrong = std::move(wrong);
  co_return outcome;
}

Task<admin::RaidOutcome> with_note(Task<admin::RaidOutcome> order, std::string note) {
  admin::RaidOutcome outcome = co_await std::move(order);
  if (outcome.wrong.empty()) {
    outcome.note = std::move(note);
  }
  co_return outcome;
}

}  // namespace

DiskAccess Pair::disk_access(std::uint32_t filer) {
  DiskAccess access;
  access.list = [this, filer] { return disk_infos(filer); };
  access.open = [](const std::string&) -> std::pair<BlockDevice*, std::string> {
    return {nullptr,
            "a filer of a pair takes no more disks: both nodes would have to know the new one at "
            "once, and this build cannot do that; see OPERATIONS.md, \"A pair\""};
  };
  access.close = [](BlockDevice*) {};
  if (groups_ == nullptr) {
    return access;
  }
  access.groups = [this] { return watch_->infos(); };
  access.order = [this](admin::RaidOrder order) -> Task<admin::RaidOutcome> {
    if (order.verb == admin::RaidOrder::Verb::kRemoveDisk) {
      if (std::string wrong = what_it_carries(order.disk); !wrong.empty()) {
        return refuse(std::move(wrong));
      }
    }
    const auto open = [](const config::Disk&) -> Result<std::unique_ptr<BlockDevice>> {
      return Error{Errc::kRefused,
                   "both nodes must know it: list it in the configuration, and restart them one "
                   "after the other"};
    };
    groups::ManagedGroup* const group = groups_->find(order.group);
    if (order.verb == admin::RaidOrder::Verb::kReplace) {
      std::string note = note_on(order);  // before the new disk has its number
      return with_note(carry_out(machine_, group, std::move(order), open), std::move(note));
    }
    return carry_out(machine_, group, std::move(order), open);
  };
  return access;
}

void Pair::make_pair() {
  port_ = std::make_unique<nvlog::MirrorPort>(*link_, *copies_, id_);
  clients_ = std::make_unique<ClientBook>(machine_.strand, *link_);
  const config::Failover& configured = machine_.config.failover;
  failover::PairOptions options;
  options.self = {id_, mailbox_node(number()), mailbox::Incarnation{incarnation_}};
  options.beat = {.lease = configured.lease, .beat = configured.beat};
  options.restart_window = configured.restart_deadline;
  options.automatic_takeover = configured.automatic_takeover;
  options.automatic_giveback = configured.automatic_giveback;
  options.second_fence = one_host_ != nullptr;
  std::vector<failover::PairDisk> disks;
  shelf::SharedDisk* arbitration = nullptr;
  for (const Disk& disk : disks_) {
    if (!disk.carries) {
      continue;
    }
    disks.push_back({.disk = disk.device.get(),
                     .filer = disk.filer,
                     .member = disk.configured->mailbox,
                     .late = disk.device.get(),
                     .grouped = disk.group != nullptr});
    if (disk.configured->arbitration) {
      arbitration = disk.device.get();
    }
  }
  DUET_CHECK(arbitration != nullptr);
  pair_ = std::make_unique<failover::PairNode>(
      machine_.strand, boot_clock_, options, std::move(disks), *arbitration, *link_, group_parts());
  for (const config::Filer& filer : machine_.config.filers) {
    const std::uint32_t index = filer.index();
    const std::size_t first = first_listener(machine_.config, index);
    SocketKeeper sockets{
        .open = [this,
                 first](std::size_t listener) { return parent_.open_listener(first + listener); },
        .close =
            [this, first](std::size_t listener) {
              // No parent: then nothing of it listens.
              static_cast<void>(parent_.close_listener(first + listener));
            }};
    hosts_[index] = std::make_unique<HostedFiler>(machine_, filer, *pair_, *port_, *log_, *clients_,
                                                  disk_access(index), std::move(sockets));
    if (watch_ != nullptr) {
      hosts_[index]->add_warnings([this] { return watch_->warnings(); });
    }
    pair_->set_host(index, *hosts_[index]);
  }
  pair_->on_want_cp = [this](std::uint32_t filer) { hosts_[filer]->want_consistency_point(); };
  pair_->on_event = [this](const failover::Event& event) { told(event); };
  pair_->on_step = [this](std::string_view step) { stepped(step); };
  pair_->identify = [this](std::size_t disk) { return identify(disk); };
  pair_->on_halt = [] { kill(getpid(), SIGTERM); };
  pair_->on_renewed = [this] {
    for (const auto& host : hosts_) {
      host->renew_addresses();
    }
    clients_->tell_partner();
  };
  if (one_host_ != nullptr) {
    pair_->fence_partner = [this] { return one_host_->kill_partner(); };
    // With restart-first its supervisor is asked first: its last words say how long.
    if (machine_.config.failover.on_crash == config::OnCrash::kTakeoverFirst) {
      pair_->partner_gone = [this](std::uint64_t incarnation) {
        return one_host_->partner_gone(interconnect::Incarnation{incarnation});
      };
    }
  }
}

void Pair::told(const failover::Event& event) {
  trace(level_of(event.severity), "failover",
        {{"filer", event.filer ? std::string(kNodeNames[*event.filer]) : "-"},
         {"message", std::string(event.what)},
         {"remedy", std::string(event.remedy)}});
  events_.push_back({machine_.clock.since_epoch().count(), event});
  if (events_.size() > kEventsKept) {
    events_.pop_front();
  }
}

void Pair::stepped(std::string_view step) {
  trace(Level::kInfo, "step", {{"step", std::string(step)}});
}

Task<void> Pair::reload() {
  for (const auto& host : hosts_) {
    if (host->filer() == nullptr) {
      continue;
    }
    const std::string wrong = co_await host->served().reload_exports();
    trace(wrong.empty() ? Level::kInfo : Level::kError,
          wrong.empty() ? "exports_reloaded" : "exports_not_reloaded",
          {{"filer", host->configured().name}, {"message", wrong}});
  }
}

// Both nodes may be on their way out: what nobody can take comes to rest here.
Task<int> Pair::stop() {
  const bool halted = pair_->status().halted;
  if (halted) {
    // Its disks are ended, and a newer process of this node is there.
    trace(Level::kInfo, "stopped");
    co_return kExitAgain;
  }
  pair_->leave();
  co_await sleep(machine_.strand, 4 * machine_.config.failover.beat);
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    const auto vetoes = pair_->handover_vetoes(filer);
    const bool possible = std::ranges::none_of(vetoes, &failover::Veto::hard);
    if (possible && pair_->start_handover(filer).ok()) {
      const std::uint64_t before = pair_->status().filers[filer].handovers;
      const std::function<bool()> ended = [this, filer, before] {
        return pair_->status().filers[filer].handovers != before;
      };
      co_await wait_for(ended);
    }
  }
  bool clean = true;
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    pair_->come_to_rest(filer);
    const std::function<bool()> away = [this, filer] {
      return pair_->status().filers[filer].state == failover::FilerState::kAway;
    };
    const bool rested = co_await wait_for(away);
    clean = clean && rested;
  }
  co_await host_disks_->stop(kCloseWithin);
  if (groups_ != nullptr) {
    co_await close_groups();
  }
  trace(Level::kInfo, "stopped");
  co_return clean ? kExitOk : kExitFailed;
}

// Where the partner is dead and was not shut out, nobody is there to be left to.
Task<void> Pair::close_groups() {
  watch_->stop();
  bool done = false;
  TaskScope scope(machine_.strand);
  const auto close = [this, &done]() -> Task<void> {
    const Status closed = co_await groups_->close();
    done = true;
    if (!closed.ok()) {
      trace(Level::kError, "redundancy_group_not_closed",
            {{"message", text_of(closed.error())},
             {"remedy", "the next start finishes what it was writing"}});
    }
  };
  scope.spawn(close());
  const std::function<bool()> ended = [&done] { return done; };
  const bool in_time = co_await wait_for(ended, kCloseWithin);
  if (!in_time) {
    trace(Level::kWarning, "redundancy_group_not_closed",
          {{"message", "it waits for disks or for the partner"},
           {"remedy", "the next start finishes what it was writing"}});
  }
}

// False: it did not come true in time.
Task<bool> Pair::wait_for(std::function<bool()> condition, Duration patience) {
  const Instant deadline = machine_.strand.now() + patience;
  while (!condition()) {
    if (machine_.strand.now() >= deadline) {
      co_return false;
    }
    co_await sleep(machine_.strand, 5ms);
  }
  co_return true;
}

std::vector<admin::DiskInfo> Pair::disk_infos(std::uint32_t filer) const {
  std::vector<admin::DiskInfo> infos;
  for (const config::Disk& disk : hosts_[filer]->configured().disks) {
    if (disk.is_virtual()) {
      infos.push_back({disk.path.text, groups_->port(disk).block_count() * kBlockBytes});
    }
  }
  for (const Disk& disk : disks_) {
    if (disk.filer == filer && disk.group == nullptr) {
      infos.push_back({disk.configured->shown(), disk.device->block_count() * kBlockBytes});
    }
  }
  return infos;
}

}  // namespace duet::daemon
