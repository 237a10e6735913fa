// duet-raid-bench: how fast redundancy groups are (docs/PERFORMANCE.md).  tests/bench/raid.sh
// builds and runs it.

#include <cstdarg>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "report.h"

namespace duet::raid::bench {

std::string text(const char* format, ...) {
  std::array<char, 512> buffer;
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  va_end(arguments);
  return {buffer.data(), std::min(static_cast<std::size_t>(length), buffer.size() - 1)};
}

}  // namespace duet::raid::bench

namespace {

constexpr std::string_view kUsage =
    "usage: duet-raid-bench [--tiny] [--rounds N] [--only LIST] [--strict]\n"
    "  --tiny      as little as goes through every line of it; the figures mean nothing\n"
    "  --rounds N  of what is compared, in turn; medians are reported (default 7)\n"
    "  --only L    of: 1 2 3 4 5 6, as \"2 5\"\n"
    "  --strict    exit code 1 when a bar is missed\n";

}  // namespace

int main(int argc, char** argv) {
  using namespace duet::raid::bench;
  Plan plan;
  std::string only = "1 2 3 4 5 6";
  bool strict = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--tiny") {
      plan.tiny = true;
      plan.rounds = 1;
    } else if (word == "--strict") {
      strict = true;
    } else if (word == "--rounds" && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      plan.rounds = static_cast<std::uint32_t>(std::atoi(argv[++i]));
    } else if (word == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else {
      std::cerr << kUsage;
      return word == "--help" ? 0 : 2;
    }
  }
  Report report;
  const auto wanted = [&only](char part) { return only.find(part) != std::string::npos; };
  if (wanted('1')) {
    measure_codec(plan, report);
  }
  if (wanted('2')) {
    measure_stripes(plan, report);
  }
  if (wanted('3')) {
    measure_locks(plan, report);
  }
  if (wanted('4')) {
    measure_rebuild(plan, report);
  }
  if (wanted('5')) {
    measure_growth(plan, report);
  }
  if (wanted('6')) {
    measure_changes(plan, report);
  }
  std::cout << "\nbars missed: " << report.missed() << '\n';
  return strict && report.missed() > 0 ? 1 : 0;
}
