// What travels between a SimInitiator and a SimTarget: copies, so that neither end's life matters.

#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shelf/shared_disk.h"

namespace duet::shelf::testing {

struct alignas(kBlockBytes) SimBlock {
  std::array<std::byte, kBlockBytes> bytes;
};

struct SimRequest {
  std::uint64_t tag = 0;
  bool repeated = false;                     // it was sent before
  std::optional<DiskRequest::Kind> command;  // none: I/O
  BlockOperation::Kind io = BlockOperation::Kind::kFlush;
  std::uint64_t block = 0;
  std::uint64_t epoch = 0;  // I/O: its epoch; kRaiseEpoch: the new one
  Reservation reservation = Reservation::kNone;
  DiskKey victim = kNoKey;
  std::vector<SimBlock> data;  // written; or as many as are to be read

  [[nodiscard]] MutableBytes bytes() {
    return {reinterpret_cast<std::byte*>(data.data()), data.size() * kBlockBytes};
  }
};

struct SimReply {
  std::uint64_t tag = 0;
  Status result = Ok{};
  std::vector<SimBlock> data;
  DiskState state;
};

}  // namespace duet::shelf::testing
