// What a pair's configuration must and may say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "config/config.h"
#include "refusal.h"

namespace duet::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::refusal;

constexpr std::string_view kPair = R"(pair:
  name: sample
  interconnect:
    transport: shared-memory
    directory: run/link
  failover:
    lease: 500ms
    beat: 100ms
nodes:
  a:
    memory:
      path: run/a/nvlog.pmem
      size: 64MiB
    mirror:
      path: run/a/mirror.pmem
      size: 64MiB
    admin:
      socket: run/a/admin.sock
  b:
    memory:
      path: run/b/nvlog.pmem
      size: 64MiB
    mirror:
      path: run/b/mirror.pmem
      size: 64MiB
    admin:
      socket: run/b/admin.sock
filers:
  a:
    home: a
    addresses: [127.0.1.1]
    disks:
      - url: shelf+unix://run/shelf1.sock#a0
      - url: shelf+unix://run/shelf2.sock#a1
      - url: shelf+unix://run/shelf1.sock#a2
  b:
    home: b
    addresses: [127.0.1.2]
    disks:
      - url: shelf+unix://run/shelf2.sock#b0
      - url: shelf+unix://run/shelf1.sock#b1
      - url: shelf+unix://run/shelf2.sock#b2
)";

constexpr std::string_view kTcpPair = R"(pair:
  name: sample
  interconnect:
    transport: tcp
    key_file: /etc/duet/pair.key
nodes:
  a:
    memory:
      path: /dev/dax0.0
      size: 64MiB
    mirror:
      path: /dev/dax0.1
      size: 64MiB
    interconnect:
      address: 192.0.2.1
      port: 7430
    admin:
      socket: /run/duet/admin.sock
  b:
    memory:
      path: /dev/dax0.0
      size: 64MiB
    mirror:
      path: /dev/dax0.1
      size: 64MiB
    interconnect:
      address: 192.0.2.2
      port: 7430
    admin:
      socket: /run/duet/admin.sock
filers:
  a:
    home: a
    addresses: [192.0.2.11]
    disks:
      - url: shelf+tcp://192.0.2.7:7420/a0
      - url: iscsi://192.0.2.8/iqn.2026-01.example:a/1
      - url: shelf+tcp://192.0.2.7:7420/a2
  b:
    home: b
    addresses: [192.0.2.12]
    disks:
      - url: shelf+tcp://192.0.2.7:7420/b0
)";

std::string with(std::string_view in, std::string_view from, std::string_view to) {
  return testing::replaced(in, from, to);
}

// "mma": member, member, arbitration; '-': neither.
std::string roles(const Filer& filer) {
  std::string text;
  for (const Disk& disk : filer.disks) {
    text += disk.mailbox ? 'm' : disk.arbitration ? 'a' : '-';
  }
  return text;
}
std::string roles(std::string_view text) {
  const Outcome<Config> outcome = parse(text, "d.yaml");
  return outcome.ok() ? roles(outcome.value().filers[0]) + " " + roles(outcome.value().filers[1])
                      : outcome.error().text();
}

