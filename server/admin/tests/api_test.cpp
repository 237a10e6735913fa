#include "admin/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "world.h"

namespace duet::admin {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::Not;

Task<ServerCounters> counted() {
  ServerCounters counters;
  counters.connections = 3;
  ProcedureCounters procedure;
  procedure.program = "nfs3";
  procedure.procedure = "GETATTR";
  procedure.calls = 2;
  procedure.total_ns = 3000;
  procedure.buckets[1] = 2;
  counters.procedures.push_back(procedure);
  co_return counters;
}

class ApiTest : public testing::Test {
 protected:
  ApiTest()
      : api_(Context{
            .version = "1",
            .pair = "p",
            .node = "a",
            .filer_name = "a",
            .config_file = "d.yaml",
            .addresses = {"127.0.0.1:2049"},
            .memory = {"memory", 64U << 20U, false, true},
            .started = world_.scheduler.now(),
            .scheduler = world_.scheduler,
            .clock = world_.clock,
            .filer = *world_.filer,
            .counters = counted,
            .disks =
                [] {
                  return std::vector<DiskInfo>{{"disk0", 4096}};
                },
            .read_exports = [this] { return file_exports_; },
            .open_disk =
                [](const std::string&) {
                  return std::pair<BlockDevice*, std::string>(nullptr, "no such disk");
                },
            .close_disk = [](BlockDevice*) {},
            .groups = [this] { return groups_; },
            .order_raid = [this](RaidOrder order) { return carry_out(std::move(order)); }}) {}

  Response call(const std::string& method, const std::string& path, const std::string& body = "") {
    Request request;
    request.method = method;
    request.path = path;
    request.body = body;
    return world_.run(api_.handle(request));
  }
  Json get(const std::string& path) {
    const Response response = call("GET", path);
    EXPECT_EQ(response.status, 200) << response.body;
    return Json::parse(response.body);
  }

  Task<RaidOutcome> carry_out(RaidOrder order) {
    asked_ = order;
    RaidOutcome outcome;
    if (order.group != "tank") {
      outcome.wrong = "there is no redundancy group " + order.group;
    } else if (order.verb == RaidOrder::Verb::kRemoveDisk) {
      outcome.note = "it can be pulled";
    } else if (order.verb == RaidOrder::Verb::kReplace) {
      outcome.note = "leave the old one listed";
    }
    co_return outcome;
  }
  // What is said against it, and what to do.
  std::string refused(const std::string& verb, const Json& body, int status = 409) {
    const Response response = call("POST", "/v1/disks/" + verb, body.dump());
    EXPECT_EQ(response.status, status) << response.body;
    const Json error = Json::parse(response.body)["error"];
    return error["message"].get<std::string>() + "; " + error["remedy"].get<std::string>();
  }

  Task<bool> stopped() {
    co_await api_.stop();
    co_return true;
  }

