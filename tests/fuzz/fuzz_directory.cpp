// A directory's block: what check_directory_block() takes must be safe to walk.

#include <string_view>

#include "input.h"
#include "base/check.h"
#include "wafl/directory_format.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace duet;        // NOLINT: one small file
  using namespace duet::wafl;  // NOLINT
  std::array<std::byte, kBlockBytes> block{};
  std::copy_n(reinterpret_cast<const std::byte*>(data), std::min(size, block.size()),
              block.begin());
  const auto header = load<DirectoryBlockHeader>(block, 0);
  const bool valid = check_directory_block(block).ok();
  if (header.kind == static_cast<std::uint8_t>(DirectoryBlockKind::kLeaf)) {
    for (std::uint32_t i = 0; i < header.count; ++i) {
      const Result<DirectoryRecord> record = directory_record(block, i);
      DUET_CHECK(record.ok() || !valid);
      if (record.ok()) {
        const auto* begin = reinterpret_cast<const char*>(block.data());
        const std::string_view name = record.value().name;
        DUET_CHECK(name.data() >= begin && name.data() + name.size() <= begin + kBlockBytes);
      }
    }
  }
  return 0;
}
