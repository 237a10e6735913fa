#include "filer/exports.h"

#include "world.h"

namespace duet::filer::testing {
namespace {

Address v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d};
}

TEST(Exports, ClientsAreAddressesSubnetsOrEverybody) {
  for (const char* text : {"*", "10.1.0.0/16", "192.168.1.7", "::1", "fd00::/8", "0.0.0.0/0"}) {
    const Result<ExportRule> parsed = parse_client(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(client_text(parsed.value()), text);
  }
  EXPECT_EQ(client_text(parse_client("10.1.2.3/16").value()), "10.1.0.0/16");
  for (const char* text : {"", "host.example", "10.1.0.0/33", "10.1.0.0/", "10.1.0.0/x", "/8",
                           "::1/129", "10.1", "10.1.0.0/-1", "10.1.0.0/16/8"}) {
    EXPECT_FALSE(parse_client(text).ok()) << text;
  }
}

TEST(Exports, TheFirstRuleThatMatchesCounts) {
  ExportTable table;
  ExportRule some = parse_client("10.1.0.0/15").value();
  some.read_write = false;
  table.exports.push_back({"/v", {parse_client("10.1.2.3").value(), some}});
  EXPECT_TRUE(table.find("/v", v4(10, 1, 2, 3))->read_write);
  EXPECT_FALSE(table.find("/v", v4(10, 1, 2, 4))->read_write);
  EXPECT_FALSE(table.find("/v", v4(10, 0, 0, 1))->read_write);
  EXPECT_EQ(table.find("/v", v4(10, 2, 0, 1)), nullptr);
  EXPECT_EQ(table.find("/w", v4(10, 1, 2, 3)), nullptr);
  const Address v6{0xFD, 1};
  EXPECT_EQ(table.find("/v", v6), nullptr);
}

TEST(Exports, AreKeptAsTextThatReadsBackEqual) {
  ExportTable table;
  ExportRule rule = parse_client("10.1.0.0/16").value();
  rule.read_write = false;
  rule.squash = Squash::kAll;
  rule.anonymous_uid = 1;
  rule.anonymous_gid = 4'294'967'295U;
  rule.secure_ports = true;
  table.exports = {{"/vol \"0\"", {rule, parse_client("*").value()}}, {"/empty", {}}};
  const Result<ExportTable> back = decode_exports(encode(table));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back.value(), table);
}

TEST(Exports, OtherTextIsRefused) {
  for (const char* text :
       {"", "{", "[]", "{\"exports\":1}", "{\"exports\":[{\"path\":\"/v\"}]}",
        "{\"exports\":[{\"path\":\"/v\",\"clients\":[{\"match\":\"nonsense\"}]}]}"}) {
    EXPECT_FALSE(decode_exports(text).ok()) << text;
  }
}

// --- With a filer.

TEST(Exports, ChangeForHandlesThatWereGivenBefore) {
  World world;
  const Handle root = world.root();
  const Handle file = world.create(root, "f");
  ExportRule rule = World::rule("127.0.0.1");
  rule.read_write = false;
  world.share({rule});
  EXPECT_FALSE(world.getattr(file).error.has_value());
  EXPECT_EQ(world.write(file, 0, "x").error, Errc::kReadOnly);
  EXPECT_EQ(world.remove(root, "f").error, Errc::kReadOnly);
  world.share({World::rule("10.0.0.1")});
  EXPECT_EQ(world.getattr(file).error, Errc::kAccess);
  Caller from = world.caller();
  EXPECT_EQ(world.run(world.filer->mount(from, "/vol0")).error, Errc::kAccess);
  from.address = v4(10, 0, 0, 1);
  EXPECT_FALSE(world.run(world.filer->mount(from, "/vol0")).error.has_value());
}

TEST(Exports, MaySpeakToPrivilegedPortsOnly) {
  World world;
  const Handle root = world.root();
  ExportRule rule = World::rule("*");
  rule.secure_ports = true;
  world.share({rule});
  Caller from = world.caller();
  from.port = 1'023;
  EXPECT_FALSE(world.run(world.filer->getattr(from, root.bytes())).error.has_value());
  from.port = 1'024;
  EXPECT_EQ(world.run(world.filer->getattr(from, root.bytes())).error, Errc::kAccess);
  EXPECT_EQ(world.run(world.filer->mount(from, "/vol0")).error, Errc::kAccess);
}