  filer::testing::World world_;
  std::variant<filer::ExportTable, std::string> file_exports_ = std::string("d.yaml:7: bad");
  std::vector<RaidGroupInfo> groups_;
  RaidOrder asked_;
  Api api_;
};

TEST_F(ApiTest, StatusTellsThatMemoryIsNotPersistent) {
  const Json status = get("/v1/status");
  EXPECT_FALSE(status["memory"]["persistent"].get<bool>());
  EXPECT_EQ(status["health"], "warning");
  EXPECT_THAT(status["warnings"][0].get<std::string>(), HasSubstr("not a loss of power"));
  EXPECT_EQ(status["connections"], 3);
  EXPECT_EQ(status["volumes"][0]["name"], "vol0");
}

TEST_F(ApiTest, RedundancyGroupsAreToldWithTheirDisksAndWhatTheyWrote) {
  EXPECT_EQ(get("/v1/raid")["groups"].size(), 0U);
  EXPECT_EQ(get("/v1/status")["raid"].size(), 0U);
  RaidGroupInfo group = {
      .name = "tank",
      .level = "raid6",
      .can_lose = 1,
      .redundancy = 2,
      .background_bytes_per_s = 5U << 20U,
      .disks = {{.path = "d0", .number = 0, .state = "in_sync", .blocks_put_right = 7},
                {.path = "d1", .number = 1, .state = "failed", .problem = "gone"},
                {.path = "s0", .number = std::nullopt, .state = "spare"}},
      .virtual_disks = {{"all", 4096}},
      .whole_stripes = 30,
      .read_modify = 10,
      .healed = 7,
      .passed_by = 5};
  groups_ = {group};
  const Json told = get("/v1/raid")["groups"][0];
  EXPECT_EQ(told, get("/v1/status")["raid"][0]);
  EXPECT_EQ(told["state"], "degraded");
  EXPECT_EQ(told["can_lose"], 1);
  EXPECT_EQ(told["background_bytes_per_second"], 5U << 20U);
  EXPECT_EQ(told["disks"][1], (Json{{"path", "d1"},
                                    {"number", 1},
                                    {"state", "failed"},
                                    {"problem", "gone"},
                                    {"blocks_put_right", 0}}));
  EXPECT_EQ(told["disks"][0]["blocks_put_right"], 7);
  EXPECT_FALSE(told["disks"][2].contains("number"));
  EXPECT_EQ(told["counters"]["whole_stripe_updates"], 30);
  EXPECT_EQ(told["counters"]["read_modify_updates"], 10);
  EXPECT_EQ(told["counters"]["whole_stripe_percent"], 75);
  EXPECT_EQ(told["counters"]["healed_blocks"], 7);
  const std::string metrics = call("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("duet_raid_degraded{group=\"tank\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_can_lose_disks{group=\"tank\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_disk_in_sync{group=\"tank\",disk=\"1\"} 0\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_updates_total{group=\"tank\",kind=\"whole\"} 30\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_healed_blocks_total{group=\"tank\"} 7\n"));
  EXPECT_THAT(metrics,
              HasSubstr("duet_raid_put_right_blocks_total{group=\"tank\",disk=\"0\"} 7\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_rebuild_stripes_total{group=\"tank\",kind="
                                 "\"passed_by\"} 5\n"));
  EXPECT_FALSE(told.contains("rebuild"));
  groups_[0].rebuild = RaidGroupInfo::Rebuild{.stripes = 200, .done = 50, .stripes_per_second = 10};
  EXPECT_EQ(get("/v1/raid")["groups"][0]["rebuild"]["done_percent"], 25);
  EXPECT_EQ(get("/v1/raid")["groups"][0]["rebuild"]["seconds_left"], 15.0);
  groups_[0].rebuild.reset();
  groups_[0].can_lose = 2;
  EXPECT_EQ(get("/v1/raid")["groups"][0]["state"], "optimal");
  groups_[0].can_lose.reset();
  EXPECT_EQ(get("/v1/raid")["groups"][0]["state"], "failed");
}

TEST_F(ApiTest, AGroupThatIsNotManagedHereIsToldWithoutFigures) {
  RaidGroupInfo well = {.name = "pool", .can_lose = 1, .redundancy = 1};
  RaidGroupInfo away = {
      .name = "tank",
      .level = "raid6",
      .managed = false,
      .why_not = "too few disks; put them back",
      .disks = {
          {.path = "run/d0", .number = std::nullopt, .state = "unknown", .problem = "no reach"}}};
  groups_ = {well, away};
  const Json groups = get("/v1/raid")["groups"];
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0]["managed"], true);
  EXPECT_EQ(groups[1], (Json{{"name", "tank"},
                             {"level", "raid6"},
                             {"state", "not_managed"},
                             {"managed", false},
                             {"reason", "too few disks; put them back"},
                             {"disks",
                              {{{"path", "run/d0"},
                                {"state", "unknown"},
                                {"problem", "no reach"},
                                {"blocks_put_right", 0}}}}}));
  const std::string metrics = call("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("duet_raid_degraded{group=\"tank\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_degraded{group=\"pool\"} 0\n"));
  EXPECT_THAT(metrics, HasSubstr("duet_raid_can_lose_disks{group=\"pool\"} 1\n"));
  EXPECT_THAT(metrics, Not(HasSubstr("duet_raid_can_lose_disks{group=\"tank\"}")));
  EXPECT_THAT(metrics, Not(HasSubstr("duet_raid_reads_total{group=\"tank\"}")));
  // Its disks have their names, so that an order reaches what says why it is refused.
  EXPECT_EQ(call("POST", "/v1/disks/fail", R"({"disk": "d0"})").status, 200);
  EXPECT_EQ(asked_.group, "tank");
}