TEST(PairConfig, MeansWhatItSays) {
  const Outcome<Config> outcome = parse(kPair, "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const Config& config = outcome.value();
  ASSERT_TRUE(config.is_pair());
  EXPECT_EQ(config.interconnect->transport, Transport::kSharedMemory);
  EXPECT_EQ(config.interconnect->directory.text, "run/link");
  EXPECT_EQ(config.interconnect->line, 3);
  EXPECT_TRUE(config.failover.automatic_takeover);
  EXPECT_FALSE(config.failover.automatic_giveback);
  EXPECT_EQ(config.failover.lease, milliseconds(500));
  EXPECT_EQ(config.failover.on_crash, OnCrash::kTakeoverFirst);
  ASSERT_TRUE(config.node("b")->mirror.has_value());
  EXPECT_EQ(config.node("b")->mirror->path.text, "run/b/mirror.pmem");
  EXPECT_EQ(config.filers[1].disks[2].path.text, "shelf+unix://run/shelf2.sock#b2");
  EXPECT_EQ(config.filers[1].disks[2].path.line, 42);
}

TEST(PairConfig, OverTcpBothNodesMayUseTheSameNames) {
  const Outcome<Config> outcome = parse(kTcpPair, "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const Config& config = outcome.value();
  EXPECT_EQ(config.interconnect->transport, Transport::kTcp);
  EXPECT_EQ(config.interconnect->key_file->text, "/etc/duet/pair.key");
  EXPECT_FALSE(config.interconnect->plaintext);
  ASSERT_TRUE(config.node("b")->interconnect.has_value());
  EXPECT_EQ(config.node("b")->interconnect->address, "192.0.2.2");
  EXPECT_EQ(config.node("b")->interconnect->port, 7430);
}

// Listeners of filer a: "address/bits@interface:port".
std::string listeners(std::string_view text) {
  const Outcome<Config> outcome = parse(text, "d.yaml");
  if (!outcome.ok()) {
    return outcome.error().text();
  }
  std::string all;
  for (const Listener& each : outcome.value().filers[0].listeners) {
    all += (all.empty() ? "" : " ") + each.address + "/" + std::to_string(each.prefix_bits) + "@" +
           each.interface + ":" + std::to_string(each.port);
  }
  return all;
}

TEST(PairConfig, AnAddressOnAnInterfaceMoves) {
  EXPECT_EQ(listeners(kTcpPair), "192.0.2.11/0@:2049");
  EXPECT_EQ(
      listeners(with(kTcpPair, "[192.0.2.11]",
                     "\n      - address: 192.0.2.11/24\n        interface: eth0\n      - {address: "
                     "\"2001:db8::11/64\", interface: eth1}\n      - 192.0.2.13")),
      "192.0.2.11/24@eth0:2049 2001:db8::11/64@eth1:2049 192.0.2.13/0@:2049");
}

TEST(PairConfig, DisksOfShelvesOverTlsGetTheKeyOfAllOrTheirOwn) {
  const Outcome<Config> outcome = parse(
      with(with(with(kTcpPair, "    key_file: /etc/duet/pair.key\n",
                     "    key_file: /etc/duet/pair.key\n  shelf_key_file: /etc/duet/shelf.key\n"),
                "shelf+tcp://192.0.2.7:7420/a0", "shelf+tls://192.0.2.7:7420/a0"),
           "shelf+tcp://192.0.2.7:7420/a2", "shelf+tls://192.0.2.7:7420/a2?key_file=own.key"),
      "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const std::vector<Disk>& disks = outcome.value().filers[0].disks;
  EXPECT_EQ(disks[0].url(), "shelf+tls://192.0.2.7:7420/a0?key_file=/etc/duet/shelf.key");
  EXPECT_EQ(disks[2].url(), "shelf+tls://192.0.2.7:7420/a2?key_file=own.key");
  // Operators name them as they stand in the file, and are shown no key's path.
  EXPECT_EQ(disks[0].path.text, "shelf+tls://192.0.2.7:7420/a0");
  EXPECT_EQ(disks[0].shown(), "shelf+tls://192.0.2.7:7420/a0");
  EXPECT_EQ(disks[2].path.text, "shelf+tls://192.0.2.7:7420/a2?key_file=own.key");
  EXPECT_EQ(disks[2].shown(), "shelf+tls://192.0.2.7:7420/a2");
}

TEST(PairConfig, AnotherKeyFileMakesNoOtherDisk) {
  const std::string text =
      with(with(with(kTcpPair, "    key_file: /etc/duet/pair.key\n",
                     "    key_file: /etc/duet/pair.key\n  shelf_key_file: /etc/duet/shelf.key\n"),
                "shelf+tcp://192.0.2.7:7420/a0", "shelf+tls://192.0.2.7:7420/a0"),
           "shelf+tcp://192.0.2.7:7420/a2", "shelf+tls://192.0.2.7:7420/a0?key_file=own.key");
  const Outcome<Config> outcome = parse(text, "d.yaml");
  ASSERT_FALSE(outcome.ok());
  EXPECT_NE(outcome.error().message.find("a0?key_file=own.key is used twice"), std::string::npos)
      << outcome.error().message;
}

TEST(PairConfig, TwoMachinesMayShareTheirKernelsDisks) {
  const Outcome<Config> outcome = parse(
      with(kTcpPair, "shelf+tcp://192.0.2.7:7420/a0", "block:///dev/disk/by-id/wwn-0x1"), "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_EQ(outcome.value().filers[0].disks[0].path.text, "block:///dev/disk/by-id/wwn-0x1");
}

TEST(PairConfig, FailoverIsReadWhole) {
  const Outcome<Config> outcome =
      parse(with(kPair, "    lease: 500ms\n    beat: 100ms\n",
                 "    automatic_takeover: false\n    automatic_giveback: true\n    lease: 2s\n    "
                 "beat: 200ms\n    on_crash: "
                 "restart-first\n    restart_deadline: 7s\n    disk_patience: 1min\n"),
            "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const Failover& failover = outcome.value().failover;
  EXPECT_FALSE(failover.automatic_takeover);
  EXPECT_TRUE(failover.automatic_giveback);
  EXPECT_EQ(failover.lease, seconds(2));
  EXPECT_EQ(failover.beat, milliseconds(200));
  EXPECT_EQ(failover.on_crash, OnCrash::kRestartFirst);
  EXPECT_EQ(failover.restart_deadline, seconds(7));
  EXPECT_EQ(failover.disk_patience, seconds(60));
  EXPECT_EQ(failover.group_disk_patience, seconds(60));
}

TEST(PairConfig, DisksOfGroupsAreGivenUpSoonerUnlessItSaysHowLong) {
  const auto failover = [](const char* lines) {
    const Outcome<Config> outcome =
        parse(with(kPair, "    lease: 500ms\n    beat: 100ms\n", lines), "d.yaml");
    EXPECT_TRUE(outcome.ok()) << outcome.error().text();
    return outcome.value().failover;
  };
  EXPECT_EQ(failover("    lease: 500ms\n").disk_patience, seconds(30));
  EXPECT_EQ(failover("    lease: 500ms\n").group_disk_patience, seconds(5));
  EXPECT_EQ(failover("    lease: 4s\n").group_disk_patience, seconds(8));
}

TEST(PairConfig, TheFirstTwoDisksAreMembersAndTheNextOfFilerAArbitrates) {
  EXPECT_EQ(roles(kPair), "mma mm-");
  EXPECT_EQ(roles(kTcpPair), "mma m");
}

TEST(PairConfig, WhatTheFileSaysOfMembersAndArbitrationCounts) {
  constexpr std::string_view kB2 = "shelf2.sock#b2\n";
  constexpr std::string_view kA0 = "shelf1.sock#a0\n";
  const std::string arbitration = "        arbitration: true\n";
  const std::string mailbox = "        mailbox: true\n";
  EXPECT_EQ(roles(with(kPair, kB2, std::string(kB2) + arbitration)), "mm- mma");
  EXPECT_EQ(roles(with(kPair, kA0, std::string(kA0) + arbitration)), "amm mm-");
  EXPECT_EQ(roles(with(kPair, kB2, std::string(kB2) + mailbox)), "mma --m");
  EXPECT_EQ(roles(with(kPair, kA0, std::string(kA0) + mailbox)), "ma- mm-");
}

TEST(PairConfig, WithoutADiskForArbitrationItIsRefused) {
  constexpr std::string_view kA2 = "      - url: shelf+unix://run/shelf1.sock#a2\n";
  EXPECT_EQ(refusal(with(kPair, kA2, "")),
            "d.yaml:29: filers.a.disks: every disk is a mailbox member, and none is left for the "
            "arbitration record; add a third disk, or name one of filer b with `arbitration: "
            "true`");
  // The remedy works.
  EXPECT_EQ(roles(with(with(kPair, kA2, ""), "shelf2.sock#b2\n",
                       "shelf2.sock#b2\n        arbitration: true\n")),
            "mm mma");
}

TEST(PairConfig, TheSamplesAreAccepted) {
  for (const char* const sample :
       {"/pair.yaml", "/pair-raid.yaml", "/pair-shared.yaml", "/everything.yaml"}) {
    const Outcome<Config> outcome = load(std::string(DUET_SAMPLES) + sample);
    ASSERT_TRUE(outcome.ok()) << outcome.error().text();
    EXPECT_TRUE(outcome.value().is_pair()) << sample;
  }
}

struct BadPair {
  std::string_view file;
  std::string from, to, message;
  friend void PrintTo(const BadPair& bad, std::ostream* out) { *out << bad.message; }
};

class PairConfigRefuses : public ::testing::TestWithParam<BadPair> {};

TEST_P(PairConfigRefuses, WithTheLineAndTheRemedy) {
  EXPECT_EQ(refusal(with(GetParam().file, GetParam().from, GetParam().to)), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Interconnect, PairConfigRefuses,
    ::testing::Values(
        BadPair{kPair, "shared-memory", "pigeon",
                "d.yaml:4: pair.interconnect.transport: \"pigeon\" is not known; write "
                "shared-memory (both nodes on one host) or tcp"},
        BadPair{kPair, "    transport: shared-memory\n", "",
                "d.yaml:3: pair.interconnect.transport is missing; add it (docs/CONFIGURATION.md "
                "tells what it means)"},
        BadPair{kPair, "    directory: run/link\n", "",
                "d.yaml:3: pair.interconnect.directory is missing; add it (docs/CONFIGURATION.md "
                "tells what it means)"},
        BadPair{kPair, "    directory: run/link\n",
                "    directory: run/link\n    plaintext: true\n",
                "d.yaml:6: pair.interconnect.plaintext: shared memory is not encrypted: it never "
                "leaves the host; remove it"},
        BadPair{kPair, "    directory: run/link\n", "    directory: run/link\n    colour: blue\n",
                "d.yaml:6: pair.interconnect.colour: no such key; correct or remove it; known "
                "here: transport, directory, key_file, plaintext"},
        BadPair{kTcpPair, "    key_file: /etc/duet/pair.key\n", "    directory: run/link\n",
                "d.yaml:5: pair.interconnect.directory: only shared memory needs one; remove it"},
        BadPair{kTcpPair, "    key_file: /etc/duet/pair.key\n", "",
                "d.yaml:3: pair.interconnect: over TCP either a key_file is given, or plaintext: "
                "true; write `key_file` (`openssl rand -hex 32` makes one, the same for both "
                "nodes); plaintext only if nobody else reaches the cable"},
        BadPair{kTcpPair, "    key_file: /etc/duet/pair.key\n",
                "    key_file: k\n    plaintext: true\n",
                "d.yaml:3: pair.interconnect: over TCP either a key_file is given, or plaintext: "
                "true; write `key_file` (`openssl rand -hex 32` makes one, the same for both "
                "nodes); plaintext only if nobody else reaches the cable"},
        BadPair{kTcpPair, "    interconnect:\n      address: 192.0.2.1\n      port: 7430\n", "",
                "d.yaml:7: nodes.a.interconnect is missing; add it (docs/CONFIGURATION.md tells "
                "what it means)"},
        BadPair{kTcpPair, "      address: 192.0.2.1\n", "",
                "d.yaml:14: nodes.a.interconnect.address is missing; add it "
                "(docs/CONFIGURATION.md tells what it means)"},
        BadPair{kTcpPair, "address: 192.0.2.1\n", "address: 0.0.0.0\n",
                "d.yaml:15: nodes.a.interconnect.address: the partner cannot connect to 0.0.0.0; "
                "write the address of this node that its partner reaches"},
        BadPair{kTcpPair, "      address: 192.0.2.1\n      port: 7430\n",
                "      address: 192.0.2.11\n      port: 2049\n",
                "d.yaml:15: 192.0.2.11 port 2049 is used twice; the first is in line 34; give one "
                "of them another address or port"},
        BadPair{kPair, "    admin:\n",
                "    interconnect:\n      address: 127.0.0.1\n      port: 1\n    admin:\n",
                "d.yaml:17: nodes.a.interconnect: only nodes that are linked by TCP have an "
                "address; remove it, or write `transport: tcp` in `pair.interconnect`"}));

INSTANTIATE_TEST_SUITE_P(
    Addresses, PairConfigRefuses,
    ::testing::Values(
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {address: 192.0.2.11, interface: eth0}",
                "d.yaml:35: filers.a.addresses.address: \"192.0.2.11\" names no network; "
                "write the address and the bits of its network, such as 192.0.2.21/24"},
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {address: 192.0.2.11/33, interface: eth0}",
                "d.yaml:35: filers.a.addresses.address: \"192.0.2.11/33\" names no network;"
                " write the address and the bits of its network, such as 192.0.2.21/24"},
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {address: 192.0.2.11/0, interface: eth0}",
                "d.yaml:35: filers.a.addresses.address: \"192.0.2.11/0\" names no network; "
                "write the address and the bits of its network, such as 192.0.2.21/24"},
        BadPair{kTcpPair, "[192.0.2.11]",
                "\n      - {address: \"2001:db8::11/129\", interface: eth0}",
                "d.yaml:35: filers.a.addresses.address: \"2001:db8::11/129\" names no "
                "network; write the address and the bits of its network, such as "
                "192.0.2.21/24"},
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {address: 192.0.2.11/24x, interface: eth0}",
                "d.yaml:35: filers.a.addresses.address: \"192.0.2.11/24x\" names no "
                "network; write the address and the bits of its network, such as "
                "192.0.2.21/24"},
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {address: filer-a/24, interface: eth0}",
                "d.yaml:35: filers.a.addresses: \"filer-a\" is not an address; write an "
                "IPv4 or IPv6 address; host names are not looked up"},
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {address: 192.0.2.11/24}",
                "d.yaml:35: filers.a.addresses.interface is missing; add it "
                "(docs/CONFIGURATION.md tells what it means)"},
        BadPair{kTcpPair, "[192.0.2.11]", "\n      - {interface: eth0}",
                "d.yaml:35: filers.a.addresses.address is missing; add it "
                "(docs/CONFIGURATION.md tells what it means)"},
        BadPair{kTcpPair, "[192.0.2.11]",
                "\n      - {address: 192.0.2.11/24, interface: eth0, colour: blue}",
                "d.yaml:35: filers.a.addresses.colour: no such key; correct or remove it;"
                " known here: address, interface"},
        BadPair{kTcpPair, "[192.0.2.11]",
                "\n      - {address: 192.0.2.11/24, interface: eth0}\n      - 192.0.2.11",
                "d.yaml:36: 192.0.2.11 port 2049 is used twice; the first is in line 35; "
                "give one of them another address or port"}));

