#include "translating_runner.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "platform/block_device.h"

namespace duet::shelf {

namespace {

constexpr std::uint8_t kForceUnitAccess = 0x08;

void append(std::vector<std::uint8_t>& to, std::uint64_t value, unsigned bytes) {
  for (unsigned i = bytes; i > 0; --i) {
    to.push_back(static_cast<std::uint8_t>(value >> 8U * (i - 1)));
  }
}

std::uint64_t number(std::span<const std::uint8_t> from, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8U | from[at + i];
  }
  return value;
}

void give(ScsiCommand& command, const std::vector<std::uint8_t>& bytes) {
  std::size_t at = 0;
  for (const MutableBytes part : command.parts) {
    const std::size_t count = std::min(part.size(), bytes.size() - at);
    std::ranges::copy(std::as_bytes(std::span(bytes)).subspan(at, count), part.begin());
    at += count;
  }
  command.received = at;
}

}  // namespace

TranslatingRunner::TranslatingRunner(std::shared_ptr<DeviceCalls> device, std::uint64_t blocks)
    : device_(std::move(device)), blocks_(blocks) {}

void TranslatingRunner::run(ScsiCommand& command) {
  command.sense_key = 0;
  command.sense_code = 0;
  command.received = 0;
  switch (execute(command)) {
    case Outcome::kDone:
      command.status = ScsiStatus::kGood;
      return;
    case Outcome::kConflict:
      command.status = ScsiStatus::kReservationConflict;
      return;
    case Outcome::kAgain:
      command.status = ScsiStatus::kBusy;
      return;
    case Outcome::kUnknown:
      command.sense_key = 5;  // ILLEGAL REQUEST
      break;
    case Outcome::kFailed:
      command.sense_key = 4;  // HARDWARE ERROR
      break;
  }
  command.status = ScsiStatus::kCheckCondition;
}

TranslatingRunner::Outcome TranslatingRunner::execute(ScsiCommand& command) {
  switch (command.cdb[0]) {
    case 0x00:  // TEST UNIT READY
      return Outcome::kDone;
    case 0x9E: {  // READ CAPACITY (16)
      std::vector<std::uint8_t> bytes;
      append(bytes, blocks_ - 1, 8);
      append(bytes, kBlockBytes, 4);
      bytes.resize(32);
      give(command, bytes);
      return Outcome::kDone;
    }
    case 0xA3: {  // REPORT SUPPORTED OPERATION CODES: of PREEMPT AND ABORT
      Abilities abilities;
      const Outcome asked = ask(abilities);
      if (asked != Outcome::kDone) {
        return asked;
      }
      const bool aborts = command.cdb[3] == 0x5F && abilities.aborts;
      give(command, {0, static_cast<std::uint8_t>(aborts ? 3 : 1), 0, 10});
      return Outcome::kDone;
    }
    case 0x5E:
      return reserve_in(command);
    case 0x5F:
      return reserve_out(command);
    case 0x88:
    case 0x8A:
      return move(command, command.cdb[0] == 0x8A);
    case 0x91:  // SYNCHRONIZE CACHE (16)
      return device_->flush() == 0 ? Outcome::kDone : Outcome::kFailed;
    default:
      return Outcome::kUnknown;
  }
}

TranslatingRunner::Outcome TranslatingRunner::reserve_in(ScsiCommand& command) {
  std::vector<std::uint8_t> bytes;
  if ((command.cdb[1] & 0x1FU) == 2) {  // REPORT CAPABILITIES
    Abilities abilities;
    const Outcome asked = ask(abilities);
    if (asked != Outcome::kDone) {
      return asked;
    }
    const auto persists = static_cast<std::uint8_t>(abilities.persists ? 1 : 0);
    const auto types = static_cast<std::uint8_t>(abilities.exclusive_access ? 0x60 : 0x20);
    give(command, {0, 8, persists, 0x80, types, 0, 0, 0});
    return Outcome::kDone;
  }
  Held held;
  const Outcome found = read(held);
  if (found != Outcome::kDone) {
    return found;
  }
  append(bytes, held.generation, 4);
  if ((command.cdb[1] & 0x1FU) == 0) {  // READ KEYS
    append(bytes, 8 * held.keys.size(), 4);
    for (const std::uint64_t key : held.keys) {
      append(bytes, key, 8);
    }
  } else {  // READ RESERVATION
    append(bytes, held.type == 0 ? 0 : 16, 4);
    if (held.type != 0) {
      append(bytes, held.holder, 8);
      append(bytes, held.type, 6);
      append(bytes, 0, 2);
    }
  }
  give(command, bytes);
  return Outcome::kDone;
}

TranslatingRunner::Outcome TranslatingRunner::reserve_out(const ScsiCommand& command) {
  std::vector<std::uint8_t> list;
  for (const MutableBytes part : command.parts) {
    for (const std::byte byte : part) {
      list.push_back(static_cast<std::uint8_t>(byte));
    }
  }
  if (list.size() < 24) {
    return Outcome::kUnknown;
  }
  return change({.action = static_cast<std::uint8_t>(command.cdb[1] & 0x1FU),
                 .type = static_cast<std::uint8_t>(command.cdb[2] & 0xFU),
                 .key = number(list, 0, 8),
                 .other = number(list, 8, 8),
                 .persist = (list[20] & 1U) != 0});
}

// Reads too, though they have a way of their own: what is asked of a unit is answered.
TranslatingRunner::Outcome TranslatingRunner::move(const ScsiCommand& command, bool write) {
  std::uint64_t offset = number(command.cdb, 2, 8) * kBlockBytes;
  std::uint64_t left = number(command.cdb, 10, 4) * kBlockBytes;
  const bool durable = (command.cdb[1] & kForceUnitAccess) != 0;
  std::vector<iovec> parts;
  for (const MutableBytes part : command.parts) {
    parts.push_back({part.data(), part.size()});
  }
  while (left > 0) {
    const std::int64_t moved =
        write ? device_->write(parts, offset, durable) : device_->read(parts, offset);
    if (moved == -EINTR || moved == -EAGAIN) {
      continue;
    }
    if (moved <= 0) {
      return moved == -EBADE ? Outcome::kConflict : Outcome::kFailed;
    }
    auto done = static_cast<std::uint64_t>(moved);
    left -= std::min(left, done);
    offset += done;
    while (!parts.empty() && done >= parts.front().iov_len) {
      done -= parts.front().iov_len;
      parts.erase(parts.begin());
    }
    if (!parts.empty()) {
      parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + done;
      parts.front().iov_len -= done;
    }
  }
  return Outcome::kDone;
}

}  // namespace duet::shelf