TEST_F(ApiTest, ADiskOfAGroupIsFailedByName) {
  EXPECT_EQ(call("POST", "/v1/raid/tank/fail", R"({"disk": "d1"})").status, 200);
  EXPECT_EQ(asked_.group, "tank");
  EXPECT_EQ(asked_.disk, "d1");
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kFail);
  const Response replaced =
      call("POST", "/v1/raid/tank/replace", R"({"disk": "d1", "path": "n", "force": true})");
  EXPECT_EQ(replaced.status, 200);
  EXPECT_EQ(Json::parse(replaced.body), (Json{{"note", "leave the old one listed"}}));
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kReplace);
  EXPECT_EQ(asked_.path, "n");
  EXPECT_TRUE(asked_.force);
  EXPECT_EQ(call("POST", "/v1/raid/tank/spare", R"({"path": "n"})").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kAddSpare);
  EXPECT_FALSE(asked_.force);
  EXPECT_EQ(call("DELETE", "/v1/raid/tank/spare", R"({"path": "n"})").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kRemoveSpare);
  EXPECT_EQ(call("POST", "/v1/raid/tank/scrub", "{}").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kScrub);
  EXPECT_FALSE(asked_.trust_data);
  EXPECT_EQ(call("POST", "/v1/raid/tank/scrub", R"({"trust_data": true})").status, 200);
  EXPECT_TRUE(asked_.trust_data);
  EXPECT_EQ(call("POST", "/v1/raid/tank/scrub").status, 200);
  EXPECT_FALSE(asked_.trust_data);
  EXPECT_EQ(call("POST", "/v1/raid/tank/scrub", R"({"trust_data": 1})").status, 400);
  EXPECT_EQ(call("POST", "/v1/raid/tank/scrub", R"({"force": true})").status, 400);
  EXPECT_EQ(call("DELETE", "/v1/raid/tank/scrub", "{}").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kStopScrub);
  EXPECT_EQ(call("POST", "/v1/raid/tank/add", R"({"paths": ["n", "m"]})").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kExpand);
  EXPECT_EQ(asked_.paths, (std::vector<std::string>{"n", "m"}));
  EXPECT_EQ(call("POST", "/v1/raid/tank/virtual", R"({"name": "v", "bytes": 8192})").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kAddVirtual);
  EXPECT_EQ(asked_.name, "v");
  EXPECT_EQ(asked_.bytes, 8192U);
  for (const char* const body :
       {"{}", R"({"paths": []})", R"({"paths": "n"})", R"({"paths": [1]})"}) {
    EXPECT_EQ(call("POST", "/v1/raid/tank/add", body).status, 400) << body;
  }
  EXPECT_EQ(call("POST", "/v1/raid/tank/virtual", R"({"name": "v"})").status, 400);
  EXPECT_EQ(call("POST", "/v1/raid/tank/virtual", R"({"name": "v", "bytes": -1})").status, 400);
  EXPECT_EQ(call("DELETE", "/v1/raid/tank/add", R"({"paths": ["n"]})").status, 405);
  groups_ = {{.name = "tank"}};
  groups_[0].expansion = RaidGroupInfo::Expansion{
      .disks_before = 3, .disks_after = 4, .stripes = 8, .done = 2, .stripes_per_second = 2};
  EXPECT_EQ(get("/v1/raid")["groups"][0]["expansion"]["done_percent"], 25);
  EXPECT_EQ(get("/v1/raid")["groups"][0]["expansion"]["seconds_left"], 3.0);
  groups_[0].expansion.reset();
  EXPECT_FALSE(get("/v1/raid")["groups"][0].contains("expansion"));
  groups_[0].scrub = RaidGroupInfo::Scrub{.running = true,
                                          .stripes = 8,
                                          .done = 2,
                                          .unsure = 1,
                                          .trusted = 3,
                                          .loose = 4,
                                          .loose_left = 5};
  EXPECT_EQ(get("/v1/raid")["groups"][0]["scrub"]["done_percent"], 25);
  EXPECT_EQ(get("/v1/raid")["groups"][0]["scrub"]["unsure_rows"], 1);
  EXPECT_EQ(get("/v1/raid")["groups"][0]["scrub"]["trusted_rows"], 3);
  EXPECT_EQ(get("/v1/raid")["groups"][0]["scrub"]["loose_rows"], 4);
  EXPECT_EQ(get("/v1/raid")["groups"][0]["scrub"]["loose_left_rows"], 5);
  EXPECT_EQ(call("POST", "/v1/raid/tank/replace", R"({"path": "n"})").status, 400);
  EXPECT_EQ(call("POST", "/v1/raid/tank/spare", R"({"disk": "n"})").status, 400);
  EXPECT_EQ(call("POST", "/v1/raid/tank/spare", R"({"path": "n", "force": 1})").status, 400);
  EXPECT_EQ(call("POST", "/v1/raid/tank/eat", R"({"path": "n"})").status, 404);
  EXPECT_EQ(call("POST", "/v1/raid/pool/fail", R"({"disk": "d1"})").status, 409);
  EXPECT_EQ(call("POST", "/v1/raid/tank/fail", R"({"disk": 1})").status, 400);
  EXPECT_EQ(call("GET", "/v1/raid/tank/fail").status, 405);
  EXPECT_EQ(call("POST", "/v1/raid/tank").status, 404);
  EXPECT_EQ(call("POST", "/v1/raid").status, 405);
}