INSTANTIATE_TEST_SUITE_P(
    Failover, PairConfigRefuses,
    ::testing::Values(
        BadPair{kPair, "lease: 500ms", "lease: 299ms",
                "d.yaml:6: pair.failover: a lease of 299 ms is shorter than 3 beats of 100 ms; "
                "lengthen `lease`, or shorten `beat`: one lost beat must not cost the lease"},
        BadPair{kPair, "lease: 500ms", "lease: 99ms",
                "d.yaml:7: pair.failover.lease: 99ms is out of range; choose from 100ms to 60s"},
        BadPair{kPair, "lease: 500ms", "lease: 500500us",
                "d.yaml:7: pair.failover.lease: it is no whole millisecond; write a number of ms"},
        BadPair{kPair, "beat: 100ms", "beat: 19ms",
                "d.yaml:8: pair.failover.beat: 19ms is out of range; choose from 20ms to 20s"},
        BadPair{kPair, "    beat: 100ms\n", "    on_crash: panic\n",
                "d.yaml:8: pair.failover.on_crash: \"panic\" is not known; write restart-first or "
                "takeover-first"},
        BadPair{kPair, "    beat: 100ms\n", "    restart_deadline: 1ms\n",
                "d.yaml:8: pair.failover.restart_deadline: 1ms is out of range; choose from 100ms "
                "to 600s"},
        BadPair{kPair, "lease: 500ms", "lease: 3s\n    disk_patience: 2s",
                "d.yaml:6: pair.failover: disk_patience is shorter than the lease; lengthen it: a "
                "stall as long as a lease only pauses a node, a failed disk stops it"},
        BadPair{kPair, "  interconnect:\n    transport: shared-memory\n    directory: run/link\n",
                "",
                "d.yaml:3: pair.failover: without an interconnect no node stands in for the other; "
                "add `interconnect`, or remove `failover`"}));

