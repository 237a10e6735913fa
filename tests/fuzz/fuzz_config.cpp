// The configuration file.

#include <string_view>

#include "base/check.h"
#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = duet::config::parse(text, "fuzz.yaml");
  if (!parsed.ok()) {
    DUET_CHECK(!parsed.error().text().empty());
  }
  return 0;
}
