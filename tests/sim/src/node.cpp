#include "world/node.h"

#include <utility>

#include "base/check.h"
#include "filer/record_format.h"
#include "nvlog/record_format.h"
#include "saboteur.h"

namespace duet::world {

void WatchedMemory::store(std::uint64_t offset, std::span<const std::byte> data) {
  // The header comes behind its body.  Told before it is stored: a crash may keep it from then on.
  if (data.size() == sizeof(nvlog::RecordHeader)) {
    const auto header = duet::load<nvlog::RecordHeader>(data, 0);
    if (header.magic == nvlog::kRecordMagic && header.body_bytes >= sizeof(filer::RecordBytes)) {
      const auto body =
          duet::load<filer::RecordBytes>(memory_.bytes(), offset + sizeof(nvlog::RecordHeader));
      seen_({header.sequence, body.now_ns, body.address, body.xid});
    }
  }
  memory_.store(offset, data);
}

Status WatchedMemory::persist() {
  if (fail_next_persist_) {
    fail_next_persist_ = false;
    return Error{Errc::kIo, "persist: simulated medium failure"};
  }
  return persists_ ? memory_.persist() : Status(Ok{});
}

Node::Node(sim::SimScheduler& scheduler, const NodeOptions& options)
    : scheduler_(scheduler), options_(options), clock_(scheduler), entropy_(options.seed) {
  for (std::size_t i = 0; i < options.disks; ++i) {
    disks_.push_back(std::make_unique<sim::SimDisk>("disk" + std::to_string(i), options.blocks));
  }
  memory_ = std::make_unique<sim::SimPersistentMemory>(
      nvlog::region_bytes(nvlog::half_bytes_min()));
}

Node::Node(sim::SimScheduler& scheduler, const NodeOptions& options, Hardware hardware)
    : scheduler_(scheduler),
      options_(options),
      clock_(scheduler),
      entropy_(options.seed),
      disks_(std::move(hardware.disks)),
      memory_(std::move(hardware.memory)) {}

Node::~Node() {
  cut_connections();
  filer_.reset();
}

void Node::connect() {
  for (const auto& disk : disks_) {
    connections_.push_back(std::make_unique<sim::SimBlockDevice>(scheduler_, *disk));
    BlockDevice* device = connections_.back().get();
    if (auto saboteur = make_saboteur(options_.sabotage, scheduler_, *device)) {
      saboteurs_.push_back(std::move(saboteur));
      device = saboteurs_.back().get();
    }
    faulty_.push_back(std::make_unique<sim::FaultyBlockDevice>(scheduler_, *device));
    if (options_.sabotage == Sabotage::kLostWrite) {
      faulty_.back()->chance(sim::Fault::kLostWrite, 50);
    }
  }
  watched_ = std::make_unique<WatchedMemory>(
      *memory_, options_.sabotage != Sabotage::kNoPersist, [this](const WatchedMemory::Seen& seen) {
        if (seen_ && !died()) {
          seen_(seen);
        }
      });
  observe();
}

void Node::observe() {
  for (const auto& disk : disks_) {
    disk->observe([this](const sim::SimDisk::Event&) { event(); });
  }
  memory_->observe([this](sim::SimPersistentMemory::Event) { event(); });
}

void Node::event() {
  ++events_;
  if (event_seen_) {
    event_seen_();
  }
  if (!events_left_.has_value() || died() || --*events_left_ > 0) {
    return;
  }
  events_left_.reset();
  copy_ = copy();
}

Node::Hardware Node::copy() const {
  Hardware hardware;
  for (const auto& disk : disks_) {
    hardware.disks.push_back(std::make_unique<sim::SimDisk>(*disk));
  }
  hardware.memory = std::make_unique<sim::SimPersistentMemory>(*memory_);
  return hardware;
}

void Node::die_at_event(std::uint64_t events) { events_left_ = events; }

void Node::cut_connections() {
  connections_.clear();
  events_left_.reset();
}

void Node::die(Death death) {
  DUET_CHECK(connections_.empty());
  filer_.reset();
  faulty_.clear();
  saboteurs_.clear();
  watched_.reset();
  if (copy_.has_value()) {
    disks_ = std::move(copy_->disks);
    memory_ = std::move(copy_->memory);
    copy_.reset();
    death = Death::kPowerLoss;  // what was in the middle of something is not whole
  }
  for (const auto& disk : disks_) {
    disk->observe({});
    if (death == Death::kPowerLoss) {
      disk->lose_power(scheduler_.random());
    }
  }
  memory_->observe({});
  if (death == Death::kPowerLoss) {
    memory_->lose_power(scheduler_.random());
  }
}

Task<Status> Node::open() {
  std::vector<BlockDevice*> devices;
  for (const auto& device : faulty_) {
    devices.push_back(device.get());
  }
  Result<std::unique_ptr<filer::Filer>> opened = co_await filer::Filer::open(
      scheduler_, clock_, entropy_, std::move(devices), *watched_, options_.filer);
  if (!opened.ok()) {
    co_return opened.error();
  }
  filer_ = std::move(opened.value());
  co_return Ok();
}

Task<Status> Node::make_contents() {
  std::vector<BlockDevice*> devices;
  for (const auto& device : connections_) {
    devices.push_back(device.get());
  }
  wafl::FormatOptions format;
  format.pair = {1, 2};
  format.filer_name = "sim";
  format.log_id = entropy_.next() | 1U;
  format.now = wafl::Timestamp{clock_.since_epoch().count()};
  nvlog::LogIdentity identity;
  identity.pair = format.pair;
  identity.log_id = format.log_id;
  if (Status made = nvlog::format_area(*watched_, identity, 0); !made.ok()) {
    co_return made;
  }
  const Status formatted = co_await wafl::format(scheduler_, devices, format, entropy_);
  if (!formatted.ok()) {
    co_return formatted;
  }
  const Status opened = co_await open();
  if (!opened.ok()) {
    co_return opened;
  }
  const Status created = co_await filer_->create_volume("vol0", 0);
  if (!created.ok()) {
    co_return created;
  }
  filer::ExportTable table;
  filer::Export entry;
  entry.path = "/vol0";
  filer::ExportRule everybody;
  everybody.squash = filer::Squash::kNone;
  entry.rules.push_back(everybody);
  table.exports.push_back(entry);
  co_return co_await filer_->set_exports(table);
}

Complaint Node::format() {
  connect();
  const std::optional<Status> made = run(make_contents());
  if (!made.has_value()) {
    return "format: stands still";
  }
  return made->ok() ? Complaint() : "format: " + std::string(made->error().context);
}

Complaint Node::check() {
  DUET_CHECK(connections_.empty());
  std::vector<std::unique_ptr<sim::SimBlockDevice>> devices;
  std::vector<BlockDevice*> pointers;
  for (const auto& disk : disks_) {
    devices.push_back(std::make_unique<sim::SimBlockDevice>(scheduler_, *disk));
    pointers.push_back(devices.back().get());
  }
  wafl::CheckOptions options;
  options.names_of_snapshots = true;
  const std::optional<wafl::CheckReport> report = run(wafl::check(pointers, options));
  if (!report.has_value()) {
    return "check: stands still";
  }
  if (report->clean()) {
    return {};
  }
  Complaint complaint =
      "check finds " + std::to_string(report->problem_count) + " problems in CP " +
      std::to_string(report->cp);
  for (const wafl::CheckProblem& problem : report->problems) {
    complaint += "\n  " + std::string(wafl::problem_name(problem.kind)) + ": " + problem.text;
    if (complaint.size() > 2000) {
      break;
    }
  }
  return complaint;
}

void Node::replace_memory(std::unique_ptr<sim::SimPersistentMemory> memory) {
  memory_ = std::move(memory);
}

std::unique_ptr<sim::SimPersistentMemory> Node::take_memory() { return std::move(memory_); }

}  // namespace duet::world
