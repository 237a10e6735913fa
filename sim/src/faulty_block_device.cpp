#include "sim/faulty_block_device.h"

#include <algorithm>
#include <iterator>

namespace duet::sim {

namespace {

BlockOperation::Kind kind_of(Fault fault) {
  switch (fault) {
    case Fault::kReadError:
    case Fault::kCorruptRead:
      return BlockOperation::Kind::kRead;
    case Fault::kFlushError:
      return BlockOperation::Kind::kFlush;
    case Fault::kWriteError:
    case Fault::kLostWrite:
    case Fault::kMisdirectedWrite:
      break;
  }
  return BlockOperation::Kind::kWrite;
}

std::uint64_t blocks_of(const BlockOperation& operation) {
  std::uint64_t bytes = 0;
  for (const MutableBytes part : operation.parts) {
    bytes += part.size();
  }
  return bytes / kBlockBytes;
}

bool touches(const BlockOperation& operation, std::uint64_t block) {
  return block >= operation.block && block - operation.block < blocks_of(operation);
}

}  // namespace

void FaultyBlockDevice::disarm() {
  armed_.clear();
  chances_.fill(0);
}

void FaultyBlockDevice::start(BlockOperation& operation) {
  const std::optional<Fault> fault = draw(operation);
  if (!fault) {
    disk_.start(operation);
    return;
  }
  ++happened_[index(*fault)];
  switch (*fault) {
    case Fault::kReadError:
    case Fault::kFlushError:
      fail(operation, "simulated I/O error");
      break;
    case Fault::kWriteError:
      if (scheduler_.random().one_in(2)) {
        fail(operation, "simulated I/O error");
      } else {
        pass_on(operation, *fault, operation.block);
      }
      break;
    case Fault::kCorruptRead:
      pass_on(operation, *fault, operation.block);
      break;
    case Fault::kLostWrite:
      operation.result = Ok{};
      scheduler_.post(operation);
      break;
    case Fault::kMisdirectedWrite: {
      const std::uint64_t places = block_count() - blocks_of(operation) + 1;
      pass_on(operation, *fault, scheduler_.random().below(places));
      break;
    }
  }
}

std::optional<Fault> FaultyBlockDevice::draw(const BlockOperation& operation) {
  if (operation.kind == BlockOperation::Kind::kWrite) {
    std::erase_if(armed_, [&](const Armed& armed) {
      return armed.until_written && armed.block && touches(operation, *armed.block);
    });
  }
  for (auto armed = armed_.begin(); armed != armed_.end(); ++armed) {
    if (kind_of(armed->fault) != operation.kind ||
        (armed->block && !touches(operation, *armed->block))) {
      continue;
    }
    if (armed->skip > 0) {
      --armed->skip;
      continue;
    }
    const Fault fault = armed->fault;
    if (!armed->always && !armed->until_written) {
      armed_.erase(armed);
    }
    return fault;
  }
  for (std::size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    if (chances_[i] != 0 && kind_of(fault) == operation.kind &&
        scheduler_.random().one_in(chances_[i])) {
      return fault;
    }
  }
  return std::nullopt;
}

void FaultyBlockDevice::fail(BlockOperation& operation, std::string_view context) {
  operation.result = Error{Errc::kIo, context};
  scheduler_.post(operation);
}

void FaultyBlockDevice::pass_on(BlockOperation& operation, Fault fault, std::uint64_t block) {
  Twisted& twisted = under_way_.emplace_back(*this, operation, fault);
  twisted.self = std::prev(under_way_.end());
  twisted.kind = operation.kind;
  twisted.block = block;
  twisted.parts = operation.parts;
  disk_.start(twisted);
}

void FaultyBlockDevice::finish(Twisted& twisted) {
  BlockOperation& operation = twisted.original;
  operation.result = twisted.result;
  if (twisted.fault == Fault::kWriteError) {
    operation.result = Error{Errc::kIo, "simulated I/O error"};
  }
  if (twisted.fault == Fault::kCorruptRead && !operation.parts.empty()) {
    Random& random = scheduler_.random();
    const MutableBytes part = operation.parts[random.below(operation.parts.size())];
    part[random.below(part.size())] ^= std::byte{1} << random.below(8);
  }
  under_way_.erase(twisted.self);
  scheduler_.post(operation);
}

}  // namespace duet::sim
