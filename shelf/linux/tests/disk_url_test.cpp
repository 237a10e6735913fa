#include "shelf/linux/disk_url.h"

#include <gtest/gtest.h>

namespace duet::shelf {
namespace {

TEST(DiskUrl, KnowsTheKindsOfDisks) {
  const auto unix_disk = DiskUrl::parse("shelf+unix:///run/a b/s.sock#d0");
  ASSERT_TRUE(unix_disk.ok());
  EXPECT_EQ(unix_disk.value().kind, DiskUrl::Kind::kShelfUnix);
  EXPECT_EQ(unix_disk.value().path, "/run/a b/s.sock");
  EXPECT_EQ(unix_disk.value().disk, "d0");
  const auto relative = DiskUrl::parse("shelf+unix://run/s.sock#d0");
  ASSERT_TRUE(relative.ok());
  EXPECT_EQ(relative.value().kind, DiskUrl::Kind::kShelfUnix);
  EXPECT_EQ(relative.value().path, "run/s.sock");
  EXPECT_EQ(relative.value().disk, "d0");
  const auto tcp = DiskUrl::parse("shelf+tcp://127.0.0.1:7420/d0");
  ASSERT_TRUE(tcp.ok());
  EXPECT_EQ(tcp.value().kind, DiskUrl::Kind::kShelfTcp);
  EXPECT_EQ(tcp.value().address, os::TcpAddress::loopback(7420));
  EXPECT_EQ(tcp.value().disk, "d0");
  const auto tls = DiskUrl::parse("shelf+tls://192.0.2.7:7420/d0?key_file=/etc/duet/shelf key");
  ASSERT_TRUE(tls.ok());
  EXPECT_EQ(tls.value().kind, DiskUrl::Kind::kShelfTls);
  EXPECT_EQ(tls.value().disk, "d0");
  EXPECT_EQ(tls.value().key_file, "/etc/duet/shelf key");
  EXPECT_EQ(DiskUrl::parse("shelf+tls://192.0.2.7:7420/d0").value().key_file, "");
  const auto v6 = DiskUrl::parse("shelf+tcp://[2001:db8::7]:1/x");
  ASSERT_TRUE(v6.ok());
  EXPECT_EQ(v6.value().address.text(), "[2001:db8::7]:1");
  EXPECT_EQ(DiskUrl::parse("block:///dev/sda").value().path, "/dev/sda");
  EXPECT_EQ(DiskUrl::parse("block:///dev/sda").value().kind, DiskUrl::Kind::kBlock);
  EXPECT_EQ(DiskUrl::parse("iscsi://h/iqn/1").value().kind, DiskUrl::Kind::kIscsi);
  EXPECT_EQ(DiskUrl::parse("run/d0.img").value().kind, DiskUrl::Kind::kFile);
  EXPECT_EQ(DiskUrl::parse("run/d0.img").value().path, "run/d0.img");
}

TEST(DiskUrl, RefusesTheRest) {
  for (const char* const bad :
       {"", "shelf+unix://#d0", "shelf+unix:///run/s", "shelf+unix:///run/s#",
        "shelf+tcp://127.0.0.1/d0", "shelf+tcp://127.0.0.1:7420", "shelf+tcp://127.0.0.1:7420/",
        "shelf+tcp://127.0.0.1:x/d0", "shelf+tcp://127.0.0.1:70000/d0", "shelf+tcp://::1:7/d0",
        "shelf+tcp://[127.0.0.1]:7/d0", "shelf+tcp://host:7/d0", "block://sda", "http://x/y",
        "shelf+tcp://127.0.0.1:/d0", "shelf+tls://127.0.0.1:7/d0?key_file=",
        "shelf+tls://127.0.0.1:7/d0?key=x", "shelf+tls://127.0.0.1:7/?key_file=x"}) {
    const auto parsed = DiskUrl::parse(bad);
    EXPECT_FALSE(parsed.ok()) << bad;
  }
  const std::string directory(99, 'x');  // a socket's path has at most 107 bytes
  EXPECT_TRUE(DiskUrl::parse("shelf+unix:///" + directory + "/s.sock#d").ok());
  EXPECT_FALSE(DiskUrl::parse("shelf+unix:///" + directory + "/s.socks#d").ok());
  const std::string long_name = "shelf+tcp://127.0.0.1:7/" + std::string(65, 'x');
  EXPECT_FALSE(DiskUrl::parse(long_name).ok());
}

TEST(DiskUrl, PasswordsAreNotShown) {
  EXPECT_EQ(without_password("iscsi://duet%se@c%ret@h:3260/iqn.x/1"),
            "iscsi://duet@h:3260/iqn.x/1");
  for (const char* const open : {"iscsi://duet@h/iqn.x/1", "iscsi://h/iqn.x%@/1",
                                 "shelf+unix://run/s%@.sock#d0", "iscsi://", ""}) {
    EXPECT_EQ(without_password(open), open);
  }
}

TEST(DiskUrl, AKeyFileIsNoneOfADisksName) {
  EXPECT_EQ(without_key_file("shelf+tls://h:7/d0?key_file=/etc/duet/shelf.key"),
            "shelf+tls://h:7/d0");
  for (const char* const all : {"shelf+tls://h:7/d0", "shelf+tcp://h:7/d0?", "run/d0?.img", ""}) {
    EXPECT_EQ(without_key_file(all), all);
  }
}

}  // namespace
}  // namespace duet::shelf