// Two groups: one with a disk in each state, and one whose order fails.
std::vector<RaidGroupInfo> groups_of_all_states() {
  RaidGroupInfo tank = {
      .name = "tank",
      .disks = {{.path = "run/d0", .number = 0, .state = "in_sync", .bytes = 8192},
                {.path = "run/d1", .number = 1, .state = "failed", .problem = "gone"},
                {.path = "run/d2", .number = 2, .state = "rebuilding", .bytes = 8192},
                {.path = "run/s", .number = std::nullopt, .state = "spare", .bytes = 8192},
                {.path = "run/old", .number = std::nullopt, .state = "unused", .bytes = 8192},
                {.path = "", .number = 3, .state = "failed"}},
      .virtual_disks = {{"all", 4096}},
      .rebuild = RaidGroupInfo::Rebuild{.stripes = 5, .done = 2}};
  RaidGroupInfo pool = {
      .name = "pool",
      .disks = {{.path = "run/p0", .number = 0, .state = "in_sync"},
                {.path = "shelf+unix://run/x.sock#c5", .number = 2, .state = "failed"},
                {.path = "other/d0", .number = 1, .state = "in_sync"}}};
  return {tank, pool};
}

TEST_F(ApiTest, DisksOfGroupsAreListedWithTheirStates) {
  EXPECT_EQ(get("/v1/disks"), (Json{{"disks", {{{"path", "disk0"}, {"bytes", 4096}}}},
                                    {"group_disks", Json::array()}}));
  groups_ = groups_of_all_states();
  const Json disks = get("/v1/disks")["group_disks"];
  ASSERT_EQ(disks.size(), 9U);
  EXPECT_EQ(disks[0], (Json{{"path", "run/d0"},
                            {"bytes", 8192},
                            {"group", "tank"},
                            {"number", 0},
                            {"state", "in_sync"}}));
  EXPECT_EQ(disks[1]["problem"], "gone");
  EXPECT_EQ(disks[2]["done_percent"], 40);
  EXPECT_FALSE(disks[0].contains("done_percent"));
  EXPECT_FALSE(disks[3].contains("number"));
  EXPECT_EQ(disks[5]["path"], "");
  EXPECT_EQ(disks[6]["group"], "pool");
}

