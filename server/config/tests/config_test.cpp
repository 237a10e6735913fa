#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "refusal.h"

namespace duet::config {
namespace {

using testing::BadFile;
using testing::refusal;

constexpr std::string_view kGood = R"(pair:
  name: sample
nodes:
  a:
    memory:
      path: run/a/nvlog.pmem
      size: 256MiB
      accept_volatile: true
    admin:
      socket: run/a/admin.sock
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    port: 20049
    disks:
      - path: run/disks/a0.img
        size: 4GiB
      - path: run/disks/a1.img
        size: 4GiB
    volumes:
      - name: vol0
    exports:
      - path: /vol0
        clients:
          - match: 127.0.0.0/8
            access: rw
            squash: none
)";

// The good file with the first `from` replaced by `to`.
std::string with(std::string_view from, std::string_view to) {
  return testing::replaced(kGood, from, to);
}

TEST(Config, TheGoodFileMeansWhatItSays) {
  const Outcome<Config> outcome = parse(kGood, "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const Config& config = outcome.value();
  EXPECT_EQ(config.pair, "sample");
  ASSERT_NE(config.node("a"), nullptr);
  EXPECT_EQ(config.node("b"), nullptr);
  EXPECT_EQ(config.node("a")->memory.size_bytes, 256ULL << 20U);
  EXPECT_TRUE(config.node("a")->memory.accept_volatile);
  EXPECT_EQ(config.node("a")->admin.socket.text, "run/a/admin.sock");
  const Filer* filer = config.filer_at_home("a");
  ASSERT_NE(filer, nullptr);
  ASSERT_EQ(filer->listeners.size(), 1U);
  EXPECT_EQ(filer->listeners[0].port, 20049);
  ASSERT_EQ(filer->disks.size(), 2U);
  EXPECT_EQ(filer->disks[1].path.text, "run/disks/a1.img");
  EXPECT_EQ(filer->disks[1].path.line, 19);
  ASSERT_EQ(filer->exports.exports.size(), 1U);
  EXPECT_EQ(filer->exports.exports[0].rules[0].squash, filer::Squash::kNone);
  EXPECT_EQ(filer->exports.exports[0].rules[0].prefix_bits, 104U);
}

TEST(Config, EverySampleIsAccepted) {
  const Outcome<Config> outcome = load(std::string(DUET_SAMPLES) + "/single.yaml");
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  const Outcome<Config> raid = load(std::string(DUET_SAMPLES) + "/raid.yaml");
  EXPECT_TRUE(raid.ok()) << raid.error().text();
  const Outcome<Config> full = load(std::string(DUET_SAMPLES) + "/everything.yaml");
  EXPECT_TRUE(full.ok()) << full.error().text();
}

class ConfigRefuses : public ::testing::TestWithParam<BadFile> {};

TEST_P(ConfigRefuses, WithTheLineAndTheRemedy) {
  EXPECT_EQ(refusal(with(GetParam().from, GetParam().to)), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Each, ConfigRefuses,
    ::testing::Values(
        BadFile{"    home: a\n", "",
                "d.yaml:12: filers.a.home is missing; add it (docs/CONFIGURATION.md tells what it "
                "means)"},
        BadFile{"    home: a\n", "    hoem: a\n",
                "d.yaml:13: filers.a.hoem: no such key; correct or remove it; known here: home, "
                "addresses, port, disks, volumes, cache, cp_interval, log_entries_max, dirty_max, "
                "reply_cache_entries, limits, exports"},
        BadFile{"    port: 20049\n", "    port: 20049\n    colour: blue\n",
                "d.yaml:16: filers.a.colour: no such key; correct or remove it; known here: home, "
                "addresses, "
                "port, disks, volumes, cache, cp_interval, log_entries_max, dirty_max, "
                "reply_cache_entries, limits, exports"},
        BadFile{
            "port: 20049", "port: 70000",
            "d.yaml:15: filers.a.port: \"70000\" is not a number from 1 to 65535; write a number "
            "in that range"},
        BadFile{"port: 20049", "port: [1, 2]",
                "d.yaml:15: filers.a.port: there is a list where a single value is expected; write "
                "`key: value` in one line"},
        BadFile{
            "size: 256MiB", "size: 256 bananas",
            "d.yaml:7: nodes.a.memory.size: \"256 bananas\" is not a size; write a whole number "
            "and a unit: KiB, MiB, GiB or TiB"},
        BadFile{
            "    port: 20049\n", "    port: 20049\n    cache: 1GiB\n    dirty_max: 1GiB\n",
            "d.yaml:17: filers.a.dirty_max is more than half of the cache, 1 GiB; give it at most "
            "512 MiB, or a larger cache"},
        BadFile{"size: 256MiB", "size: 1MiB",
                "d.yaml:7: nodes.a.memory.size: 1MiB is too small; give it at least 64 MiB"},
        BadFile{
            "accept_volatile: true", "accept_volatile: maybe",
            "d.yaml:8: nodes.a.memory.accept_volatile: \"maybe\" is neither true nor false; write "
            "true or false"},
        BadFile{
            "[127.0.0.1]", "[localhost]",
            "d.yaml:14: filers.a.addresses: \"localhost\" is not an address; write an IPv4 or IPv6 "
            "address; host names are not looked up"},
        BadFile{
            "[127.0.0.1]", "[127.0.0.1, 127.0.0.1]",
            "d.yaml:14: 127.0.0.1 port 20049 is used twice; the first is in line 14; give one of "
            "them another address or port"},
        BadFile{"[127.0.0.1]", "[127.0.0.1, 0.0.0.0]",
                "d.yaml:14: 0.0.0.0 port 20049 is used twice; the first is in line 14; give one of "
                "them another address or port"},
        BadFile{"run/disks/a1.img", "run/disks/../disks/a0.img",
                "d.yaml:19: run/disks/../disks/a0.img is used twice; the first is in line 17; give "
                "each disk, memory and socket a path of its own"},
        BadFile{
            "run/a/admin.sock", "run/a/nvlog.pmem",
            "d.yaml:10: run/a/nvlog.pmem is used twice; the first is in line 6; give each disk, "
            "memory and socket a path of its own"},
        BadFile{"home: a", "home: b",
                "d.yaml:12: filers.a.home: there is no node \"b\"; name one of the nodes above"},
        BadFile{"filers:\n  a:", "filers:\n  c:",
                "d.yaml:12: filers.c: the filers of a pair are a and b; rename it"},
        BadFile{
            "match: 127.0.0.0/8", "match: 127.0.0.0/99",
            "d.yaml:26: filers.a.exports.clients.match: \"127.0.0.0/99\" matches no client; write "
            "an address, a subnet such as 10.1.0.0/16, or \"*\""},
        BadFile{"squash: none", "squash: pumpkin",
                "d.yaml:26: filers.a.exports.clients.squash: \"pumpkin\" is not known; write none, "
                "root "
                "or all"},
        BadFile{
            "- path: /vol0", "- path: /vol1",
            "d.yaml:24: filers.a.exports.path: \"/vol1\" is no volume of this filer; write / and "
            "the name of a volume that is listed under `volumes`"},
        BadFile{
            "- name: vol0", "- name: ../etc",
            "d.yaml:22: filers.a.volumes.name: \"../etc\" cannot be a name; use 1 to 63 letters, "
            "digits, '-', '_' and '.', not beginning with '-' or '.'"},
        BadFile{
            "- name: vol0", "- name: vol0\n      - name: vol0",
            "d.yaml:23: volume \"vol0\" stands here twice; the first is in line 22; remove one of "
            "them"},
        BadFile{
            "    home: a\n", "    home: a\n    home: a\n",
            "d.yaml:14: \"home\" stands here twice; the first is in line 13; remove one of them"},
        BadFile{"    port: 20049\n", "    cp_interval: 1h\n",
                "d.yaml:15: filers.a.cp_interval: \"1h\" is not a time; write a whole number and a "
                "unit: us, ms, s or min"},
        BadFile{"    port: 20049\n", "    cp_interval: 1us\n",
                "d.yaml:15: filers.a.cp_interval: 1us is out of range; choose from 100ms to 600s"},
        BadFile{"disks:\n      - path: run/disks/a0.img\n        size: 4GiB\n      - path: "
                "run/disks/a1.img\n        size: 4GiB\n",
                "disks: []\n",
                "d.yaml:16: filers.a.disks: a list with at least one entry is expected; write one "
                "`- entry` line for each"}));

TEST(Config, WhatIsNoYamlIsRefusedWithItsLine) {
  EXPECT_THAT(refusal("pair: [\nnodes: }"), ::testing::StartsWith("d.yaml:2: not YAML: "));
  EXPECT_EQ(refusal(""), "d.yaml: the file is empty; start from deploy/samples/single.yaml");
  EXPECT_EQ(
      refusal("7"),
      "d.yaml:1: the file: there is a single value where keys are expected; write `key: value` "
      "lines, indented below it");
  EXPECT_EQ(
      refusal(std::string(kGood) + "---\npair: 1\n"),
      "d.yaml:29: a second document begins here; remove the line `---` and what follows; or a line "
      "above it begins with too many spaces");
  // What made yaml-cpp find documents without end (found by the fuzzer).
  for (const char* const text : {",", ",,", ", a"}) {
    EXPECT_EQ(refusal(text), "d.yaml: the file is empty; start from deploy/samples/single.yaml");
  }
}

TEST(Config, AliasesThatMultiplyAreRefused) {
  std::string text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char level = 'b'; level < 'i'; ++level) {
    const std::string last(1, static_cast<char>(level - 1));
    text += std::string(1, level) + ": &" + level + " [";
    for (int i = 0; i < 10; ++i) {
      text += (i > 0 ? ", *" : "*") + last;
    }
    text += "]\n";
  }
  EXPECT_THAT(refusal(text), ::testing::HasSubstr("too many or too deeply nested values"));
}

TEST(Config, SizesAndTimesNeedTheirUnits) {
  EXPECT_EQ(parse_size("4GiB"), 4ULL << 30U);
  EXPECT_EQ(parse_size("512 KiB"), 512ULL << 10U);
  for (const std::string_view bad :
       {"", "4", "4G", "-4GiB", "4GiB ", "4  GiB", "1.5GiB", "GiB", "99999999999TiB", "0x4GiB"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(parse_duration("50us"), std::chrono::microseconds(50));
  EXPECT_EQ(parse_duration("2min"), std::chrono::minutes(2));
  EXPECT_EQ(parse_duration("2h"), std::nullopt);
  EXPECT_EQ(size_text(4ULL << 30U), "4 GiB");
  EXPECT_EQ(size_text(3ULL << 19U), "1.5 MiB");
  EXPECT_EQ(size_text(17), "17 B");
}

TEST(Config, PairsWithDifferentNamesHaveDifferentIds) {
  EXPECT_EQ(pair_id("sample"), pair_id("sample"));
  EXPECT_NE(pair_id("sample"), pair_id("sampel"));
  EXPECT_NE(pair_id("sample")[0], pair_id("sample")[1]);
}

}  // namespace
}  // namespace duet::config
