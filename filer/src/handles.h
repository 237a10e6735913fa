// Handles: between what a client shows and the object that it means.

#pragma once

#include "base/result.h"
#include "base/siphash.h"
#include "filer/handle_format.h"
#include "filer/request.h"

namespace duet::filer {

struct HandleParts {
  HandleKind kind = HandleKind::kObject;
  wafl::FileId id;
};

class HandleCodec {
 public:
  HandleCodec(std::uint32_t filer, const SipKey& key) : filer_(filer), key_(key) {}

  [[nodiscard]] Handle encode(HandleKind kind, const wafl::FileId& id) const;
  // Error: kBadHandle (no handle of ours by its form), kStaleHandle (made under another key, or
  // for another filer).
  [[nodiscard]] Result<HandleParts> decode(ConstBytes handle) const;

 private:
  std::uint32_t filer_;
  SipKey key_;
};

}  // namespace duet::filer
