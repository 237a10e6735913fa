#include "model_filer.h"

#include <algorithm>

namespace duet::pair {

namespace {

using namespace std::chrono_literals;

constexpr Duration kPoll = 300us;

struct Body {
  std::uint64_t key;
  std::uint64_t value;
};

}  // namespace

ModelRoot sealed(ModelRoot root) {
  root.checksum = 0;
  root.checksum = crc32c(bytes_of(root));
  return root;
}
bool valid(const ModelRoot& root) {
  return root.magic == kModelMagic && sealed(root).checksum == root.checksum;
}

ModelFiler::ModelFiler(Scheduler& scheduler, sim::Random& random, failover::PairNode& pair,
                       const mailbox::Writer& self, std::uint32_t filer, PersistentMemory& memory,
                       nvlog::MirrorPort& port, Oracle& oracle, bool on_group)
    : scheduler_(scheduler),
      random_(random),
      pair_(pair),
      self_(self),
      filer_(filer),
      memory_(memory),
      port_(port),
      oracle_(oracle),
      on_group_(on_group),
      arrival_(*this),
      scope_(scheduler) {
  const std::vector<shelf::SharedDisk*> disks = pair.disks_of(filer);
  for (std::size_t i = 0; i < kRootDisks; ++i) {
    roots_.push_back(on_group ? RootPlace{disks[0], kRootBlocks[i]}
                              : RootPlace{disks[i], kRootBlock});
  }
}

namespace {

// What a CP writes; no two of one filer, epoch and number.
std::vector<std::byte> data_of(std::uint32_t filer, std::uint64_t cp) {
  std::vector<std::byte> data(kDataBlocks * kBlockBytes);
  for (std::size_t at = 0; at < data.size(); at += 512) {
    const std::array<std::uint64_t, 3> mark{filer + 1, cp, at};
    store(MutableBytes(data), at, mark);
  }
  return data;
}

std::uint64_t data_block(std::uint64_t cp) { return kDataBlock + cp % 2 * kDataBlocks; }

}  // namespace

Task<Status> ModelFiler::write_data(std::uint64_t cp) {
  if (!on_group_) {
    co_return Ok{};
  }
  const auto buffer = std::make_unique<std::array<mailbox::SectorBuffer, kDataBlocks>>();
  const std::vector<std::byte> data = data_of(filer_, cp);
  std::vector<MutableBytes> parts;
  for (std::size_t i = 0; i < kDataBlocks; ++i) {
    parts.push_back((*buffer)[i].bytes());
    std::ranges::copy(ConstBytes(data).subspan(i * kBlockBytes, kBlockBytes), parts[i].begin());
  }
  const Status written = co_await roots_[0].disk->write(data_block(cp), parts);
  if (!written.ok()) {
    co_return written;
  }
  const Status flushed = co_await roots_[0].disk->flush();
  co_return flushed;
}

// Of an opening that has been overtaken, what it reads need not fit together.
Task<Status> ModelFiler::check_data(std::uint64_t cp, std::uint64_t epoch) {
  if (!on_group_ || cp <= 1) {
    co_return Ok{};
  }
  const auto buffer = std::make_unique<std::array<mailbox::SectorBuffer, kDataBlocks>>();
  std::vector<MutableBytes> parts;
  for (mailbox::SectorBuffer& each : *buffer) {
    parts.push_back(each.bytes());
  }
  const Status read = co_await roots_[0].disk->read(data_block(cp), parts);
  const std::vector<std::byte> data = data_of(filer_, cp);
  const bool overtaken = oracle_.filer(filer_).opened > epoch;
  for (std::size_t i = 0; read.ok() && !overtaken && i < kDataBlocks; ++i) {
    if (!same_bytes(parts[i], ConstBytes(data).subspan(i * kBlockBytes, kBlockBytes))) {
      oracle_.complain("I14: data that a root refers to are lost");
    }
  }
  co_return read;
}

nvlog::LogIdentity ModelFiler::identity() const {
  return {.pair = self_.pair, .filer = filer_, .log_id = 77 + filer_};
}

Task<Result<ModelRoot>> ModelFiler::read_root() {
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  Result<ModelRoot> newest = Error{Errc::kCorrupt, "no root"};
  bool all = true;
  for (const RootPlace& place : roots_) {
    const Status read = co_await place.disk->read(place.block, buffer->parts());
    if (!read.ok()) {
      all = false;
      continue;
    }
    const auto root = load<ModelRoot>(std::as_const(*buffer).bytes(), 0);
    if (!valid(root)) {
      continue;
    }
    if (!newest.ok() || newest.value().epoch < root.epoch ||
        (newest.value().epoch == root.epoch && newest.value().cp < root.cp)) {
      newest = root;
    }
  }
  if (!all) {  // the newer copy may be on the one that cannot be read
    co_return Error{Errc::kIo, "a copy of the root cannot be read"};
  }
  co_return newest;
}

Task<Status> ModelFiler::write_root(ModelRoot root) {
  root.filer = filer_;
  root.epoch = epoch_;
  root.cp = ++cp_;
  root.membership_generation = membership_;
  root.writer = std::uint64_t{mailbox::index_of(self_.node)} << 32U |
                static_cast<std::uint64_t>(self_.incarnation);
  const auto buffer = std::make_unique<mailbox::SectorBuffer>();
  store(buffer->bytes(), 0, sealed(root));
  const Status data = co_await write_data(root.cp);
  if (!data.ok()) {
    co_return data;
  }
  for (const RootPlace& place : roots_) {
    Status written = Ok{};
    if (on_group_) {
      written = co_await place.disk->write(place.block, buffer->parts());
      if (written.ok()) {
        written = co_await place.disk->flush();
      }
    } else {
      written = co_await place.disk->write_durable(place.block, buffer->parts());
    }
    if (!written.ok()) {
      co_return written;
    }
  }
  co_return Ok{};
}

Task<Result<failover::FilerFacts>> ModelFiler::facts() {
  const Result<ModelRoot> root = co_await read_root();
  if (!root.ok()) {
    co_return root.error();
  }
  const nvlog::RegionProbe own = nvlog::probe(memory_);
  const nvlog::MirrorPort::Copy copy = port_.copy(filer_);
  failover::FilerFacts facts;
  facts.epoch = root.value().epoch;
  facts.membership_generation = root.value().membership_generation;
  facts.log_empty = root.value().log_empty != 0;
  facts.own_log = own.ours && own.areas[filer_] == identity() && own.epochs[filer_] == facts.epoch;
  facts.copy = copy.epoch == facts.epoch && copy.mirror_generation != 0 &&
               copy.mirror_generation == root.value().mirror_generation;
  co_return facts;
}

void ModelFiler::admit_partner(std::uint64_t epoch) {
  copy_.reset();
  port_.admit(filer_, epoch);
}
void ModelFiler::cut_partner() { copy_ = port_.take(filer_); }

Task<Result<failover::Opened>> ModelFiler::open(const failover::Opening& opening) {
  DUET_CHECK(log_ == nullptr);
  oracle_.opening(filer_, opening.epoch);
  const Result<ModelRoot> root = co_await read_root();
  if (!root.ok()) {
    co_return root.error();
  }
  const Status data = co_await check_data(root.value().cp, opening.epoch);
  if (!data.ok()) {
    co_return data.error();
  }
  port_.close(filer_);
  epoch_ = opening.epoch;
  cp_ = root.value().cp;
  membership_ = root.value().membership_generation;
  registers_ = root.value().registers;
  const nvlog::Covered covered{.epoch = root.value().epoch,
                               .last = nvlog::Sequence{root.value().last},
                               .log_empty = root.value().log_empty != 0,
                               .mirror_generation = root.value().mirror_generation};
  failover::Opened result;
  const auto apply = [&](const nvlog::ReplayRecord& record) -> Status {
    const auto body = load<Body>(record.body, 0);
    registers_[body.key] = {body.value, static_cast<std::uint64_t>(record.sequence)};
    ++result.records;
    return Ok{};
  };
  auto recovered = nvlog::MirroredLog::recover(scheduler_, memory_, identity(), covered,
                                               opening.copy_allowed ? copy_.get() : nullptr, port_,
                                               pair_.duties_of(filer_), {}, apply);
  if (!recovered.ok() && opening.forced) {
    nvlog::Covered alone = covered;
    alone.log_empty = true;
    recovered = nvlog::MirroredLog::recover(scheduler_, memory_, identity(), alone, nullptr, port_,
                                            pair_.duties_of(filer_), {}, apply);
  }
  if (!recovered.ok()) {
    co_return recovered.error();
  }
  log_ = std::move(recovered.value());
  result.from_copy = log_->recovered_from_copy();
  oracle_.opened(filer_, opening.epoch, registers_);
  ++life_;
  ModelRoot first{.last = static_cast<std::uint64_t>(log_->last()),
                  .log_empty = 1,
                  .mirror_generation = log_->mirror_generation(),
                  .registers = registers_};
  ++busy_;
  Status opened = co_await write_root(first);
  if (opened.ok()) {
    opened = log_->start(epoch_);
  }
  if (opened.ok()) {
    opened = co_await checkpoint(false);
  }
  --busy_;
  if (!opened.ok()) {
    co_return opened.error();
  }
  co_return result;
}

void ModelFiler::serve() {
  taking_ = true;
  scope_.spawn(checkpoints());
}

Task<Status> ModelFiler::checkpoint(bool log_empty) {
  while (checkpointing_ || !log_->can_switch()) {
    co_await sleep(scheduler_, kPoll);
    if (log_ == nullptr || failed_) {
      co_return Error{Errc::kClosed, "abandoned"};
    }
  }
  checkpointing_ = true;
  cp_wanted_ = false;
  const nvlog::Sequence covered = log_->switch_half();
  ModelRoot root{.last = static_cast<std::uint64_t>(covered),
                 .log_empty = log_empty ? 1U : 0U,
                 .mirror_generation = log_->mirror_generation(),
                 .registers = registers_};
  Status written = co_await write_root(root);
  checkpointing_ = false;
  if (log_ == nullptr) {
    co_return Error{Errc::kClosed, "abandoned"};
  }
  if (written.ok()) {
    written = log_->release(covered);
  }
  if (!written.ok()) {
    failed_ = true;
    pair_.filer_failed(filer_);
  }
  co_return written;
}

Task<void> ModelFiler::checkpoints() {
  const std::uint64_t life = life_;
  ++busy_;
  while (taking_ && life == life_) {
    const bool full = log_->filling_bytes() * 2 > log_->half_bytes();
    if (full || cp_wanted_ || random_.one_in(200)) {
      const Status done = co_await checkpoint(false);
      if (!done.ok()) {
        break;
      }
    }
    co_await sleep(scheduler_, 1ms);
  }
  --busy_;
}

void ModelFiler::request(bool write, std::uint32_t key, std::uint64_t value,
                         const Register& least) {
  requests_.push_back({write, key, value, least});
  if (!arrival_.linked()) {
    scheduler_.post(arrival_);
  }
}

void ModelFiler::take_requests() {
  for (const Request& each : std::exchange(requests_, {})) {
    scope_.spawn(execute(each.write, each.key, each.value, each.least));
  }
}

Task<void> ModelFiler::execute(bool write, std::uint32_t key, std::uint64_t value, Register least) {
  const std::uint64_t life = life_;
  const std::uint64_t epoch = epoch_;
  if (!takes_requests() || (write && !log_->fits(sizeof(Body)))) {
    co_return;
  }
  std::uint64_t depends = static_cast<std::uint64_t>(log_->last());
  Register told = registers_[key];
  if (write) {
    const Body body{key, value};
    const ConstBytes part = bytes_of(body);
    const Result<nvlog::Sequence> appended = log_->append(std::span(&part, 1));
    if (!appended.ok()) {
      co_return;
    }
    depends = static_cast<std::uint64_t>(appended.value());
    told = registers_[key] = {value, depends};
  }
  ++busy_;
  for (;;) {
    const bool gone = life != life_ || !taking_;
    const bool durable = !gone && static_cast<std::uint64_t>(log_->durable()) >= depends;
    // Last of all the lease is read.
    if (durable && pair_.may_answer(filer_)) {
      oracle_.replied(filer_, epoch, key, told, least);
      break;
    }
    if (gone) {
      break;
    }
    co_await sleep(scheduler_, kPoll);
  }
  --busy_;
}

bool ModelFiler::mirrored() const {
  return log_ != nullptr && log_->mirror_status().state == nvlog::MirrorState::kSynced &&
         !log_->mirror_status().marked;
}

Task<Status> ModelFiler::record_membership(std::uint64_t generation) {
  if (log_ == nullptr || !taking_ || failed_) {
    co_return Error{Errc::kTryAgain, "the filer is not served"};
  }
  const std::uint64_t life = life_;
  membership_ = generation;
  ++busy_;
  const Status done = co_await checkpoint(false);
  --busy_;
  co_return life == life_ ? done : Status(Error{Errc::kClosed, "abandoned"});
}

void ModelFiler::stop_answering() { taking_ = false; }

Task<Status> ModelFiler::settle(Instant deadline) {
  const std::uint64_t life = life_;
  for (;;) {
    if (life != life_ || log_ == nullptr) {
      co_return Error{Errc::kClosed, "abandoned"};
    }
    if (busy_ == 0 && log_->durable() == log_->last()) {
      break;
    }
    if (scheduler_.now() >= deadline) {
      co_return Error{Errc::kTryAgain, "the filer did not come to rest in time"};
    }
    if (std::exchange(cp_wanted_, false)) {
      const Status done = co_await checkpoint(false);
      if (!done.ok()) {
        co_return done;
      }
    }
    co_await sleep(scheduler_, kPoll);
  }
  co_return co_await checkpoint(true);
}

Task<Status> ModelFiler::resume() {
  const Status done = co_await checkpoint(false);
  if (done.ok()) {
    serve();
  }
  co_return done;
}

Task<void> ModelFiler::abandon() {
  ++life_;
  taking_ = false;
  failed_ = false;
  log_.reset();
  copy_.reset();
  while (busy_ > 0) {
    co_await sleep(scheduler_, kPoll);
  }
}

}  // namespace duet::pair
