// The region's bytes against the golden image: FORMAT.md's worked example.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "mirror_fixture.h"

namespace duet::nvlog::testing {
namespace {

// Lines of 64 bytes that are not zero: "offset: hex".
std::string dump(ConstBytes bytes) {
  std::ostringstream out;
  for (std::size_t at = 0; at + kLineBytes <= bytes.size(); at += kLineBytes) {
    const ConstBytes line = bytes.subspan(at, kLineBytes);
    if (std::ranges::all_of(line, [](std::byte b) { return b == std::byte{0}; })) {
      continue;
    }
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%06zx:", at);
    out << text.data();
    for (std::size_t i = 0; i < line.size(); ++i) {
      std::snprintf(text.data(), text.size(), "%s%02x", i % 8 == 0 ? " " : "",
                    static_cast<unsigned>(line[i]));
      out << text.data();
    }
    out << '\n';
  }
  return out.str();
}

std::string golden(const std::string& name = "region_v1.hex") {
  std::ifstream file(NVLOG_TESTDATA "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Body undump(const std::string& text, std::size_t size) {
  Body bytes(size);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t at = std::stoul(line, nullptr, 16);
    std::string hex;
    for (const char c : line.substr(line.find(':') + 1)) {
      if (c != ' ') {
        hex += c;
      }
    }
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
      bytes[at++] = static_cast<std::byte>(std::stoul(hex.substr(i, 2), nullptr, 16));
    }
  }
  return bytes;
}

Body text(std::string_view words) {
  const ConstBytes bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

constexpr LogIdentity kGolden{.pair = {0x0706'0504'0302'0100, 0x0F0E'0D0C'0B0A'0908},
                              .filer = 0,
                              .log_id = 0x1122'3344'5566'7788};

// The example of FORMAT.md: two records, a CP's freeze, one more.
Body worked_example(Scheduler& scheduler) {
  CrashMemory memory(small_region());
  Recovered opened =
      recover(scheduler, memory, {.epoch = 5, .last = Sequence{41}, .log_empty = true}, kGolden);
  DUET_CHECK(opened.log->start(5).ok());
  DUET_CHECK(append(*opened.log, text("mkdir a")).ok());
  DUET_CHECK(append(*opened.log, text("write a/b, twenty bytes")).ok());
  opened.log->switch_half();
  DUET_CHECK(append(*opened.log, text("remove a/b")).ok());
  return {memory.bytes().begin(), memory.bytes().end()};
}

TEST(LogFormat, TheWorkedExampleGivesTheGoldenImage) {
  sim::SimScheduler scheduler(1);
  EXPECT_EQ(dump(worked_example(scheduler)), golden());
}

TEST(LogFormat, TheGoldenImageIsRead) {
  sim::SimScheduler scheduler(1);
  CrashMemory memory(undump(golden(), region_bytes(kSmallHalf)));
  const Recovered found =
      recover(scheduler, memory, {.epoch = 5, .last = Sequence{41}, .log_empty = false}, kGolden);
  ASSERT_TRUE(found.status.ok());
  ASSERT_EQ(found.records.size(), 3U);
  EXPECT_EQ(found.records[0], std::pair(std::uint64_t{42}, text("mkdir a")));
  EXPECT_EQ(found.records[1], std::pair(std::uint64_t{43}, text("write a/b, twenty bytes")));
  EXPECT_EQ(found.records[2], std::pair(std::uint64_t{44}, text("remove a/b")));
}

// The mirror region of a partner, after two records.
TEST(LogFormat, TheCopyAtThePartnerIsTheGoldenOneAndIsRead) {
  Pair pair(1, Wire::kStream);
  pair.begin();
  pair.append(text("mkdir a"));
  pair.append(text("write a/b, twenty bytes"));
  ASSERT_TRUE(pair.run([&] { return pair.durable() == 2; }));
  EXPECT_EQ(dump(pair.copy_memory().bytes()), golden("copy_v1.hex"));

  const CrashMemory copy(undump(golden("copy_v1.hex"), region_bytes(kSmallHalf)));
  pair.kill(Node::kA);
  const MirrorRecovered found = pair.recover(Node::kB, &copy);
  ASSERT_TRUE(found.status.ok());
  ASSERT_EQ(found.records.size(), 2U);
  EXPECT_EQ(found.records[1], std::pair(std::uint64_t{2}, text("write a/b, twenty bytes")));
}

}  // namespace
}  // namespace duet::nvlog::testing
