#include "world.h"

#include <cstdio>

#include "nvlog/record_format.h"
#include "raid/group.h"
#include "sim/sim_block_device.h"

namespace duet::pair {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kHalfBytes = 8192;

const config::Node& node_of(std::uint32_t number) {
  return *SharedGroup::config().node(number == 0 ? "a" : "b");
}

std::uint64_t mirror_bytes(bool groups) {
  const std::uint64_t logs = nvlog::region_bytes(kHalfBytes);
  return groups ? (logs + kBlockBytes - 1) / kBlockBytes * kBlockBytes +
                      SharedGroup::config().groups.front().intent_bytes()
                : logs;
}

// A region smaller than format_area() would make, and behind it what the groups have.
std::unique_ptr<sim::SimPersistentMemory> blank_memory(std::uint64_t bytes) {
  auto memory = std::make_unique<sim::SimPersistentMemory>(bytes);
  nvlog::RegionHeader header;
  header.half_bytes = kHalfBytes;
  header.checksum = crc32c(bytes_of(header));
  memory->store(0, bytes_of(header));
  memory->store(nvlog::kHeaderCopyBytes, bytes_of(header));
  DUET_CHECK(memory->persist().ok());
  return memory;
}

template <typename Record>
std::array<std::byte, kBlockBytes> block_of(const Record& record) {
  std::array<std::byte, kBlockBytes> block{};
  mailbox::encode(record, block);
  return block;
}

shelf::DiskFeatures features_of(const WorldOptions& options) {
  shelf::DiskFeatures features = shelf::Target::features();
  features.epochs = options.epochs;
  return features;
}

}  // namespace

Process::~Process() {
  pair.reset();
  hosts = {};
  groups.reset();
  port.reset();
  link.reset();
  disks.clear();
}

World::Disk::Disk(sim::SimScheduler& scheduler, std::size_t number, const WorldOptions& options)
    : data("d" + std::to_string(number), 320),
      label("l" + std::to_string(number), shelf::kLabelBlocks),
      paths{shelf::testing::SimPath(scheduler), shelf::testing::SimPath(scheduler)},
      target(scheduler, data, label,
             {.features = features_of(options),
              .late_one_in = options.late_one_in,
              .slow_one_in = options.late_one_in,
              .fail_after = options.groups ? 12s : 2s}) {}

World::World(const WorldOptions& options)
    : scheduler(options.seed),
      options_(options),
      wire_(scheduler, {.one_sided = options.one_sided}),
      scope_(scheduler) {
  for (std::size_t i = 0; i < kDisks; ++i) {
    disks_.push_back(std::make_unique<Disk>(scheduler, i, options));
    disks_.back()->data.observe(
        [this, i](const sim::SimDisk::Event& event) { check_write(i, event); });
  }
  for (std::uint32_t node = 0; node < 2; ++node) {
    own_[node] = blank_memory(nvlog::region_bytes(kHalfBytes));
    mirror_[node] = blank_memory(mirror_bytes(options.groups));
  }
  format();
  if (options.groups) {
    format_group();
  }
  scope_.spawn(client());
  scope_.spawn(watch());
}

World::~World() {
  scope_.cancel();
  for (auto& process : processes_) {
    process.reset();
  }
}

void World::format() {
  mailbox::ArbitrationSector record;
  record.header.pair = kPair;
  record.filers = {mailbox::OwnerEntry{.owner = 0, .previous = 0, .epoch = 1},
                   mailbox::OwnerEntry{.owner = 1, .previous = 1, .epoch = 1}};
  disks_[options_.arbitration]->data.put(mailbox::kArbitrationBlock, block_of(record));
  for (std::size_t i = 0; i < kDisks && !options_.groups; ++i) {
    if (i % kDisksPerFiler >= kRootDisks) {
      continue;
    }
    ModelRoot root{.filer = i / kDisksPerFiler, .epoch = 1, .cp = 1, .log_empty = 1};
    std::array<std::byte, kBlockBytes> block{};
    store(MutableBytes(block), 0, sealed(root));
    disks_[i]->data.put(kRootBlock, block);
  }
}