TEST_F(ApiTest, ADiskIsOrderedByItsPathAlone) {
  groups_ = groups_of_all_states();
  EXPECT_EQ(call("POST", "/v1/disks/fail", R"({"disk": "run/d0"})").status, 200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kFail);
  EXPECT_EQ(asked_.group, "tank");
  EXPECT_EQ(asked_.disk, "run/d0");
  EXPECT_EQ(call("POST", "/v1/disks/fail", R"({"disk": "d2"})").status, 200);
  EXPECT_EQ(asked_.disk, "run/d2");
  EXPECT_EQ(
      call("POST", "/v1/disks/replace", R"({"disk": "d1", "path": "n", "force": true})").status,
      200);
  EXPECT_EQ(asked_.verb, RaidOrder::Verb::kReplace);
  EXPECT_EQ(asked_.disk, "run/d1");
  EXPECT_EQ(asked_.path, "n");
  EXPECT_TRUE(asked_.force);
  for (const char* const disk : {"d1", "s", "old"}) {
    const Response removed = call("POST", "/v1/disks/remove", Json{{"disk", disk}}.dump());
    EXPECT_EQ(removed.status, 200);
    EXPECT_EQ(Json::parse(removed.body), (Json{{"group", "tank"}, {"note", "it can be pulled"}}));
    EXPECT_EQ(asked_.verb, RaidOrder::Verb::kRemoveDisk);
    EXPECT_EQ(asked_.disk, std::string("run/") + disk);
  }
  EXPECT_THAT(refused("fail", {{"disk", "c5"}}), HasSubstr("no redundancy group pool"));
  EXPECT_EQ(asked_.disk, "shelf+unix://run/x.sock#c5");
  // As the configuration file may name it, with the key's file.
  groups_[1].disks[1].path = "shelf+tls://192.0.2.7:7420/c6";
  EXPECT_EQ(call("POST", "/v1/disks/replace",
                 R"({"disk": "shelf+tls://192.0.2.7:7420/c6?key_file=k", "path": "n"})")
                .status,
            409);
  EXPECT_EQ(asked_.disk, "shelf+tls://192.0.2.7:7420/c6");
  // What the group says against it.
  EXPECT_THAT(refused("fail", {{"disk", "run/p0"}}), HasSubstr("no redundancy group pool"));
}

TEST_F(ApiTest, ADiskThatIsInUseIsRefusedWithWhatToDoFirst) {
  groups_ = groups_of_all_states();
  asked_.group = "nobody";
  EXPECT_EQ(refused("remove", {{"disk", "run/d0"}}),
            "group tank uses disk run/d0; `duet disk fail run/d0` takes it out first");
  EXPECT_EQ(refused("remove", {{"disk", "run/d2"}}),
            "group tank uses disk run/d2; `duet disk fail run/d2` takes it out first");
  EXPECT_EQ(refused("replace", {{"disk", "p0"}, {"path", "n"}}),
            "disk run/p0 of group pool has not failed; `duet disk fail run/p0` takes it out first");
  EXPECT_EQ(refused("replace", {{"disk", "s"}, {"path", "n"}}),
            "disk run/s is a spare of group tank, and holds nothing; `duet disk remove run/s` "
            "takes it away");
  EXPECT_EQ(refused("fail", {{"disk", "s"}}),
            "disk run/s is a spare of group tank, and holds nothing; `duet disk remove run/s` "
            "takes it away");
  EXPECT_EQ(refused("replace", {{"disk", "old"}, {"path", "n"}}),
            "group tank does not use disk run/old: nothing is to be replaced; `duet raid spare "
            "tank n` makes the new disk a spare");
  EXPECT_EQ(refused("fail", {{"disk", "old"}}),
            "group tank does not use disk run/old; `duet disk remove run/old` lets go of it");
  EXPECT_EQ(refused("fail", {{"disk", "d0"}}),
            "d0 could be run/d0 or other/d0; write the whole path");
  for (const char* const verb : {"fail", "remove"}) {
    EXPECT_THAT(refused(verb, {{"disk", "disk0"}}),
                HasSubstr("disk disk0 belongs to the aggregate itself, and to no redundancy group: "
                          "nothing else has what it holds, so it can only be lost with the "
                          "aggregate; send the volumes"));
    EXPECT_THAT(refused(verb, {{"disk", "tank/all"}}), HasSubstr("is a virtual disk of"));
    EXPECT_EQ(refused(verb, {{"disk", "none"}}, 404),
              "there is no disk none; `duet disk list` shows all disks");
    EXPECT_EQ(refused(verb, {{"disk", ""}}, 404),
              "there is no disk ; `duet disk list` shows all disks");
  }
  EXPECT_EQ(asked_.group, "nobody") << "something was ordered";
  for (const char* const body : {"{}", R"({"disk": 1})", R"({"disk": "d1", "group": "tank"})",
                                 R"({"disk": "d1", "path": "n"})"}) {
    EXPECT_EQ(call("POST", "/v1/disks/fail", body).status, 400) << body;
  }
  for (const char* const body :
       {R"({"disk": "d1"})", R"({"disk": "d1", "path": "n", "force": 1})"}) {
    EXPECT_EQ(call("POST", "/v1/disks/replace", body).status, 400) << body;
  }
  EXPECT_EQ(call("GET", "/v1/disks/fail").status, 405);
  EXPECT_EQ(call("POST", "/v1/disks/eat", "{}").status, 404);
  EXPECT_EQ(call("POST", "/v1/disks/fail/d1", "{}").status, 404);
  EXPECT_EQ(call("DELETE", "/v1/disks", "{}").status, 405);
}

TEST_F(ApiTest, AVolumeIsMadeLimitedRenamedAndDestroyed) {
  EXPECT_EQ(call("POST", "/v1/volumes", R"({"name": "x", "limit_bytes": 1048576})").status, 200);
  EXPECT_EQ(get("/v1/volumes/x")["limit_bytes"], 1048576);
  EXPECT_EQ(call("PATCH", "/v1/volumes/x", R"({"limit_bytes": 0})").status, 200);
  EXPECT_EQ(get("/v1/volumes/x")["limit_bytes"], 0);
  EXPECT_EQ(call("PATCH", "/v1/volumes/x", R"({"name": "y"})").status, 200);
  EXPECT_EQ(call("GET", "/v1/volumes/x").status, 404);
  EXPECT_EQ(call("DELETE", "/v1/volumes/y").status, 200);
  EXPECT_EQ(call("GET", "/v1/volumes/y").status, 404);
}

TEST_F(ApiTest, ASnapshotIsRestoredOnlyWhenTheNewerOnesAreNamed) {
  for (const char* name : {"one", "two", "three"}) {
    EXPECT_EQ(call("POST", "/v1/volumes/vol0/snapshots", Json{{"name", name}}.dump()).status, 200);
  }
  EXPECT_EQ(
      call("POST", "/v1/volumes/vol0/snapshots/one/restore", R"({"delete_newer": ["two"]})").status,
      409);
  EXPECT_EQ(get("/v1/volumes/vol0/snapshots")["snapshots"].size(), 3U);
  EXPECT_EQ(call("POST", "/v1/volumes/vol0/snapshots/one/restore",
                 R"({"delete_newer": ["two", "three"]})")
                .status,
            200);
  EXPECT_EQ(get("/v1/volumes/vol0/snapshots")["snapshots"].size(), 1U);
}

TEST_F(ApiTest, AClonedSnapshotIsNamedByWhatItKeepsFromGoing) {
  ASSERT_EQ(call("POST", "/v1/volumes/vol0/snapshots", R"({"name": "s"})").status, 200);
  const std::string clone = "/v1/volumes/vol0/snapshots/s/clone";
  EXPECT_EQ(call("POST", clone, R"({"name": "vol0"})").status, 409);
  EXPECT_EQ(call("POST", clone, R"({"name": 7})").status, 400);
  EXPECT_EQ(call("POST", "/v1/volumes/vol0/snapshots/none/clone", R"({"name": "c"})").status, 404);
  ASSERT_EQ(call("POST", clone, R"({"name": "c", "limit_bytes": 4096000})").status, 200);
  const Json volume = get("/v1/volumes/c");
  EXPECT_EQ(volume["origin"]["volume"], "vol0");
  EXPECT_EQ(volume["origin"]["snapshot"], "s");
  EXPECT_EQ(volume["limit_bytes"], 4096000);
  EXPECT_EQ(volume["used_bytes"], 0);
  EXPECT_FALSE(get("/v1/volumes/vol0").contains("origin"));
  EXPECT_EQ(get("/v1/volumes/vol0/snapshots")["snapshots"][0]["clones"], Json{"c"});
  for (const char* path : {"/v1/volumes/vol0/snapshots/s", "/v1/volumes/vol0"}) {
    const Response refused = call("DELETE", path);
    EXPECT_EQ(refused.status, 409);
    EXPECT_THAT(refused.body, HasSubstr("c (of s)"));
  }
  ASSERT_EQ(call("POST", "/v1/volumes/vol0/snapshots", R"({"name": "t"})").status, 200);
  ASSERT_EQ(call("POST", "/v1/volumes/vol0/snapshots/t/clone", R"({"name": "d"})").status, 200);
  const Response refused =
      call("POST", "/v1/volumes/vol0/snapshots/s/restore", R"({"delete_newer": ["t"]})");
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(refused.body, HasSubstr("d (of t)"));
  EXPECT_THAT(refused.body, testing::Not(HasSubstr("c (of s)")));
  EXPECT_EQ(call("DELETE", "/v1/volumes/c").status, 200);
  EXPECT_EQ(call("DELETE", "/v1/volumes/d").status, 200);
  EXPECT_EQ(call("DELETE", "/v1/volumes/vol0/snapshots/s").status, 200);
}

TEST_F(ApiTest, ASnapshotGoesOutAndComesInPieceByPiece) {
  ASSERT_EQ(call("POST", "/v1/volumes/vol0/snapshots", R"({"name": "s"})").status, 200);
  const std::string path = "/v1/volumes/vol0/snapshots/s/send";
  EXPECT_EQ(call("POST", path, R"({"from": "none"})").status, 404);
  EXPECT_EQ(call("POST", path, R"({"from": 7})").status, 400);
  const Json begun = Json::parse(call("POST", path, "{}").body);
  const std::string out = "/v1/streams/" + std::to_string(begun["stream"].get<int>()) + "/";
  EXPECT_EQ(call("GET", out + "1").status, 409);
  EXPECT_EQ(call("PUT", out + "0").status, 405);
  std::string stream;
  for (int piece = 0;; ++piece) {
    const Response response = call("GET", out + std::to_string(piece));
    ASSERT_EQ(response.status, 200);
    ASSERT_EQ(response.content_type, "application/octet-stream");
    if (response.body.empty()) {
      break;
    }
    stream += response.body;
  }
  EXPECT_EQ(call("GET", out + "9").status, 404);

  std::string hex;
  for (std::size_t i = 0; i < sizeof(wafl::StreamHeader); ++i) {
    constexpr const char* kDigits = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(stream[i]) >> 4U];
    hex += kDigits[static_cast<unsigned char>(stream[i]) & 15U];
  }
  EXPECT_EQ(call("POST", "/v1/streams", R"({"volume": "c", "header": "xy"})").status, 400);
  EXPECT_EQ(call("POST", "/v1/streams", R"({"volume": "c", "header": "00"})").status, 400);
  const Json body = {{"volume", "c"}, {"header", hex}};
  const Json taken = Json::parse(call("POST", "/v1/streams", body.dump()).body);
  EXPECT_TRUE(get("/v1/volumes/c")["receiving"].get<bool>());
  const std::string in = "/v1/streams/" + std::to_string(taken["stream"].get<int>()) + "/";
  const std::size_t half = stream.size() - 5;
  const Response first =
      call("PUT", in + "0", stream.substr(hex.size() / 2, half - hex.size() / 2));
  EXPECT_FALSE(Json::parse(first.body)["complete"].get<bool>()) << first.body;
  EXPECT_EQ(call("PUT", in + "0", stream.substr(half)).status, 409);
  const Response last = call("PUT", in + "1", stream.substr(half));
  EXPECT_TRUE(Json::parse(last.body)["complete"].get<bool>()) << last.body;
  EXPECT_FALSE(get("/v1/volumes/c")["receiving"].get<bool>());
  EXPECT_EQ(call("DELETE", "/v1/volumes/c/receive").status, 404);
  EXPECT_EQ(get("/v1/volumes/c/snapshots")["snapshots"][0]["name"], "s");
}

