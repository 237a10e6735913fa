#include "nvlog/mirrored_log.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "local_log.h"
#include "region.h"

namespace duet::nvlog {

namespace {

constexpr auto kChannel = interconnect::Channel::kLog;

}  // namespace

MirroredLog::MirroredLog(Scheduler& scheduler, std::unique_ptr<LocalLog> local,
                         std::uint64_t generation, MirrorPort& port, MirrorDuties& duties,
                         const MirrorOptions& options)
    : scheduler_(scheduler),
      local_(std::move(local)),
      port_(port),
      duties_(duties),
      options_(options),
      filer_(local_->identity().filer),
      durable_changed_(scheduler),
      durable_(static_cast<std::uint64_t>(local_->last())),
      generation_(generation),
      patience_(*this),
      retry_(*this),
      scope_(scheduler) {
  port_.enter(filer_, *this);
}

MirroredLog::~MirroredLog() { port_.leave(filer_); }

// ---- the log

Sequence MirroredLog::last() const { return local_->last(); }
bool MirroredLog::fits(std::size_t body_bytes) const { return local_->fits(body_bytes); }
std::uint64_t MirroredLog::half_bytes() const { return local_->half_bytes(); }
std::uint64_t MirroredLog::filling_bytes() const { return local_->filling_bytes(); }
std::uint64_t MirroredLog::filling_records() const { return local_->filling_records(); }

Status MirroredLog::start(std::uint64_t epoch) {
  DUET_CHECK(!started_);
  if (Status started = local_->start(epoch); !started.ok()) {
    return started;
  }
  started_ = true;
  durable_ = static_cast<std::uint64_t>(local_->last());  // a root covers it
  enter(MirrorState::kNone);
  start_patience();
  begin();
  return Ok{};
}

Result<Sequence> MirroredLog::append_parts(std::span<const ConstBytes> parts,
                                           const KnownTail& tail) {
  if (!failed_.ok()) {
    return failed_.error();
  }
  if (Status stored = local_->store_next(parts, tail); !stored.ok()) {
    failed_ = stored;
    return stored.error();
  }
  // Both memories are at work before either is waited for.
  if (mirrors()) {
    note_record();
    send_records(parts);
  }
  const Result<Sequence> appended = local_->commit();
  if (!appended.ok()) {
    failed_ = appended.error();
    return appended;
  }
  advance();
  return appended;
}

bool MirroredLog::can_switch() const {
  return local_->can_switch() && in_half_[1 - local_->filling_half()] == 0;
}

Sequence MirroredLog::switch_half() {
  DUET_CHECK(can_switch());
  frozen_generation_ = generation_;
  return local_->switch_half();
}

Status MirroredLog::release(Sequence covered) {
  Status released = local_->release(covered);
  root_covered_ = static_cast<std::uint64_t>(covered);
  root_generation_ = frozen_generation_;
  seal_when_possible();
  return released;
}

void MirroredLog::advance() {
  std::uint64_t reached = durable_;
  if (state_ == MirrorState::kSynced) {
    reached = std::min(mirrored_, static_cast<std::uint64_t>(local_->last()));
  } else if (state_ != MirrorState::kSealing && solo_) {
    reached = static_cast<std::uint64_t>(local_->last());
  }
  if (reached <= durable_ || !failed_.ok()) {
    return;
  }
  durable_ = reached;
  if (!durable_changed_.empty()) {
    durable_changed_.wake_all();
  }
}

// ---- records on their way

bool MirroredLog::mirrors() const {
  return state_ == MirrorState::kFilling || state_ == MirrorState::kSealing ||
         state_ == MirrorState::kSynced || state_ == MirrorState::kInterrupted;
}

std::uint64_t MirroredLog::window_offset(std::uint64_t region_offset) const {
  return region_offset - area_offset(local_->half_bytes(), filer_);
}

void MirroredLog::note_record() {
  const LocalLog::Placed& placed = local_->newest();
  const auto bytes = static_cast<std::uint32_t>(sizeof(RecordHeader)) + placed.header.body_bytes;
  under_way_.push_back(
      {placed.header.sequence, placed.offset, bytes, placed.half, placed.header.checksum, 0});
  ++unsent_;
  ++in_half_[placed.half];
}

void MirroredLog::send_records(std::span<const ConstBytes> parts) {
  while (unsent_ > 0 && window_ != nullptr && window_->status().ok()) {
    UnderWay& record = under_way_[under_way_.size() - unsent_];
    if (!window_->has_room(record.bytes)) {
      break;
    }
    gather(record, unsent_ == 1 ? parts : std::span<const ConstBytes>{});
    record.write = window_->write(window_offset(record.offset), parts_);
    --unsent_;
  }
  if (window_ != nullptr && port_.link().one_sided()) {
    on_window();
  }
}

// The bytes of a record, from `parts` where they are still in the cache, unlike the memory.
void MirroredLog::gather(const UnderWay& record, std::span<const ConstBytes> parts) {
  parts_.clear();
  if (parts.empty()) {
    parts_.push_back(local_->memory().bytes().subspan(record.offset, record.bytes));
    return;
  }
  const ConstBytes header = bytes_of(local_->newest().header);
  if (record.bytes > stage_.size()) {
    parts_.push_back(header);
    parts_.insert(parts_.end(), parts.begin(), parts.end());
    return;
  }
  // One piece of whole lines: each piece that ends within a line costs a one-sided writer a flush.
  std::byte* end = stage_.data();
  std::memcpy(end, header.data(), header.size());
  end += header.size();
  for (const ConstBytes part : parts) {
    if (!part.empty()) {
      std::memcpy(end, part.data(), part.size());
      end += part.size();
    }
  }
  parts_.push_back(ConstBytes(stage_).first(record_bytes(record.bytes - sizeof(RecordHeader))));
}

void MirroredLog::take_acknowledgements() {
  while (under_way_.size() > unsent_ && under_way_.front().write <= window_->durable()) {
    const UnderWay& record = under_way_.front();
    mirrored_ = record.sequence;
    tail_ = {record.sequence, record.offset, record.checksum};
    --in_half_[record.half];
    under_way_.pop_front();
  }
}

void MirroredLog::on_window() {
  if (window_ == nullptr) {
    return;
  }
  take_acknowledgements();
  if (state_ == MirrorState::kSealing && window_->durable() >= seal_write_) {
    sealed_there();
  }
  if (window_ != nullptr && !window_->status().ok()) {
    window_failed(window_->status().error());
  } else if (unsent_ > 0 && !port_.link().one_sided()) {
    send_records({});
    seal_when_possible();
  }
  advance();
}

void MirroredLog::window_failed(const Error& error) {
  if (error.code == Errc::kClosed) {
    return;  // on_link() says what becomes of it
  }
  refusal_ = error.code == Errc::kFenced ? MirrorAnswer::kNotAdmitted : MirrorAnswer::kFailed;
  if (state_ == MirrorState::kSynced) {
    go_solo();
  } else {
    stop_mirroring();
  }
  begin_later();
}

// ---- beginning

void MirroredLog::enter(MirrorState state) {
  state_ = state;
  state_since_ = scheduler_.now();
}

void MirroredLog::begin() {
  if (state_ == MirrorState::kPreparing) {
    stop_mirroring();  // no answer came
  }
  const interconnect::LinkStatus link = port_.link().status();
  const bool marking = mark_wanted_ && !mark_durable_;
  if (!started_ || !failed_.ok() || marking || state_ != MirrorState::kNone ||
      !interconnect::connected(link.state)) {
    return;
  }
  session_ = link.session;
  host_ = link.peer;
  enter(MirrorState::kPreparing);
  ask(MirrorVerb::kPrepare);
  begin_later();
}

void MirroredLog::begin_later() {
  retry_.unlink();
  scheduler_.post_at(retry_, scheduler_.now() + options_.retry);
}

void MirroredLog::ask(MirrorVerb verb) {
  MirrorMessage message;
  message.verb = static_cast<std::uint32_t>(verb);
  message.attempt = attempt_ = port_.next_attempt();
  message.filer = filer_;
  message.pair = local_->identity().pair;
  message.log_id = local_->identity().log_id;
  message.epoch = local_->epoch();
  message.half_bytes = local_->half_bytes();
  if (verb == MirrorVerb::kProve) {
    message.mirror_generation = generation_;
    message.generation = local_->generation();
    message.tail_sequence = tail_.sequence;
    message.tail_offset = tail_.offset;
    message.tail_checksum = tail_.checksum;
  }
  // Not sent: the link is lost, or full; retry and patience see to it.
  static_cast<void>(port_.link().send(kChannel, bytes_of(message)));
}

void MirroredLog::on_answer(const MirrorMessage& answer) {
  if (answer.attempt != attempt_) {
    return;
  }
  attempt_ = 0;
  const bool yes = answer.answer == static_cast<std::uint32_t>(MirrorAnswer::kYes);
  refusal_ = MirrorAnswer{answer.answer};
  const MirrorVerb verb{answer.verb};
  if (state_ == MirrorState::kPreparing && verb == MirrorVerb::kPrepared) {
    if (yes) {
      prepared();
    } else {
      stop_mirroring();
      begin_later();
    }
  } else if (state_ == MirrorState::kInterrupted && verb == MirrorVerb::kProved) {
    yes ? proven() : go_solo();
  }
}

void MirroredLog::prepared() {
  retry_.unlink();
  base_ = mirrored_ = static_cast<std::uint64_t>(local_->last());
  tail_ = {};
  window_ = port_.link().open_window(interconnect::WindowId{static_cast<std::uint8_t>(filer_)},
                                     local_->epoch(), *this);
  enter(MirrorState::kFilling);
  if (root_generation_ != generation_ || root_covered_ < base_) {
    duties_.want_consistency_point();
  }
  seal_when_possible();
}

void MirroredLog::seal_when_possible() {
  if (state_ != MirrorState::kFilling || root_generation_ != generation_ || root_covered_ < base_ ||
      unsent_ > 0 || !window_->status().ok() || !window_->has_room(2 * sizeof(AreaHeader))) {
    return;
  }
  AreaHeader header;
  header.filer = filer_;
  header.pair = local_->identity().pair;
  header.log_id = local_->identity().log_id;
  header.epoch = local_->epoch();
  header.mirror_generation = generation_;
  header.generation = local_->generation();
  header.first_sequence = base_ + 1;
  header = sealed(header);
  generation_used_ = true;
  enter(MirrorState::kSealing);
  const ConstBytes part = bytes_of(header);
  window_->write(0, std::span(&part, 1));
  seal_write_ = window_->write(kHeaderCopyBytes, std::span(&part, 1));
  if (port_.link().one_sided()) {
    on_window();
  }
}

void MirroredLog::sealed_there() {
  // Everything that was counted durable was given to the link before the header.
  DUET_CHECK(mirrored_ >= durable_ || durable_ <= base_);
  if (const Status noted = local_->note_mirror(generation_); !noted.ok()) {
    failed_ = noted;
    duties_.log_failed();
    return;
  }
  enter(MirrorState::kSynced);
  patience_.unlink();
  solo_ = false;
  refusal_ = MirrorAnswer::kYes;
  want_mark(false);
}

// ---- losing the link, and finding it again

void MirroredLog::on_link(const interconnect::LinkStatus& status) {
  const bool up = interconnect::connected(status.state);
  if (!started_ || (up && state_ != MirrorState::kNone && status.session == session_)) {
    return;
  }
  if (state_ == MirrorState::kSynced || state_ == MirrorState::kInterrupted) {
    window_.reset();
    attempt_ = 0;
    unsent_ = under_way_.size();
    if (state_ == MirrorState::kSynced) {
      enter(MirrorState::kInterrupted);
      start_patience();
    }
  } else {
    stop_mirroring();
  }
  if (!up) {
    return;
  }
  session_ = status.session;
  if (state_ != MirrorState::kInterrupted) {
    begin();
  } else if (status.peer == host_) {
    ask(MirrorVerb::kProve);
  } else {
    go_solo();
  }
}

void MirroredLog::proven() {
  ++resumed_;
  patience_.unlink();
  window_ = port_.link().open_window(interconnect::WindowId{static_cast<std::uint8_t>(filer_)},
                                     local_->epoch(), *this);
  enter(MirrorState::kSynced);
  send_records({});
}

void MirroredLog::stop_mirroring() {
  window_.reset();
  under_way_.clear();
  unsent_ = 0;
  in_half_ = {};
  attempt_ = 0;
  generation_ += std::exchange(generation_used_, false) ? 1 : 0;
  if (state_ != MirrorState::kNone) {
    enter(MirrorState::kNone);
  }
  if (started_ && !solo_ && !mark_wanted_) {
    start_patience();
  }
  advance();
}

void MirroredLog::start_patience() {
  if (!patience_.linked()) {
    scheduler_.post_at(patience_, scheduler_.now() + options_.patience);
  }
}

void MirroredLog::out_of_patience() {
  if (state_ == MirrorState::kSynced || mark_wanted_) {
    return;
  }
  const bool beginning = state_ == MirrorState::kPreparing || state_ == MirrorState::kFilling ||
                         state_ == MirrorState::kSealing;
  const bool somebody_waits = static_cast<std::uint64_t>(local_->last()) > durable_;
  if (beginning && !somebody_waits) {
    start_patience();
    return;
  }
  go_solo();
}

void MirroredLog::go_solo() {
  ++went_solo_;
  first_unmirrored_ = durable_ + 1;
  mark_wanted_ = true;
  stop_mirroring();
  want_mark(true);
}

void MirroredLog::want_mark(bool wanted) {
  mark_wanted_ = wanted;
  if (!mark_kept_) {
    scope_.spawn(keep_mark());
  }
}

Task<void> MirroredLog::keep_mark() {
  mark_kept_ = true;
  const std::uint64_t epoch = local_->epoch();
  while (failed_.ok()) {
    if (mark_wanted_ && !mark_durable_) {
      mark_cleared_ = false;
      const Status set = co_await duties_.set_solo_mark(epoch, Sequence(first_unmirrored_));
      if (!set.ok()) {
        failed_ = set;
        duties_.log_failed();
        break;
      }
      mark_durable_ = true;
      solo_ = true;
      solo_since_ = scheduler_.now();
      advance();
      begin();
    } else if (!mark_wanted_ && !mark_cleared_) {
      mark_durable_ = false;
      const Status cleared = co_await duties_.clear_solo_mark(epoch);
      mark_cleared_ = cleared.ok();
      if (!mark_cleared_ && !mark_wanted_) {
        co_await sleep(scheduler_, options_.retry);
      }
    } else {
      break;
    }
  }
  mark_kept_ = false;
}

MirrorStatus MirroredLog::mirror_status() const {
  MirrorStatus status;
  status.state = state_;
  status.solo = solo_;
  status.marking = mark_wanted_ && !mark_durable_;
  status.marked = mark_wanted_ || !mark_cleared_;
  status.since = solo_ ? solo_since_ : state_since_;
  status.generation = generation_;
  status.mirrored = Sequence{mirrored_};
  status.under_way = under_way_.size();
  status.refusal = refusal_;
  status.resumed = resumed_;
  status.went_solo = went_solo_;
  return status;
}

// ---- recovery

namespace {

constexpr Error kNotOurs{Errc::kForeign, "log: blank, or of another pair or filer; no copy serves"};
constexpr Error kOtherEpoch{Errc::kForeign, "log: of another epoch than the root; no copy serves"};

// The area in `copy`, if the root believes it.
std::optional<FoundArea> believed(const PersistentMemory* copy, const LogIdentity& identity,
                                  const Covered& covered) {
  if (copy == nullptr || covered.mirror_generation == 0) {
    return std::nullopt;
  }
  Result<FoundArea> found = find_area(*copy, identity);
  if (!found.ok() || !found.value().area.has_value() ||
      found.value().area->epoch != covered.epoch ||
      found.value().area->mirror_generation != covered.mirror_generation) {
    return std::nullopt;
  }
  return found.value();
}

}  // namespace

Result<std::unique_ptr<MirroredLog>> MirroredLog::recover(
    Scheduler& scheduler, PersistentMemory& memory, const LogIdentity& identity,
    const Covered& covered, const PersistentMemory* copy, MirrorPort& port, MirrorDuties& duties,
    const MirrorOptions& options, const std::function<Status(const ReplayRecord&)>& replay) {
  const Result<FoundArea> own = find_area(memory, identity);
  if (!own.ok()) {
    return own.error();
  }
  const bool own_is_last = own.value().area.has_value() && own.value().area->epoch == covered.epoch;
  const std::optional<FoundArea> there = believed(copy, identity, covered);
  bool gave = false;
  const auto give = [&](const ReplayRecord& record) {
    gave = true;
    return replay(record);
  };
  Result<std::uint64_t> last = static_cast<std::uint64_t>(covered.last);
  bool from_copy = false;
  if (own_is_last) {
    last = replay_area(memory, own.value(), covered, give);
  } else if (!covered.log_empty && !there.has_value()) {
    return own.value().area.has_value() ? kOtherEpoch : kNotOurs;
  }
  const bool damaged = !last.ok() && last.error().code == Errc::kCorrupt && !gave;
  if (there.has_value() && (damaged || (!own_is_last && !covered.log_empty))) {
    last = replay_area(*copy, *there, covered, give);
    from_copy = true;
  }
  if (!last.ok()) {
    return last.error();
  }
  auto local =
      std::make_unique<LocalLog>(scheduler, memory, identity, own.value().half_bytes, last.value());
  std::unique_ptr<MirroredLog> log(new MirroredLog(
      scheduler, std::move(local), covered.mirror_generation + 1, port, duties, options));
  log->from_copy_ = from_copy;
  return log;
}

}  // namespace duet::nvlog
