#include "mailbox/sector.h"

namespace duet::mailbox::detail {

Status check(ConstBytes block, const SectorHeader& header, bool whole, SectorKind kind,
             const std::array<std::uint64_t, 2>& pair, std::uint32_t subject) {
  const ConstBytes sector = block.first(kSectorBytes);
  if (all_zero(sector)) {
    return Error{Errc::kNotFound, "the mailbox sector was never written"};
  }
  if (header.magic != kSectorMagic || !whole) {
    return Error{Errc::kCorrupt, "the mailbox sector is torn or damaged"};
  }
  if (header.version != kSectorVersion) {
    return Error{Errc::kForeign, "the mailbox sector is of another version"};
  }
  if (header.pair != pair) {
    return Error{Errc::kForeign, "the mailbox sector is of another pair"};
  }
  if (header.kind != static_cast<std::uint32_t>(kind) || header.subject != subject) {
    return Error{Errc::kForeign, "another record stands in the mailbox sector"};
  }
  return Ok{};
}

}  // namespace duet::mailbox::detail
