#include <algorithm>

#include "shelf/wire_format.h"

namespace duet::shelf {

namespace {

template <typename Header>
std::uint32_t checksum_of(const Header& header) {
  return crc32c(bytes_of(header).first(offsetof(Header, checksum)));
}

bool is_transfer(WireKind kind) {
  return kind == WireKind::kRead || kind == WireKind::kWrite || kind == WireKind::kWriteDurable;
}

// How large the payload of a request must be; none: the kind is not known.
std::optional<std::uint64_t> payload_of(const RequestHeader& header) {
  switch (static_cast<WireKind>(header.kind)) {
    case WireKind::kHello:
      return sizeof(HelloBody);
    case WireKind::kWrite:
    case WireKind::kWriteDurable:
      return std::uint64_t{header.block_count} * kBlockBytes;
    case WireKind::kCompareAndSwap:
      return 2 * kBlockBytes;
    case WireKind::kPing:
    case WireKind::kRead:
    case WireKind::kFlush:
    case WireKind::kRegister:
    case WireKind::kUnregister:
    case WireKind::kReserve:
    case WireKind::kRelease:
    case WireKind::kPreemptAndAbort:
    case WireKind::kClear:
    case WireKind::kReadState:
    case WireKind::kRaiseEpoch:
      return 0;
  }
  return std::nullopt;
}

// What the client's caller is told.  All other errors are kIo on the wire.
struct ErrorRow {
  WireStatus wire;
  Error error;
};
constexpr Error kDiskFailed{Errc::kIo, "the shelf's disk failed"};
constexpr std::array<ErrorRow, 8> kErrors{{
    {WireStatus::kFenced, {Errc::kFenced, "the shelf refuses this node"}},
    {WireStatus::kRefused, {Errc::kRefused, "another reservation is held"}},
    {WireStatus::kOutOfSync, {Errc::kOutOfSync, "the block holds something else"}},
    {WireStatus::kInvalid, {Errc::kInvalid, "the shelf finds no sense in the request"}},
    {WireStatus::kNoSpace, {Errc::kNoSpace, "no more keys fit"}},
    {WireStatus::kNotFound, {Errc::kNotFound, "the shelf has no disk of that name"}},
    {WireStatus::kNotSupported, {Errc::kNotSupported, "the shelf is of another version"}},
    {WireStatus::kClosed, {Errc::kClosed, "the session is over"}},
}};

}  // namespace

void seal(RequestHeader& header) { header.checksum = checksum_of(header); }
void seal(ReplyHeader& header) { header.checksum = checksum_of(header); }

Result<ParsedRequest> parse_request(ConstBytes bytes) {
  ParsedRequest parsed{.header = load<RequestHeader>(bytes, 0)};
  const RequestHeader& header = parsed.header;
  if (header.magic != kRequestMagic || header.checksum != checksum_of(header)) {
    return Error{Errc::kCorrupt, "not the header of a request"};
  }
  if (header.payload_bytes > kPayloadBytesMax) {
    return Error{Errc::kCorrupt, "a request is too long"};
  }
  const std::optional<std::uint64_t> payload = payload_of(header);
  if (!payload) {
    parsed.known = false;
    return parsed;
  }
  const bool sized = !is_transfer(static_cast<WireKind>(header.kind)) ||
                     (header.block_count >= 1 && header.block_count <= kTransferBlocksMax);
  if (!sized || header.payload_bytes != *payload) {
    return Error{Errc::kCorrupt, "a request's length is not that of its kind"};
  }
  return parsed;
}

Result<ReplyHeader> parse_reply(ConstBytes bytes) {
  const auto header = load<ReplyHeader>(bytes, 0);
  if (header.magic != kReplyMagic || header.checksum != checksum_of(header)) {
    return Error{Errc::kCorrupt, "not the header of a reply"};
  }
  if (header.payload_bytes > kPayloadBytesMax) {
    return Error{Errc::kCorrupt, "a reply is too long"};
  }
  return header;
}

Result<DiskState> parse_state(ConstBytes bytes) {
  if (bytes.size() != sizeof(StateBody)) {
    return Error{Errc::kCorrupt, "a disk's state has another length"};
  }
  const auto body = load<StateBody>(bytes, 0);
  if (body.key_count > kKeysMax || body.reservation > 2) {
    return Error{Errc::kCorrupt, "a disk's state makes no sense"};
  }
  DiskState state{.keys = {},
                  .reservation = static_cast<Reservation>(body.reservation),
                  .holder = DiskKey{body.holder},
                  .generation = body.generation,
                  .epoch = body.epoch};
  for (std::size_t i = 0; i < body.key_count; ++i) {
    state.keys.push_back(DiskKey{body.keys[i]});
  }
  const auto not_ascending = [](DiskKey a, DiskKey b) { return a >= b; };
  if (std::ranges::adjacent_find(state.keys, not_ascending) != state.keys.end()) {
    return Error{Errc::kCorrupt, "a disk's keys are not in order"};
  }
  return state;
}

StateBody encode_state(const DiskState& state) {
  DUET_CHECK(state.keys.size() <= kKeysMax);
  StateBody body{.key_count = static_cast<std::uint32_t>(state.keys.size()),
                 .reservation = static_cast<std::uint32_t>(state.reservation),
                 .holder = static_cast<std::uint64_t>(state.holder),
                 .generation = state.generation,
                 .epoch = state.epoch};
  std::ranges::transform(state.keys, body.keys.begin(),
                         [](DiskKey key) { return static_cast<std::uint64_t>(key); });
  return body;
}

std::uint64_t encode_features(const DiskFeatures& f) {
  const std::array<bool, 5> bits{f.survives_power_loss, f.drains_on_abort, f.exclusive_access,
                                 f.compare_and_swap, f.epochs};
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    word |= std::uint64_t{bits[i] ? 1U : 0U} << i;
  }
  return word;
}

