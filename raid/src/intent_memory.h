// IntentMemory: the intents in one node's persistent memory, its own and its peers'.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <vector>

#include "base/result.h"
#include "platform/persistent_memory.h"
#include "raid/codec.h"
#include "raid/intent_format.h"
#include "raid/label.h"

namespace duet::raid {

// What one write is about to do to one stripe.
struct Intent {
  IntentKind kind = IntentKind::kContent;
  Stripe stripe{};
  std::uint32_t disks = 0;  // that the stripe is on
  std::uint32_t first_row = 0;
  std::uint32_t row_count = 0;
  ColumnSet check = 0;
  std::array<Span, kDisksMax> spans{};

  [[nodiscard]] PlacedStripe of() const { return {stripe, disks}; }
  // Blocks behind the header.
  [[nodiscard]] std::uint32_t page_count() const;
};

// One that was found.
struct FoundIntent {
  Intent intent;
  ConstBytes pages;  // in the memory
};

class IntentMemory {
 public:
  // REQUIRES: large enough for `layout`.
  static Status format(PersistentMemory& memory, const GroupId& group, NodeId node,
                       const MemoryLayout& layout);
  // Error: kNotFound: blank; kForeign: of another group or node; kCorrupt.
  static Result<IntentMemory> open(PersistentMemory& memory, const GroupId& group, NodeId node);

  [[nodiscard]] const MemoryLayout& layout() const { return layout_; }
  [[nodiscard]] Generation generation() const { return Generation{header_.generation}; }
  [[nodiscard]] Generation before() const { return Generation{header_.before}; }
  // Whether the intents are all that matter to a group whose label says `generation`.
  [[nodiscard]] bool counts_in(Generation generation) const {
    const auto wanted = static_cast<std::uint64_t>(generation);
    return wanted != 0 && (header_.generation == wanted || header_.before == wanted);
  }
  Status set_generation(Generation generation, Generation before);

  // Forgets what `node` meant to do.
  Status wipe(NodeId node);
  // The intents of `node` that are whole; what is torn had begun nothing.
  // REQUIRES: `label` is of their group.
  [[nodiscard]] std::vector<FoundIntent> scan(NodeId node, const GroupLabel& label) const;

  [[nodiscard]] PersistentMemory& memory() const { return *memory_; }

 private:
  IntentMemory(PersistentMemory& memory, const MemoryHeader& header)
      : memory_(&memory), header_(header), layout_{header.slots, header.pages} {}
  static Status put_header(PersistentMemory& memory, MemoryHeader header);

  PersistentMemory* memory_;
  MemoryHeader header_;
  MemoryLayout layout_;
};

[[nodiscard]] IntentHeader encode_intent(const Intent& intent, std::uint64_t number,
                                         std::uint32_t first_page, std::uint32_t pages_checksum);

}  // namespace duet::raid