TEST_F(ApiTest, AnAddedExportGoesBeforeTheOthersAndCanBeRemoved) {
  EXPECT_EQ(call("POST", "/v1/exports/add",
                 R"({"path": "/vol0", "clients": [{"match": "10.0.0.0/8", "access": "ro"}]})")
                .status,
            200);
  const Json clients = get("/v1/exports")["exports"][0]["clients"];
  ASSERT_EQ(clients.size(), 2U);
  EXPECT_EQ(clients[0]["match"], "10.0.0.0/8");
  EXPECT_EQ(clients[0]["access"], "ro");
  EXPECT_EQ(clients[0]["squash"], "root");
  EXPECT_EQ(
      call("POST", "/v1/exports/remove", R"({"path": "/vol0", "client": "10.0.0.0/8"})").status,
      200);
  EXPECT_EQ(get("/v1/exports")["exports"][0]["clients"].size(), 1U);
  EXPECT_EQ(call("POST", "/v1/exports/remove", R"({"path": "/vol9"})").status, 404);
}

TEST_F(ApiTest, OfTwoChangesOfExportsAtOnceNeitherUndoesTheOther) {
  ASSERT_EQ(call("POST", "/v1/volumes", R"({"name": "x"})").status, 200);
  Request remove;
  remove.method = "POST";
  remove.path = "/v1/exports/remove";
  remove.body = R"({"path": "/vol0"})";
  Request add = remove;
  add.path = "/v1/exports/add";
  add.body = R"({"path": "/x", "clients": [{"match": "*"}]})";
  std::optional<Response> removed;
  std::optional<Response> added;
  {
    TaskScope scope(world_.scheduler);
    scope.spawn(filer::testing::keep_result(api_.handle(remove), removed));
    scope.spawn(filer::testing::keep_result(api_.handle(add), added));
    ASSERT_TRUE(world_.scheduler.run_until([&] { return removed && added; }, 50'000'000));
  }
  EXPECT_EQ(removed->status, 200);
  EXPECT_EQ(added->status, 200);
  const Json exports = get("/v1/exports")["exports"];
  ASSERT_EQ(exports.size(), 1U);
  EXPECT_EQ(exports[0]["path"], "/x");
}

