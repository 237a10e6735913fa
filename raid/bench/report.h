// What the benchmark prints: rows with a key each, some of them with a bar.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace duet::raid::bench {

struct Plan {
  bool tiny = false;  // as little as goes through every line of code
  std::uint32_t rounds = 7;
};

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

class Report {
 public:
  void section(const std::string& title) { std::printf("\n%s\n", title.c_str()); }
  void row(const char* key, const std::string& text) {
    std::printf("  %-5s %s\n", key, text.c_str());
    std::fflush(stdout);
  }
  void bar(const char* key, const std::string& what, double ratio, double wanted,
           const std::string& detail) {
    const bool met = ratio >= wanted;
    missed_ += met ? 0 : 1;
    std::printf("  %-5s %-44s %5.2f  wanted %.2f  %s  (%s)\n", key, what.c_str(), ratio, wanted,
                met ? "PASS" : "miss", detail.c_str());
    std::fflush(stdout);
  }
  [[nodiscard]] int missed() const { return missed_; }

 private:
  int missed_ = 0;
};

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

void measure_codec(const Plan& plan, Report& report);
void measure_stripes(const Plan& plan, Report& report);
void measure_locks(const Plan& plan, Report& report);
void measure_rebuild(const Plan& plan, Report& report);
void measure_changes(const Plan& plan, Report& report);
void measure_growth(const Plan& plan, Report& report);

}  // namespace duet::raid::bench