DiskFeatures decode_features(std::uint64_t bits) {
  return {.survives_power_loss = (bits & 1U) != 0,
          .drains_on_abort = (bits & 2U) != 0,
          .exclusive_access = (bits & 4U) != 0,
          .compare_and_swap = (bits & 8U) != 0,
          .epochs = (bits & 16U) != 0};
}

WireStatus wire_status(const Status& status) {
  if (status.ok()) {
    return WireStatus::kOk;
  }
  const Errc code = status.error().code;
  const auto row = std::ranges::find(kErrors, code, [](const auto& r) { return r.error.code; });
  return row == kErrors.end() ? WireStatus::kIo : row->wire;
}

Status status_of(std::uint16_t wire) {
  if (wire == static_cast<std::uint16_t>(WireStatus::kOk)) {
    return Ok{};
  }
  const auto row = std::ranges::find(kErrors, static_cast<WireStatus>(wire), &ErrorRow::wire);
  return row == kErrors.end() ? kDiskFailed : row->error;
}

std::optional<DiskRequest::Kind> command_of(WireKind kind) {
  switch (kind) {
    case WireKind::kRegister:
      return DiskRequest::Kind::kRegister;
    case WireKind::kUnregister:
      return DiskRequest::Kind::kUnregister;
    case WireKind::kReserve:
      return DiskRequest::Kind::kReserve;
    case WireKind::kRelease:
      return DiskRequest::Kind::kRelease;
    case WireKind::kPreemptAndAbort:
      return DiskRequest::Kind::kPreemptAndAbort;
    case WireKind::kClear:
      return DiskRequest::Kind::kClear;
    case WireKind::kReadState:
      return DiskRequest::Kind::kReadState;
    case WireKind::kRaiseEpoch:
      return DiskRequest::Kind::kRaiseEpoch;
    case WireKind::kCompareAndSwap:
      return DiskRequest::Kind::kCompareAndSwap;
    case WireKind::kHello:
    case WireKind::kPing:
    case WireKind::kRead:
    case WireKind::kWrite:
    case WireKind::kFlush:
    case WireKind::kWriteDurable:
      break;
  }
  return std::nullopt;
}

WireKind wire_kind(DiskRequest::Kind command) {
  switch (command) {
    case DiskRequest::Kind::kRegister:
      return WireKind::kRegister;
    case DiskRequest::Kind::kUnregister:
      return WireKind::kUnregister;
    case DiskRequest::Kind::kReserve:
      return WireKind::kReserve;
    case DiskRequest::Kind::kRelease:
      return WireKind::kRelease;
    case DiskRequest::Kind::kPreemptAndAbort:
      return WireKind::kPreemptAndAbort;
    case DiskRequest::Kind::kClear:
      return WireKind::kClear;
    case DiskRequest::Kind::kReadState:
      return WireKind::kReadState;
    case DiskRequest::Kind::kRaiseEpoch:
      return WireKind::kRaiseEpoch;
    case DiskRequest::Kind::kCompareAndSwap:
      return WireKind::kCompareAndSwap;
    case DiskRequest::Kind::kWriteDurable:
      break;
  }
  return WireKind::kWriteDurable;
}

}  // namespace duet::shelf