TEST_F(ApiTest, WhatIsReadIsWhatCanBeWritten) {
  const Json before = get("/v1/exports");
  EXPECT_EQ(call("PUT", "/v1/exports", R"({"exports": []})").status, 200);
  EXPECT_TRUE(get("/v1/exports")["exports"].empty());
  EXPECT_EQ(call("PUT", "/v1/exports", before.dump()).status, 200);
  EXPECT_EQ(get("/v1/exports"), before);
}

TEST_F(ApiTest, AFileThatCannotBeReadLeavesTheExportsAsTheyAre) {
  const Json before = get("/v1/exports");
  const Response response = call("POST", "/v1/exports/reload");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("d.yaml:7: bad"));
  EXPECT_EQ(world_.run(api_.reload_exports()), "d.yaml:7: bad");
  EXPECT_EQ(get("/v1/exports"), before);
}

TEST_F(ApiTest, NoBodyOfAStrangerEndsTheProcess) {
  const std::string deep(100'000, '[');
  for (const std::string& body :
       {std::string(),
        std::string("null"),
        std::string("[]"),
        std::string("{}"),
        std::string("7"),
        deep,
        std::string(R"({"name": 7})"),
        std::string(R"({"name": null, "limit_bytes": -1})"),
        std::string(R"({"name": "a/b"})"),
        std::string(R"({"name": ""})"),
        std::string("{\"name\": \"\xff\xfe\"}"),
        std::string(R"({"name": "x", "limit_bytes": 1e300})"),
        std::string(R"({"exports": 7})"),
        std::string(R"({"exports": [7]})"),
        std::string(R"({"exports": [{"path": 7, "clients": 7}]})"),
        std::string(R"({"path": "/vol0", "clients": [7]})"),
        std::string(R"({"path": "/vol0", "clients": [{"match": "*", "anonymous_uid": -1}]})"),
        std::string(R"({"path": "/vol0", "clients": [{"match": "*", "secure": "yes"}]})"),
        std::string(R"({"delete_newer": 7})"),
        std::string(R"({"delete_newer": [7]})"),
        std::string(R"({"path": 7})"),
        std::string(R"({"path": "", "client": 7})")}) {
    for (const char* path :
         {"/v1/volumes", "/v1/volumes/vol0", "/v1/volumes/vol0/snapshots",
          "/v1/volumes/vol0/snapshots/s", "/v1/volumes/vol0/snapshots/s/restore", "/v1/exports",
          "/v1/exports/add", "/v1/exports/remove", "/v1/disks", "/", "", "///", "/v1", "/v1/x/y"}) {
      for (const char* method : {"POST", "PUT", "PATCH", "NONSENSE"}) {
        EXPECT_GE(call(method, path, body).status, 400) << method << " " << path << " " << body;
      }
    }
  }
}

TEST_F(ApiTest, TheSystemVolumeIsNotForOperators) {
  const Json list = get("/v1/volumes");
  for (const Json& volume : list["volumes"]) {
    EXPECT_NE(volume["id"], 0);
  }
  EXPECT_EQ(call("POST", "/v1/exports/add", R"({"path": "/", "clients": [{"match": "*"}]})").status,
            404);
}

TEST_F(ApiTest, AScrubOfASoundFilerIsCleanAndLeavesNoSnapshot) {
  EXPECT_EQ(call("POST", "/v1/scrub").status, 200);
  Json scrub = get("/v1/scrub");
  while (scrub["running"].get<bool>()) {
    ASSERT_TRUE(world_.run(world_.filer->consistency_point()).ok());  // lets time go on
    scrub = get("/v1/scrub");
  }
  EXPECT_EQ(scrub["result"], "clean");
  EXPECT_EQ(scrub["errors"], 0);
  EXPECT_TRUE(get("/v1/volumes/vol0/snapshots")["snapshots"].empty());
}

TEST_F(ApiTest, NoSnapshotOfAnOperatorHasTheNameOfAScrubs) {
  ASSERT_EQ(call("POST", "/v1/volumes/vol0/snapshots", R"({"name": "s"})").status, 200);
  EXPECT_EQ(call("POST", "/v1/volumes/vol0/snapshots", R"({"name": "duet-scrub"})").status, 400);
  EXPECT_EQ(call("PATCH", "/v1/volumes/vol0/snapshots/s", R"({"name": "duet-scrub"})").status, 400);
  EXPECT_EQ(get("/v1/volumes/vol0/snapshots")["snapshots"].size(), 1U);
}

TEST_F(ApiTest, AScrubForgetsErrorsOfASnapshotThatIsDeletedMeanwhile) {
  const filer::Handle root = world_.root();
  const filer::Handle file = world_.create(root, "file");
  for (std::uint64_t i = 0; i < 24; ++i) {
    const std::string data(1U << 20U, i == 0 ? 'd' : 'x');
    ASSERT_FALSE(world_.write(file, i << 20U, data).error.has_value());
  }
  ASSERT_EQ(call("POST", "/v1/volumes/vol0/snapshots", R"({"name": "s"})").status, 200);
  ASSERT_FALSE(world_.remove(root, "file").error.has_value());
  ASSERT_TRUE(world_.run(world_.filer->consistency_point()).ok());
  for (const auto& disk : world_.disks) {
    for (std::uint64_t block = 256; block < 32'768; ++block) {
      if (disk->block(block)[0] == std::byte{'d'} && disk->block(block)[4095] == std::byte{'d'}) {
        disk->flip_bit(block, 100, 1);
      }
    }
  }
  ASSERT_EQ(call("POST", "/v1/scrub").status, 200);
  Json scrub = get("/v1/scrub");
  for (int i = 0; i < 100'000 && scrub["errors"] == 0 && scrub["running"].get<bool>(); ++i) {
    EXPECT_TRUE(world_.scheduler.run_for(std::chrono::microseconds(10)));
    scrub = get("/v1/scrub");
  }
  ASSERT_GT(scrub["errors"], 0);
  ASSERT_TRUE(scrub["running"].get<bool>());
  ASSERT_EQ(call("DELETE", "/v1/volumes/vol0/snapshots/s").status, 200);
  while (scrub["running"].get<bool>()) {
    ASSERT_TRUE(world_.run(world_.filer->consistency_point()).ok());
    scrub = get("/v1/scrub");
  }
  EXPECT_EQ(scrub["errors"], 0);
  EXPECT_EQ(scrub["first_error"], "");
  EXPECT_EQ(scrub["result"], "clean");
}

TEST_F(ApiTest, NoScrubBeginsOnceItStops) {
  world_.run(stopped());
  EXPECT_EQ(call("POST", "/v1/scrub").status, 503);
  EXPECT_FALSE(get("/v1/scrub")["running"].get<bool>());
}

TEST_F(ApiTest, MetricsAreInPrometheusText) {
  const Response response = call("GET", "/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.content_type, HasSubstr("version=0.0.4"));
  EXPECT_THAT(response.body, HasSubstr("duet_memory_persistent 0\n"));
  EXPECT_THAT(response.body,
              HasSubstr("duet_requests_total{program=\"nfs3\",procedure=\"GETATTR\"} 2\n"));
  EXPECT_THAT(response.body, HasSubstr("duet_request_duration_seconds_count{program=\"nfs3\","
                                       "procedure=\"GETATTR\"} 2\n"));
}

}  // namespace
}  // namespace duet::admin
