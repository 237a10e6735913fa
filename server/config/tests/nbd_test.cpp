// Virtual disks that hosts attach over NBD.

#include <gtest/gtest.h>

#include <string>

#include "config/config.h"
#include "refusal.h"

namespace duet::config {
namespace {

using testing::BadFile;
using testing::refusal;

constexpr std::string_view kGood = R"(pair:
  name: sample
raid:
  - name: tank
    level: raid5
    disks:
      - {path: run/0.img, size: 1GiB}
      - {path: run/1.img, size: 1GiB}
      - {path: run/2.img, size: 1GiB}
    virtual_disks:
      - name: host
        size: 256MiB
        nbd:
          clients:
            - {match: 10.1.0.5, access: ro}
            - match: 10.1.0.0/16
      - {name: files}
nodes:
  a:
    memory: {path: run/nvlog.pmem, size: 128MiB}
    admin: {socket: run/admin.sock}
    nbd: {addresses: [127.0.0.2, "::1"]}
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    disks:
      - raid: tank/files
)";

TEST(NbdConfig, IsReadAsItStands) {
  const Outcome<Config> outcome = parse(kGood, "d.yaml");
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  const std::vector<VirtualDisk>& disks = outcome.value().groups[0].virtual_disks;
  ASSERT_EQ(disks.size(), 2U);
  EXPECT_TRUE(disks[0].exported());
  EXPECT_EQ(disks[0].nbd_line, 13);
  ASSERT_EQ(disks[0].nbd_clients.size(), 2U);
  EXPECT_FALSE(disks[0].nbd_clients[0].read_write);
  EXPECT_EQ(filer::client_text(disks[0].nbd_clients[0]), "10.1.0.5");
  EXPECT_TRUE(disks[0].nbd_clients[1].read_write);
  EXPECT_EQ(filer::client_text(disks[0].nbd_clients[1]), "10.1.0.0/16");
  EXPECT_FALSE(disks[1].exported());
  EXPECT_EQ(disks[0].answer, raid::Answer::kSynchronous);
  EXPECT_EQ(disks[1].answer, raid::Answer::kWritten);
  const std::vector<Listener>& listeners = outcome.value().nodes[0].nbd;
  ASSERT_EQ(listeners.size(), 2U);
  EXPECT_EQ(listeners[0].address, "127.0.0.2");
  EXPECT_EQ(listeners[0].port, 10809);
  EXPECT_EQ(listeners[1].address, "::1");
}

TEST(NbdConfig, WritesAreAnsweredAsTheFileSays) {
  const auto answer = [](const std::string& word) {
    const Outcome<Config> outcome =
        parse(testing::replaced(kGood, "        nbd:\n",
                                "        nbd:\n          answer: " + word + "\n"),
              "d.yaml");
    EXPECT_TRUE(outcome.ok()) << outcome.error().text();
    return outcome.value().groups[0].virtual_disks[0];
  };
  EXPECT_EQ(answer("written").answer, raid::Answer::kWritten);
  EXPECT_TRUE(answer("written").answers_last());
  EXPECT_TRUE(answer("synchronous").answers_last());
  EXPECT_EQ(answer("pseudo-synchronous").answer, raid::Answer::kPseudoSynchronous);
  EXPECT_FALSE(answer("pseudo-synchronous").answers_last());
  EXPECT_EQ(answer("asynchronous").answer, raid::Answer::kAsynchronous);
  EXPECT_FALSE(answer("asynchronous").answers_last());
}

class RefusedNbd : public ::testing::TestWithParam<BadFile> {};

TEST_P(RefusedNbd, WithLineAndRemedy) {
  EXPECT_EQ(refusal(testing::replaced(kGood, GetParam().from, GetParam().to)), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedNbd,
    ::testing::Values(
        BadFile{"tank/files", "tank/host",
                "d.yaml:28: filers.a.disks.raid: virtual disk tank/host is for hosts, over NBD "
                "(line 13); name another one here, or remove its `nbd`: a filer's disk is the "
                "filer's alone"},
        BadFile{"tank/files", "tank/none",
                "d.yaml:28: filers.a.disks.raid: there is no virtual disk \"tank/none\"; write "
                "GROUP/DISK, one of: tank/files"},
        BadFile{"    nbd: {addresses: [127.0.0.2, \"::1\"]}\n", "",
                "d.yaml:13: virtual disk \"host\" is for hosts, over NBD, and node a has no "
                "address for that; write `nbd: {addresses: [ADDRESS]}` under nodes.a"},
        BadFile{"        nbd:\n          clients:\n            - {match: 10.1.0.5, access: ro}\n"
                "            - match: 10.1.0.0/16\n",
                "",
                "d.yaml:18: nodes.a.nbd: no virtual disk of its groups is for hosts; write `nbd` "
                "at one under `raid`, or remove this"},
        BadFile{"10.1.0.5", "ten",
                "d.yaml:15: raid.virtual_disks.nbd.clients.match: \"ten\" matches no client; write "
                "an address, a subnet such as 10.1.0.0/16, or \"*\""},
        BadFile{"access: ro", "access: no",
                "d.yaml:15: raid.virtual_disks.nbd.clients.access: \"no\" is not known; write rw "
                "or ro"},
        BadFile{"access: ro", "squash: root",
                "d.yaml:15: raid.virtual_disks.nbd.clients.squash: no such key; correct or remove "
                "it; known here: match, access"},
        BadFile{"        nbd:\n", "        nbd:\n          answer: soon\n",
                "d.yaml:14: raid.virtual_disks.nbd.answer: \"soon\" is not known; write written, "
                "synchronous, pseudo-synchronous or asynchronous"},
        BadFile{"127.0.0.2", "here",
                "d.yaml:22: nodes.a.nbd.addresses: \"here\" is not an address; write an IPv4 or "
                "IPv6 address; host names are not looked up"},
        BadFile{"[127.0.0.2, \"::1\"]", "[127.0.0.1], port: 2049",
                "d.yaml:22: 127.0.0.1 port 2049 is used twice; the first is in line 26; give one "
                "of them another address or port"},
        BadFile{"[127.0.0.2, \"::1\"]", "[127.0.0.2], ports: 2",
                "d.yaml:22: nodes.a.nbd.ports: no such key; correct or remove it; known here: "
                "addresses, port"}));

}  // namespace
}  // namespace duet::config
