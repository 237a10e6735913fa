#include "groups/overlay.h"

namespace duet::groups {

void Overlay::start(BlockOperation& operation) { scope_.spawn(run(*this, operation)); }

Task<void> Overlay::run(Overlay& overlay, BlockOperation& operation) {
  if (operation.kind == BlockOperation::Kind::kRead) {
    const Status read = co_await overlay.disk_->read(operation.block, operation.parts);
    operation.result = read;
    overlay.lay_over(operation);
  } else if (operation.kind == BlockOperation::Kind::kWrite) {
    overlay.take(operation);
    operation.result = Ok{};
  } else {
    operation.result = Ok{};
  }
  overlay.scheduler_.post(operation);
}

void Overlay::take(const BlockOperation& operation) {
  std::uint64_t block = operation.block;
  for (const MutableBytes part : operation.parts) {
    for (std::size_t at = 0; at < part.size(); at += kBlockBytes) {
      const auto bytes = part.subspan(at, kBlockBytes);
      written_[block++].assign(bytes.begin(), bytes.end());
    }
  }
}

// Of a read that failed all is unknown, also what is here.
void Overlay::lay_over(const BlockOperation& operation) const {
  std::uint64_t block = operation.block;
  for (const MutableBytes part : operation.parts) {
    for (std::size_t at = 0; at < part.size(); at += kBlockBytes, ++block) {
      const auto found = written_.find(block);
      if (found != written_.end()) {
        copy_bytes(found->second, part.subspan(at, kBlockBytes));
      }
    }
  }
}

}  // namespace duet::groups