INSTANTIATE_TEST_SUITE_P(
    Nodes, PairConfigRefuses,
    ::testing::Values(
        BadPair{kPair, "    mirror:\n      path: run/b/mirror.pmem\n      size: 64MiB\n", "",
                "d.yaml:19: nodes.b.mirror is missing; add it (docs/CONFIGURATION.md tells what "
                "it means)"},
        BadPair{kPair, "path: run/b/mirror.pmem\n      size: 64MiB",
                "path: run/b/mirror.pmem\n      size: 128MiB",
                "d.yaml:24: run/b/mirror.pmem has 128 MiB, and run/a/nvlog.pmem (line 12) has 64 "
                "MiB; give all memories and mirrors of a pair one size: a log and its copy at the "
                "partner have equal halves"},
        BadPair{kPair, "run/b/mirror.pmem", "run/a/mirror.pmem",
                "d.yaml:24: run/a/mirror.pmem is used twice; the first is in line 15; give each "
                "disk, memory and socket a path of its own"},
        BadPair{kPair, "run/b/admin.sock", "run/a/../a/admin.sock",
                "d.yaml:27: run/a/../a/admin.sock is used twice; the first is in line 18; give "
                "each disk, memory and socket a path of its own"},
        BadPair{kPair, "run/a/mirror.pmem", "run/link",
                "d.yaml:15: run/link is used twice; the first is in line 5; give each disk, "
                "memory and socket a path of its own"},
        BadPair{kPair,
                "  b:\n    memory:\n      path: run/b/nvlog.pmem\n      size: 64MiB\n    "
                "mirror:\n      path: run/b/mirror.pmem\n      size: 64MiB\n    admin:\n      "
                "socket: run/b/admin.sock\n",
                "",
                "d.yaml:3: pair.interconnect: a pair has the nodes a and b and the filers a and "
                "b, and there is no node b; start from deploy/samples/pair.yaml"},
        BadPair{kPair, "    home: b\n", "    home: a\n",
                "d.yaml:36: filers.b.home: in a pair the home of filer b is node b; write `home: "
                "b`"}));

