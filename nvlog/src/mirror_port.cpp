#include "nvlog/mirror_port.h"

#include <algorithm>

#include "area_copy.h"
#include "base/check.h"
#include "nvlog/mirrored_log.h"
#include "record_scan.h"
#include "region.h"

namespace duet::nvlog {

namespace {

constexpr auto kChannel = interconnect::Channel::kLog;

interconnect::WindowId window_of(std::uint32_t filer) {
  return interconnect::WindowId{static_cast<std::uint8_t>(filer)};
}

}  // namespace

MirrorPort::MirrorPort(interconnect::PartnerLink& link, PersistentMemory& mirror,
                       const std::array<std::uint64_t, 2>& pair)
    : link_(link), mirror_(mirror), pair_(pair) {
  link_.attach(kChannel, this);
}

MirrorPort::~MirrorPort() {
  link_.attach(kChannel, nullptr);
  for (std::uint32_t filer = 0; filer < kAreas; ++filer) {
    DUET_CHECK(logs_[filer] == nullptr);
    close(filer);
  }
}

void MirrorPort::admit(std::uint32_t filer, std::uint64_t epoch) {
  DUET_CHECK(filer < kAreas);
  hosted_[filer].admitted = true;
  hosted_[filer].epoch_min = std::max(hosted_[filer].epoch_min, epoch);
}

void MirrorPort::close(std::uint32_t filer) {
  DUET_CHECK(filer < kAreas);
  hosted_[filer].admitted = false;
  hosted_[filer].granted = false;
  link_.revoke(window_of(filer));
}

std::unique_ptr<PersistentMemory> MirrorPort::take(std::uint32_t filer) {
  close(filer);
  const auto region = read_region(mirror_);
  if (!region.has_value() || link_.revocable()) {
    return std::make_unique<RegionView>(mirror_);
  }
  AreaCopy copy(mirror_, region->half_bytes, filer);
  while (copy.copy_some(2 * region->half_bytes)) {
  }
  return copy.take();
}

MirrorPort::Copy MirrorPort::copy(std::uint32_t filer) const {
  DUET_CHECK(filer < kAreas);
  Copy result;
  result.admitted = hosted_[filer].admitted;
  result.granted = hosted_[filer].granted;
  if (const auto region = read_region(mirror_); region.has_value()) {
    const auto area = read_area(mirror_, region->half_bytes, filer);
    if (area.has_value() && area->filer == filer && area->pair == pair_) {
      result.epoch = area->epoch;
      result.mirror_generation = area->mirror_generation;
    }
  }
  return result;
}

// ---- the host's side

MirrorAnswer MirrorPort::check(const MirrorMessage& asked) const {
  if (asked.pair != pair_ || asked.filer >= kAreas) {
    return MirrorAnswer::kOtherPair;
  }
  if (logs_[asked.filer] != nullptr || !hosted_[asked.filer].admitted) {
    return MirrorAnswer::kNotAdmitted;
  }
  return asked.epoch < hosted_[asked.filer].epoch_min ? MirrorAnswer::kStaleEpoch
                                                      : MirrorAnswer::kYes;
}

MirrorAnswer MirrorPort::prepare(const MirrorMessage& asked) {
  if (const MirrorAnswer checked = check(asked); checked != MirrorAnswer::kYes) {
    return checked;
  }
  const Result<std::uint64_t> half_bytes = ensure_region(mirror_);
  if (!half_bytes.ok()) {
    return MirrorAnswer::kFailed;
  }
  if (half_bytes.value() != asked.half_bytes) {
    return MirrorAnswer::kOtherSize;
  }
  link_.revoke(window_of(asked.filer));
  hosted_[asked.filer].granted = false;
  if (!wipe_area(mirror_, asked.half_bytes, asked.filer).ok()) {
    return MirrorAnswer::kFailed;
  }
  hosted_[asked.filer].granted = true;
  hosted_[asked.filer].epoch_min = asked.epoch;
  link_.grant(window_of(asked.filer), area_offset(asked.half_bytes, asked.filer),
              kHeaderBytes + 2 * asked.half_bytes, asked.epoch);
  return MirrorAnswer::kYes;
}

MirrorAnswer MirrorPort::prove(const MirrorMessage& asked) const {
  if (const MirrorAnswer checked = check(asked); checked != MirrorAnswer::kYes) {
    return checked;
  }
  const auto region = read_region(mirror_);
  if (!hosted_[asked.filer].granted || hosted_[asked.filer].epoch_min != asked.epoch ||
      !region.has_value() || region->half_bytes != asked.half_bytes) {
    return MirrorAnswer::kDiffers;
  }
  const auto area = read_area(mirror_, region->half_bytes, asked.filer);
  const bool same = area.has_value() && area->pair == asked.pair && area->filer == asked.filer &&
                    area->log_id == asked.log_id && area->epoch == asked.epoch &&
                    area->mirror_generation == asked.mirror_generation &&
                    area->generation == asked.generation;
  const bool holds_tail =
      same && (asked.tail_sequence == 0 ||
               holds_record(mirror_, region->half_bytes, *area, asked.tail_offset,
                            asked.tail_sequence, asked.tail_checksum));
  return holds_tail ? MirrorAnswer::kYes : MirrorAnswer::kDiffers;
}

// ---- messages

void MirrorPort::on_message(ConstBytes bytes) {
  if (bytes.size() != sizeof(MirrorMessage)) {
    return;
  }
  auto message = load<MirrorMessage>(bytes, 0);
  if (message.magic != kMirrorMagic) {
    return;
  }
  switch (MirrorVerb{message.verb}) {
    case MirrorVerb::kPrepare:
      message.answer = static_cast<std::uint32_t>(prepare(message));
      message.verb = static_cast<std::uint32_t>(MirrorVerb::kPrepared);
      break;
    case MirrorVerb::kProve:
      message.answer = static_cast<std::uint32_t>(prove(message));
      message.verb = static_cast<std::uint32_t>(MirrorVerb::kProved);
      break;
    case MirrorVerb::kPrepared:
    case MirrorVerb::kProved:
      if (message.filer < kAreas && logs_[message.filer] != nullptr) {
        logs_[message.filer]->on_answer(message);
      }
      return;
    default:
      return;
  }
  // An answer that cannot be sent is asked for again.
  static_cast<void>(link_.send(kChannel, bytes_of(message)));
}

void MirrorPort::on_link(const interconnect::LinkStatus& status) {
  for (MirroredLog* const log : logs_) {
    if (log != nullptr) {
      log->on_link(status);
    }
  }
}

void MirrorPort::enter(std::uint32_t filer, MirroredLog& log) {
  DUET_CHECK(filer < kAreas && logs_[filer] == nullptr);
  logs_[filer] = &log;
}

void MirrorPort::leave(std::uint32_t filer) { logs_[filer] = nullptr; }

}  // namespace duet::nvlog