TEST(Exports, SurviveRestartsAndFollowTheirVolumesName) {
  World world;
  const ExportTable before = world.filer->exports();
  world.crash();
  EXPECT_EQ(world.filer->exports(), before);
  const Handle root = world.root();
  ASSERT_TRUE(world.run(world.filer->rename_volume("vol0", "home")).ok());
  EXPECT_FALSE(world.getattr(root).error.has_value());
  EXPECT_EQ(world.root("/home").data, root.data);
  world.stop_and_open();
  EXPECT_EQ(world.root("/home").data, root.data);
  ASSERT_EQ(world.filer->export_lines().size(), 1U);
  EXPECT_EQ(world.filer->export_lines()[0].path, "/home");
  EXPECT_EQ(world.filer->export_lines()[0].clients, std::vector<std::string>{"*"});
}

TEST(Exports, ThatAreTooMuchToReadBackAreRefused) {
  World world;
  const ExportTable before = world.filer->exports();
  ExportTable table = before;
  table.exports.push_back({"/" + std::string(kExportTableBytesMax, 'x'), {}});
  EXPECT_EQ(world.run(world.filer->set_exports(table)).error().code, Errc::kFileTooBig);
  EXPECT_EQ(world.filer->exports(), before);
  // The longest that fits; then a volume cannot have a longer name.
  table.exports.back().path.resize(table.exports.back().path.size() -
                                   (encode(table).size() - kExportTableBytesMax));
  ASSERT_TRUE(world.run(world.filer->set_exports(table)).ok());
  EXPECT_EQ(world.run(world.filer->rename_volume("vol0", "volume0")).error().code,
            Errc::kFileTooBig);
  EXPECT_NE(world.filer->aggregate().find_volume("vol0"), nullptr);
  ASSERT_TRUE(world.run(world.filer->rename_volume("vol0", "v")).ok());
  world.stop_and_open();
  EXPECT_EQ(world.filer->exports().exports.size(), 2U);
}

TEST(Exports, OfTwoChangesAtOnceBothStay) {
  World world;
  std::optional<Status> first;
  std::optional<Status> second;
  const auto add = [](std::string path) {
    return [path](ExportTable& table) -> Status {
      table.exports.push_back({path, {}});
      return Ok{};
    };
  };
  std::optional<Status> cp;
  TaskScope scope(world.scheduler);
  scope.spawn(keep_result(world.filer->consistency_point(), cp));  // both wait for it
  scope.spawn(keep_result(world.filer->change_exports(add("/a")), first));
  scope.spawn(keep_result(world.filer->change_exports(add("/b")), second));
  EXPECT_TRUE(world.scheduler.run_until([&] { return first && second; }, 50'000'000));
  EXPECT_EQ(world.filer->exports().exports.size(), 3U);
}

TEST(Exports, OfTheSystemVolumeThereAreNone) {
  World world;
  ExportTable table = world.filer->exports();
  table.exports.push_back({"/", {World::rule("*")}});
  ASSERT_TRUE(world.run(world.filer->set_exports(table)).ok());
  for (const char* path : {"/", "", "//", "/replies"}) {
    const Caller from = world.caller();
    EXPECT_EQ(world.run(world.filer->mount(from, path)).error, Errc::kNotFound) << path;
  }
}

TEST(Exports, DirectoriesBelowAreMountedByThoseWhoMaySearchTheWay) {
  World world;
  const Handle root = world.root();
  const Handle hidden = world.make_directory(root, "hidden", 0700);
  const Handle below = world.make_directory(hidden, "below", 0777);
  world.create(root, "file");
  EXPECT_EQ(world.root("/vol0/hidden/below").data, below.data);
  EXPECT_EQ(world.root("//vol0/hidden//below/").data, below.data);
  EXPECT_EQ(world.root("/vol0/../..").data, root.data);
  Caller from = world.caller(300, 300);
  EXPECT_EQ(world.run(world.filer->mount(from, "/vol0/hidden/below")).error, Errc::kAccess);
  EXPECT_EQ(world.run(world.filer->mount(from, "/vol0/file")).error, Errc::kNotDirectory);
  EXPECT_EQ(world.run(world.filer->mount(from, "/vol0/nothing")).error, Errc::kNotFound);
  EXPECT_EQ(world.run(world.filer->mount(from, "/vol")).error, Errc::kNotFound);
}

}  // namespace
}  // namespace duet::filer::testing