INSTANTIATE_TEST_SUITE_P(
    Disks, PairConfigRefuses,
    ::testing::Values(
        BadPair{kPair, "url: shelf+unix://run/shelf1.sock#a0", "path: run/a0.img",
                "d.yaml:33: filers.a.disks.path: in a pair both nodes reach every disk; serve it "
                "with duet-shelf, and write `url: shelf+unix://SOCKET#NAME`"},
        BadPair{kPair, "shelf1.sock#a0\n", "shelf1.sock#a0\n        size: 1GiB\n",
                "d.yaml:34: filers.a.disks.size: a shared disk is as large as its shelf made it; "
                "remove it (`duet-shelf create --size` makes images)"},
        BadPair{kPair, "shelf+unix://run/shelf1.sock#a0", "run/a0.img",
                "d.yaml:33: filers.a.disks.url: run/a0.img: a file has no reservations, so no "
                "node could be shut out; serve it with duet-shelf"},
        BadPair{kPair, "shelf+unix://run/shelf1.sock#a0", "block:///dev/sda",
                "d.yaml:33: filers.a.disks.url: block:///dev/sda: on one host both nodes would be "
                "one to the disk, and could not shut each other out; serve the device with "
                "duet-shelf"},
        BadPair{kPair, "shelf+unix://run/shelf1.sock#a0", "shelf+tls://192.0.2.7:7420/a0",
                "d.yaml:33: filers.a.disks.url: shelf+tls://192.0.2.7:7420/a0: nothing says which "
                "key the shelf has; write `shelf_key_file` in `pair` (`openssl rand -hex 32` makes "
                "one for the shelves and both nodes), or ?key_file=PATH behind the URL"},
        BadPair{kPair, "shelf+unix://run/shelf1.sock#a0", "shelf+unix://run/shelf1.sock",
                "d.yaml:33: filers.a.disks.url: shelf+unix://run/shelf1.sock: a shelf's disk is "
                "shelf+unix://path#name; write shelf+unix://SOCKET#NAME, "
                "shelf+tls://ADDRESS:PORT/NAME, shelf+tcp://ADDRESS:PORT/NAME, "
                "iscsi://HOST[:PORT]/TARGET/UNIT or block:///dev/..."},
        BadPair{kPair, "shelf2.sock#b0", "shelf1.sock#a0",
                "d.yaml:40: shelf+unix://run/shelf1.sock#a0 is used twice; the first is in line "
                "33; give each disk, memory and socket a path of its own"},
        BadPair{kPair, "shelf1.sock#a0\n",
                "shelf1.sock#a0\n        mailbox: true\n        arbitration: true\n",
                "d.yaml:33: filers.a.disks.arbitration: the arbitration disk is no mailbox "
                "member: the loss of one disk must not cost both; give the two to different disks"},
        BadPair{kPair, "shelf1.sock#a0\n      - url: shelf+unix://run/shelf2.sock#a1\n",
                "shelf1.sock#a0\n        arbitration: true\n      - url: "
                "shelf+unix://run/shelf2.sock#a1\n        arbitration: true\n",
                "d.yaml:35: two disks are named for arbitration; the first is in line 33; name "
                "one of the pair's disks"},
        BadPair{kPair,
                "shelf1.sock#a0\n      - url: shelf+unix://run/shelf2.sock#a1\n      - url: "
                "shelf+unix://run/shelf1.sock#a2\n",
                "shelf1.sock#a0\n        mailbox: true\n      - url: x+y\n        mailbox: true\n",
                "d.yaml:35: filers.a.disks.url: x+y: a file has no reservations, so no node could "
                "be shut out; serve it with duet-shelf"},
        BadPair{kTcpPair, "shelf+tcp://192.0.2.7:7420/b0\n",
                "shelf+tcp://192.0.2.7:7420/b0\n        arbitration: true\n",
                "d.yaml:39: filers.b.disks: the arbitration disk is its only one, so there is no "
                "mailbox member; add a disk"}));

