#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "config/config.h"

namespace duet::config {
namespace {

// A directory with a configuration whose files can be there or not.
class CheckFiles : public testing::Test {
 protected:
  CheckFiles() {
    std::string pattern = testing::TempDir() + "/duet-config-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    config_.file = "d.yaml";
    Node node;
    node.name = "a";
    node.memory = {{directory_ + "/memory", 6}, 64ULL << 20U, true};
    node.admin.socket = {directory_ + "/admin.sock", 10};
    config_.nodes.push_back(node);
    Filer filer;
    filer.name = "a";
    filer.home = "a";
    filer.disks = {{{directory_ + "/0.img", 16}, 64ULL << 20U},
                   {{directory_ + "/1.img", 18}, 64ULL << 20U}};
    config_.filers.push_back(filer);
  }
  ~CheckFiles() override { std::filesystem::remove_all(directory_); }

  void make(const std::string& name) { std::ofstream(directory_ + "/" + name) << "x"; }

  std::string refusal(Purpose purpose) {
    const std::optional<ConfigError> error = check_files(config_, config_.nodes[0], purpose);
    return error ? error->text() : "fine";
  }

  std::string directory_;
  Config config_;
};

TEST_F(CheckFiles, MissingDisksAreMadeByInitAndRefusedWhenServing) {
  EXPECT_EQ(refusal(Purpose::kFormat), "fine");
  make("memory");
  make("0.img");
  EXPECT_EQ(refusal(Purpose::kServe),
            "d.yaml:18: disk " + directory_ +
                "/1.img: No such file or directory; put it back, or correct its path; for a new "
                "filer run `duet init --config d.yaml` first");
  make("1.img");
  EXPECT_EQ(refusal(Purpose::kServe), "fine");
}

TEST_F(CheckFiles, OneDiskUnderTwoNamesIsRefused) {
  make("memory");
  make("0.img");
  std::filesystem::create_hard_link(directory_ + "/0.img", directory_ + "/1.img");
  EXPECT_THAT(refusal(Purpose::kServe),
              testing::HasSubstr("1.img is the same file as " + directory_ + "/0.img in line 16"));
}

TEST_F(CheckFiles, ADirectoryIsNoDisk) {
  make("memory");
  std::filesystem::create_directory(directory_ + "/0.img");
  EXPECT_THAT(
      refusal(Purpose::kFormat),
      testing::HasSubstr("0.img is neither a file nor a device; name a disk image or a block"));
}

TEST_F(CheckFiles, ASocketPathThatTheKernelCannotHoldIsRefused) {
  config_.nodes[0].admin.socket.text = "/" + std::string(200, 's');
  EXPECT_THAT(refusal(Purpose::kFormat), testing::HasSubstr("the path is longer than 107 bytes"));
}

TEST_F(CheckFiles, TlsFilesMustBeThereWhenServing) {
  make("memory");
  make("0.img");
  make("1.img");
  config_.nodes[0].admin.https = Https{{"127.0.0.1", 9443, 12},
                                       {directory_ + "/cert", 13},
                                       {directory_ + "/key", 14},
                                       {"token", 15}};
  EXPECT_THAT(refusal(Purpose::kServe),
              testing::HasSubstr("d.yaml:13: certificate " + directory_ + "/cert: No such file"));
}

// The same as the node of a pair on one host.
class CheckPairFiles : public CheckFiles {
 protected:
  CheckPairFiles() {
    config_.interconnect = Interconnect{.directory = {directory_ + "/link", 3}};
    config_.nodes[0].mirror = Memory{{directory_ + "/mirror", 8}, 64ULL << 20U, true};
    config_.filers[0].disks = {{.path = {"shelf+unix://nowhere.sock#a0", 16}}};
  }
};

// A node that lost its memories, and a link directory on a tmpfs, come back blank.
TEST_F(CheckPairFiles, DisksAtShelvesAreNotLookedAtAndTheRestIsMadeWhenMissing) {
  EXPECT_EQ(refusal(Purpose::kFormat), "fine");
  EXPECT_EQ(refusal(Purpose::kServe), "fine");
  std::filesystem::create_directory(directory_ + "/mirror");
  EXPECT_EQ(refusal(Purpose::kServe), "d.yaml:8: mirror " + directory_ +
                                          "/mirror is neither a file nor a device; name a disk "
                                          "image or a block device");
}

TEST_F(CheckPairFiles, OneMemoryUnderTwoNamesIsRefused) {
  make("memory");
  std::filesystem::create_hard_link(directory_ + "/memory", directory_ + "/mirror");
  EXPECT_THAT(refusal(Purpose::kFormat), testing::HasSubstr("mirror is the same file as"));
}

TEST_F(CheckPairFiles, AFileIsNoLinkDirectory) {
  make("link");
  EXPECT_EQ(refusal(Purpose::kFormat),
            "d.yaml:3: " + directory_ + "/link is no directory; name another");
  config_.interconnect->directory.text = std::string(81, 'd');
  EXPECT_THAT(refusal(Purpose::kFormat), testing::HasSubstr("the path is longer than 80 bytes"));
}

TEST_F(CheckPairFiles, TheKeyOfALinkOverTcpMustBeThereWhenServing) {
  make("memory");
  make("mirror");
  config_.interconnect =
      Interconnect{.transport = Transport::kTcp, .key_file = Path{directory_ + "/pair.key", 5}};
  EXPECT_EQ(refusal(Purpose::kFormat), "fine");
  EXPECT_THAT(refusal(Purpose::kServe),
              testing::HasSubstr("d.yaml:5: key file " + directory_ + "/pair.key: No such file"));
}

}  // namespace
}  // namespace duet::config