// What is in the rows of the roots besides is zero.
void World::format_group() {
  std::vector<std::unique_ptr<sim::SimBlockDevice>> devices;
  std::vector<BlockDevice*> pointers;
  std::vector<raid::DiskId> ids;
  for (std::size_t i = 0; i < kDisks; ++i) {
    devices.push_back(std::make_unique<sim::SimBlockDevice>(scheduler, disks_[i]->data));
    pointers.push_back(devices.back().get());
    ids.push_back(identity(i));
  }
  const raid::GroupId id{0x6472'6F77, 0x7269'6170};
  const std::vector<raid::VirtualDiskEntry> parts = SharedGroup::parts();
  bool done = false;
  const auto make = [&]() -> Task<void> {
    const Status made = co_await raid::format_group(pointers, ids, id, SharedGroup::geometry(),
                                                    /*nodes=*/3, {.virtual_disks = parts});
    DUET_CHECK(made.ok());
    done = true;
  };
  scope_.spawn(make());
  DUET_CHECK(scheduler.run_until([&done] { return done; }, 100'000));
  const raid::MemoryLayout layout = SharedGroup::config().groups.front().intents();
  for (std::uint32_t node = 0; node < 2; ++node) {
    const config::MemoryMap map = config::map_memory(SharedGroup::config().groups_of(node_of(node)),
                                                     mirror_[node]->bytes().size());
    MemorySlice part(*mirror_[node], map.intents[0].offset, map.intents[0].bytes);
    const Status made = raid::format_intents(
        part, id, raid::NodeId{static_cast<std::uint8_t>(node)}, layout.slots, layout.pages);
    DUET_CHECK(made.ok());
  }
  for (std::uint32_t filer = 0; filer < 2; ++filer) {
    const ModelRoot root{.filer = filer, .epoch = 1, .cp = 1, .log_empty = 1};
    std::array<std::byte, kBlockBytes> block{};
    store(MutableBytes(block), 0, sealed(root));
    for (std::size_t copy = 0; copy < kRootDisks; ++copy) {
      const SharedGroup::Cell cell = SharedGroup::root(filer, copy);
      disks_[cell.disk]->data.put(cell.block, block);
      disks_[cell.check_disk]->data.put(cell.block, block);
    }
  }
}

void World::check_root(std::uint32_t filer, const sim::SimDisk& disk, std::uint64_t block) {
  const auto root = load<ModelRoot>(disk.block(block), 0);
  if (!valid(root)) {
    oracle.complain("a root that is none");
    return;
  }
  oracle.landed(filer, root.epoch, root.writer);
}

// By the newest label that any disk has.  What is written to a disk that is rebuilt is what the
// group holds already, whoever wrote it there when.
bool World::counts_in_group(std::size_t disk) const {
  std::optional<raid::GroupLabel> newest;
  for (const auto& each : disks_) {
    for (std::uint64_t turn = 0; turn < 2; ++turn) {
      const Result<raid::GroupLabel> label =
          raid::decode_label(each->data.block(raid::label_block(turn)));
      if (label.ok() && (!newest || raid::supersedes(label.value(), *newest))) {
        newest = label.value();
      }
    }
  }
  DUET_CHECK(newest.has_value());
  return std::ranges::any_of(newest->members, [&](const raid::LabelDisk& member) {
    return member.id == identity(disk) &&
           static_cast<raid::DiskState>(member.state) == raid::DiskState::kInSync;
  });
}

void World::check_write(std::size_t disk, const sim::SimDisk::Event& event) {
  if (event.kind != sim::SimDisk::EventKind::kWrite) {
    return;
  }
  for (std::uint32_t filer = 0; options_.groups && filer < 2; ++filer) {
    for (std::size_t i = 0; i < kRootDisks; ++i) {
      const SharedGroup::Cell cell = SharedGroup::root(filer, i);
      if (cell.disk == disk && event.block <= cell.block &&
          cell.block < event.block + event.blocks) {
        sim::SimDisk copy(disks_[disk]->data);
        copy.lose_power(scheduler.random(), sim::SimDisk::Keep::kEverything);
        // A group writes again what is there: when it rebuilds a disk, or carries out intents.
        const auto root = load<ModelRoot>(copy.block(cell.block), 0);
        if (sealed(root).checksum == root_landed_[filer][i] || !counts_in_group(disk)) {
          continue;
        }
        root_landed_[filer][i] = root.checksum;
        check_root(filer, copy, cell.block);
      }
    }
  }
  const bool root_or_record =
      (event.block == kRootBlock && !options_.groups) || event.block == mailbox::kArbitrationBlock;
  if (!root_or_record) {
    return;
  }
  sim::SimDisk copy(disks_[disk]->data);
  copy.lose_power(scheduler.random(), sim::SimDisk::Keep::kEverything);
  if (event.block == mailbox::kArbitrationBlock) {
    const auto record = mailbox::decode<mailbox::ArbitrationSector>(
        copy.block(mailbox::kArbitrationBlock), kPair, 0);
    if (record.ok()) {
      std::array<Oracle::Owner, 2> owners;
      for (std::size_t filer = 0; filer < 2; ++filer) {
        const mailbox::OwnerEntry& entry = record.value().filers[filer];
        owners[filer] = {entry.owner, entry.incarnation, entry.epoch};
      }
      oracle.recorded(disk, record.value().generation, owners);
    }
    return;
  }
  check_root(static_cast<std::uint32_t>(disk / kDisksPerFiler), copy, kRootBlock);
}

std::unique_ptr<shelf::SharedDisk> World::connect(Process& process, std::uint32_t node,
                                                  std::size_t disk, shelf::DiskKey key) {
  return std::make_unique<NodeDisk>(process.scheduler,
                                    disks_[disk]->target.connect(disks_[disk]->paths[node], key));
}

Task<Result<std::unique_ptr<shelf::SharedDisk>>> World::try_connect(Process& process,
                                                                    std::uint32_t node,
                                                                    std::size_t disk,
                                                                    shelf::DiskKey key) {
  co_await sleep(process.scheduler, 1ms);
  if (!path(node, disk).up() || !shelf(disk).running()) {
    co_return Error{Errc::kIo, "the path is cut"};
  }
  co_return connect(process, node, disk, key);
}

Task<Result<mailbox::DiskIdentity>> World::identify(std::size_t disk, shelf::SharedDisk& device) {
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  const Status read = co_await device.read(0, buffer->parts());
  if (!read.ok()) {
    co_return read.error();
  }
  co_return identity(disk);
}

bool World::is_configured_member(std::uint32_t node, std::size_t disk) const {
  const auto& wrong = misconfigured_[node];
  if (wrong && (disk == wrong->first || disk == wrong->second)) {
    return disk == wrong->second;
  }
  return disk % kDisksPerFiler < kRootDisks;
}

void World::boot(std::uint32_t node) {
  DUET_CHECK(processes_[node] == nullptr);
  const std::int64_t ppm = node == 0 ? options_.drift_ppm : -options_.drift_ppm;
  auto process = std::make_unique<Process>(scheduler, ppm, node == 0 ? 100s : 7000s);
  const mailbox::Writer self{kPair, mailbox::Node{static_cast<std::uint8_t>(node)},
                             mailbox::Incarnation{++incarnations_[node]}};
  std::vector<failover::PairDisk> disks;
  for (std::size_t i = 0; i < kDisks; ++i) {
    const shelf::DiskKey key =
        shelf::make_key(mailbox::index_of(self.node), static_cast<std::uint64_t>(self.incarnation));
    const bool unreached = !path(node, i).up() || !disks_[i]->target.running();
    const bool away = options_.late_disks || (unreached && !options_.waits_for_disks);
    shelf::LateDisk* late = nullptr;
    if (away) {
      auto made = std::make_unique<shelf::LateDisk>(
          process->scheduler, key, "late",
          [this, raw = process.get(), node, i, key] { return try_connect(*raw, node, i, key); },
          200ms);
      late = made.get();
      process->disks.push_back(std::move(made));
    } else {
      process->disks.push_back(connect(*process, node, i, key));
    }
    disks.push_back({.disk = process->disks.back().get(),
                     .filer = static_cast<std::uint32_t>(i / kDisksPerFiler),
                     .member = is_configured_member(node, i),
                     .identity = away ? mailbox::DiskIdentity{} : identity(i),
                     .late = late,
                     .grouped = options_.groups});
  }
  process->link = std::make_unique<NodeLink>(
      process->scheduler, wire_.open({kPair, interconnect::Node{static_cast<std::uint8_t>(node)},
                                      interconnect::Incarnation{incarnations_[node]}},
                                     *mirror_[node]));
  process->copies =
      std::make_unique<MemorySlice>(*mirror_[node], 0, nvlog::region_bytes(kHalfBytes));
  process->port = std::make_unique<nvlog::MirrorPort>(*process->link, *process->copies, kPair);
  failover::GroupParts groups;
  if (options_.groups) {
    const auto disk_of = [raw = process.get()](const config::Disk& disk) {
      return raw->disks[std::stoul(disk.path.text)].get();
    };
    process->groups = std::make_unique<groups::PairGroups>(
        process->scheduler, SharedGroup::config(), node_of(node), *mirror_[node], *process->link,
        incarnations_[node], disk_of);
    if (options_.verbose) {
      process->groups->on_trouble = [node](const std::string& text) {
        std::printf("          %c ? %s\n", node == 0 ? 'a' : 'b', text.c_str());
      };
    }
    groups.groups = process->groups.get();
    for (const config::Filer& filer : SharedGroup::config().filers) {
      groups.virtual_disks.push_back({&process->groups->port(filer.disks[0]), filer.index()});
    }
  }
  failover::PairOptions options;
  options.self = self;
  options.automatic_takeover = options_.automatic_takeover;
  options.automatic_giveback = options_.automatic_giveback;
  options.giveback_after = 1s;
  options.givebacks_per_hour = options_.givebacks_per_hour;
  options.record_patience = 1s;
  process->pair = std::make_unique<failover::PairNode>(process->scheduler, process->clock, options,
                                                       disks, *process->disks[options_.arbitration],
                                                       *process->link, groups);
  for (std::uint32_t filer = 0; filer < 2; ++filer) {
    process->hosts[filer] =
        std::make_unique<ModelFiler>(process->scheduler, scheduler.random(), *process->pair, self,
                                     filer, *own_[node], *process->port, oracle, options_.groups);
    process->pair->set_host(filer, *process->hosts[filer]);
  }
  Process* const raw = process.get();
  process->pair->identify = [this, raw](std::size_t disk) {
    return identify(disk, *raw->disks[disk]);
  };
  process->pair->on_halt = [this, node] { restart_soon_[node] = options_.groups; };
  process->pair->on_want_cp = [raw](std::uint32_t filer) { raw->hosts[filer]->want_cp(); };
  process->pair->on_step = [this, node](std::string_view step) {
    ++steps[std::string(step)];
    if (options_.verbose) {
      std::printf("%9.3f %c %.*s\n", static_cast<double>(scheduler.now().since_start.count()) / 1e9,
                  node == 0 ? 'a' : 'b', static_cast<int>(step.size()), step.data());
    }
    if (on_step) {
      on_step(node, step);
    }
  };
  process->pair->on_event = [this, node](const failover::Event& event) {
    ++events[std::string(event.what)];
    if (options_.verbose) {
      std::printf("%9.3f %c ! %.*s\n",
                  static_cast<double>(scheduler.now().since_start.count()) / 1e9,
                  node == 0 ? 'a' : 'b', static_cast<int>(event.what.size()), event.what.data());
    }
  };
  process->pair->start();
  processes_[node] = std::move(process);
}

void World::kill(std::uint32_t node) { processes_[node].reset(); }

void World::say_last_words(std::uint32_t node, Duration restart) {
  mailbox::WordsSector words;
  words.header.pair = kPair;
  words.header.subject = words.header.node = node;
  words.header.incarnation = incarnations_[node];
  words.dead_incarnation = incarnations_[node];
  words.cause = static_cast<std::uint32_t>(mailbox::Cause::kCrashed);
  words.restart_ms = static_cast<std::uint32_t>(restart / 1ms);
  for (std::size_t i = 0; i < kDisksPerFiler; ++i) {
    disks_[node * kDisksPerFiler + i]->data.put(mailbox::kWordsBlock + node, block_of(words));
  }
}

void World::lose_power(std::uint32_t node, bool blank) {
  DUET_CHECK(processes_[node] == nullptr);
  if (blank) {
    // The partner may still be connected to what was there.
    const std::uint64_t logs = own_[node]->bytes().size();
    old_memories_.push_back(std::exchange(own_[node], blank_memory(logs)));
    old_memories_.push_back(
        std::exchange(mirror_[node], blank_memory(mirror_bytes(options_.groups))));
    return;
  }
  own_[node]->lose_power(scheduler.random());
  mirror_[node]->lose_power(scheduler.random());
}

void World::at(Duration later, std::function<void()> what) {
  due_.emplace(scheduler.now() + later, std::move(what));
}

void World::do_due() {
  for (std::uint32_t node = 0; node < 2; ++node) {
    if (std::exchange(restart_soon_[node], false) && processes_[node] != nullptr) {
      // As its supervisor does.
      kill(node);
      at(std::chrono::milliseconds(scheduler.random().below(300)), [this, node] {
        if (processes_[node] == nullptr) {
          boot(node);
        }
      });
    }
    if (std::exchange(kill_soon_[node], false) && processes_[node] != nullptr) {
      kill(node);
      if (auto_restart) {
        at(std::chrono::milliseconds(scheduler.random().below(2500)), [this, node] {
          if (processes_[node] == nullptr) {
            boot(node);
          }
        });
      }
    }
  }
  while (!due_.empty() && due_.begin()->first <= scheduler.now()) {
    const std::function<void()> what = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    what();
  }
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = scheduler.now() + limit;
  while (!done()) {
    if (!oracle.complaint().empty() || scheduler.now() >= end) {
      return false;
    }
    do_due();
    // The client never ends, so there is always a next turn.
    bool turned = false;
    DUET_CHECK(scheduler.run_until([&turned] { return std::exchange(turned, true); }, 2));
  }
  return true;
}

Task<void> World::client() {
  for (;;) {
    co_await sleep(scheduler, options_.request_every);
    sim::Random& random = scheduler.random();
    const auto node = static_cast<std::uint32_t>(random.below(2));
    const auto filer = static_cast<std::uint32_t>(random.below(2));
    const auto key = static_cast<std::uint32_t>(random.below(kKeys));
    Process* const process = processes_[node].get();
    if (process != nullptr && process->hosts[filer]->takes_requests()) {
      process->hosts[filer]->request(!reads_only && random.one_in(2), key, ++values_,
                                     oracle.before(filer, key));
    }
  }
}

Task<void> World::watch() {
  static constexpr std::array<std::string_view, 5> kStates{"away", "opening", "serving", "handing",
                                                           "ending"};
  static constexpr std::array<std::string_view, 3> kLinks{"up", "lost", "reset"};
  static constexpr std::array<std::string_view, 3> kMailboxes{"both", "one", "none"};
  static constexpr std::array<std::string_view, 3> kBeats{"changing", "stale", "claims"};
  const auto text = [](auto... parts) {
    std::string result;
    ((result.append(result.empty() ? "" : ", ").append(parts)), ...);
    return result;
  };
  for (;;) {
    co_await sleep(scheduler, 7ms);
    for (std::uint32_t node = 0; node < 2; ++node) {
      if (processes_[node] == nullptr || processes_[node]->scheduler.frozen()) {
        continue;
      }
      const failover::PairStatus status = processes_[node]->pair->status();
      ++decisions[text(failover::name(status.verdict.action),
                       failover::name(status.verdict.alarm))];
      const bool solo = status.evidence.mirror == failover::MirrorEvidence::kSolo;
      ++evidence[text(kLinks[static_cast<std::size_t>(status.evidence.link)],
                      kMailboxes[static_cast<std::size_t>(status.evidence.mailbox)],
                      kBeats[static_cast<std::size_t>(status.evidence.beat)],
                      std::string_view(solo ? "solo" : "synced"))];
      for (std::uint32_t filer = 0; filer < 2; ++filer) {
        ++states[text(std::string_view(filer == node ? "at home" : "at the partner"),
                      kStates[static_cast<std::size_t>(status.filers[filer].state)])];
      }
    }
  }
}

std::optional<mailbox::ArbitrationSector> World::record_on(std::size_t disk) {
  const auto found = mailbox::decode<mailbox::ArbitrationSector>(
      disks_[disk]->data.block(mailbox::kArbitrationBlock), kPair, 0);
  return found.ok() ? std::optional(found.value()) : std::nullopt;
}

std::size_t World::record_disk() {
  std::size_t newest = options_.arbitration;
  for (std::size_t i = 0; i < kDisks; ++i) {
    const auto here = record_on(i);
    const auto best = record_on(newest);
    if (here && (!best || best->generation < here->generation)) {
      newest = i;
    }
  }
  return newest;
}

mailbox::Owners World::owners() { return record_on(record_disk())->filers; }

int World::answering(std::uint32_t filer) {
  for (std::uint32_t node = 0; node < 2; ++node) {
    Process* const process = processes_[node].get();
    if (process != nullptr && !process->scheduler.frozen() && process->pair->may_answer(filer) &&
        process->hosts[filer]->takes_requests()) {
      return static_cast<int>(node);
    }
  }
  return -1;
}

int World::sharing() const {
  int nodes = 0;
  for (const auto& process : processes_) {
    nodes += process != nullptr && process->groups->state() == failover::GroupsState::kShared;
  }
  return nodes;
}

std::string World::scrub() {
  raid::Group& group = *processes_[0]->groups->all()[0]->manager();
  DUET_CHECK(group.start_scrub().ok());
  if (!run_until([&group] { return !group.status().scrub.running; }, 60s)) {
    return "the scrub does not end";
  }
  raid::ScrubCounts counts = group.status().scrub.counts;
  counts.loose = counts.loose_left = 0;  // nobody needs them, and they need not match
  return counts == raid::ScrubCounts{} ? "" : "I14: check data do not match";
}

// By the word of its owner: one that was taken over while it slept does not know yet.
bool World::synced(std::uint32_t filer) {
  const mailbox::OwnerEntry owner = owners()[filer];
  const Process* const process = processes_[owner.owner].get();
  return process != nullptr && incarnations_[owner.owner] == owner.incarnation &&
         process->hosts[filer]->mirrored();
}

}  // namespace duet::pair