TEST(PairConfig, FourMembersAreTooMany) {
  std::string disks;
  for (char i = '0'; i < '4'; ++i) {
    disks += std::string("      - url: shelf+unix://s#b") + i + "\n        mailbox: true\n";
  }
  EXPECT_EQ(refusal(std::string(kPair.substr(
                        0, kPair.find("      - url: shelf+unix://run/shelf2.sock#b0"))) +
                    disks),
            "d.yaml:36: filers.b.disks: 4 disks are mailbox members; name one, two or three");
}

TEST(PairConfig, WithoutAPairItsKeysAreRefused) {
  const std::string alone = with(
      with(kPair, "  interconnect:\n    transport: shared-memory\n    directory: run/link\n", ""),
      "  failover:\n    lease: 500ms\n    beat: 100ms\n", "");
  EXPECT_EQ(refusal(alone),
            "d.yaml:8: nodes.a.mirror: there is no partner that would write there; remove it, or "
            "add `interconnect` to `pair`");
  const std::string unmirrored =
      with(with(alone, "    mirror:\n      path: run/a/mirror.pmem\n      size: 64MiB\n", ""),
           "    mirror:\n      path: run/b/mirror.pmem\n      size: 64MiB\n", "");
  EXPECT_EQ(refusal(unmirrored),
            "d.yaml:21: filers.a.disks.url: only a pair shares disks; remove it, or add "
            "`interconnect` to `pair`");
}

}  // namespace
}  // namespace duet::config
