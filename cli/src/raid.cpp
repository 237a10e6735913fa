// duet raid: the redundancy groups below the filer.

#include <fmt/format.h>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

std::uint64_t number(const Json& json, const char* key) {
  return json.value(key, std::uint64_t{0});
}

std::string state_text(const Json& disk) {
  const std::string state = disk.value("state", std::string());
  return state == "in_sync" ? "in sync" : state;
}

void show_disks(const Json& group) {
  std::vector<std::vector<std::string>> rows{{"DISK", "STATE", "PATH"}};
  for (const Json& disk : group.value("disks", Json::array())) {
    std::string problem = disk.value("problem", std::string());
    if (const std::uint64_t blocks = number(disk, "blocks_put_right"); blocks > 0) {
      problem += fmt::format("{}{} blocks put right", problem.empty() ? "" : ", ", grouped(blocks));
    }
    rows.push_back(
        {disk.contains("number") ? std::to_string(number(disk, "number")) : "-",
         problem.empty() ? state_text(disk) : fmt::format("{}: {}", state_text(disk), problem),
         disk.value("path", std::string())});
  }
  fmt::print("{}", table(rows));
}

void show_counters(const Json& counters) {
  const std::uint64_t whole = number(counters, "whole_stripe_updates");
  const std::uint64_t modify = number(counters, "read_modify_updates");
  const std::uint64_t reconstruct = number(counters, "reconstruct_updates");
  const std::uint64_t all = whole + modify + reconstruct;
  fmt::print("  updates    {} since the start: {} % whole, {} by read-modify, {} by reconstruct\n",
             grouped(all), all == 0 ? 0 : whole * 100 / all, grouped(modify), grouped(reconstruct));
  fmt::print("  reads      {}, {} of them computed from other disks\n",
             grouped(number(counters, "reads")), grouped(number(counters, "degraded_reads")));
  const std::uint64_t healed = number(counters, "healed_blocks");
  if (healed > 0) {
    fmt::print("  healed     {} blocks that a filer found wrong\n", grouped(healed));
  }
  const std::uint64_t passed_by = number(counters, "passed_by_stripes");
  if (passed_by > 0) {
    fmt::print("  spared     {} stripes of new disks, which nobody needs; {} rebuilt\n",
               grouped(passed_by), grouped(number(counters, "rebuilt_stripes")));
  }
  fmt::print("  intents    {} under way, {} flushes to end them, {} carried out after a crash\n",
             grouped(number(counters, "intents")), grouped(number(counters, "settles")),
             grouped(number(counters, "recovered_intents")));
}

// Of a pair, what each node has done.
void show_shares(const Json& work) {
  const Json shares = work.value("node_shares", Json::array());
  for (std::size_t i = 0; shares.size() > 1 && i < shares.size(); ++i) {
    fmt::print("  node {}     {} stripes of it\n", static_cast<char>('a' + i),
               grouped(shares[i].get<std::uint64_t>()));
  }
}

// How fast it goes, and how long it will take.
std::string pace_text(const Json& work) {
  const double rate = work.value("stripes_per_second", 0.0);
  std::string text = rate > 0 ? fmt::format(", {:.0f} per second", rate) : "";
  if (work.contains("seconds_left")) {
    text += ", " + duration_text(work.value("seconds_left", 0.0)) + " left";
  }
  return text;
}

void show_trouble(const Json& work) {
  if (work.contains("trouble")) {
    fmt::print("  trouble    {}\n", work.value("trouble", std::string()));
  }
}

void show_rebuild(const Json& rebuild) {
  fmt::print("  rebuild    {} %, {} of {} stripes{}\n", number(rebuild, "done_percent"),
             grouped(number(rebuild, "done")), grouped(number(rebuild, "stripes")),
             pace_text(rebuild));
  show_shares(rebuild);
  show_trouble(rebuild);
}

void show_expansion(const Json& expansion) {
  fmt::print("  expansion  {} %, {} of {} stripes are on {} disks, the others on {}{}\n",
             number(expansion, "done_percent"), grouped(number(expansion, "done")),
             grouped(number(expansion, "stripes")), number(expansion, "disks_after"),
             number(expansion, "disks_before"),
             expansion.value("waits", false) ? "; it waits until no disk has failed or is rebuilt"
                                             : pace_text(expansion));
  show_shares(expansion);
  show_trouble(expansion);
}

void show_scrub(const Json& scrub) {
  const bool running = scrub.value("running", false);
  const std::uint64_t unsure = number(scrub, "unsure_rows");
  const std::uint64_t loose = number(scrub, "loose_rows");
  const std::uint64_t left = number(scrub, "loose_left_rows");
  fmt::print("  scrub      {}, {} rows put right{}\n",
             running
                 ? fmt::format("{} %, {} of {} stripes", number(scrub, "done_percent"),
                               grouped(number(scrub, "done")), grouped(number(scrub, "stripes")))
                 : std::string("the last one has ended"),
             grouped(number(scrub, "repaired_rows") + number(scrub, "unreadable_rows") +
                     number(scrub, "trusted_rows")),
             unsure == 0 ? ""
                         : fmt::format("; {} DO NOT MATCH, and do not tell what is wrong: run "
                                       "`duet scrub start`, then `duet raid scrub --trust-data`",
                                       grouped(unsure)));
  if (loose + left > 0) {
    fmt::print("  loose      {} rows that a rebuild had passed by match now{}\n", grouped(loose),
               left == 0 ? "" : fmt::format(", {} may be needed and stay", grouped(left)));
  }
  if (running) {
    show_shares(scrub);
  }
  show_trouble(scrub);
}

// No figures: this node knows none.
void show_unmanaged(const Json& group) {
  fmt::print("group {}: {}, NOT managed by this node: {}\n", group.value("name", std::string()),
             group.value("level", std::string()), group.value("reason", std::string()));
  show_disks(group);
}

void show_groups(const Json& json) {
  const Json groups = json.value("groups", Json::array());
  if (groups.empty()) {
    fmt::print("no redundancy group is configured for this node\n");
  }
  bool first = true;
  for (const Json& group : groups) {
    fmt::print("{}", std::exchange(first, false) ? "" : "\n");
    if (!group.value("managed", true)) {
      show_unmanaged(group);
      continue;
    }
    fmt::print("group {}: {}, {}, {} more may fail; {} in stripes of {}, chunks of {}\n",
               group.value("name", std::string()), group.value("level", std::string()),
               group.value("state", std::string()), number(group, "can_lose"),
               config::size_text(number(group, "bytes")),
               config::size_text(number(group, "stripe_bytes")),
               config::size_text(number(group, "chunk_bytes")));
    for (const Json& disk : group.value("virtual_disks", Json::array())) {
      fmt::print("  virtual    {} of {}\n", disk.value("name", std::string()),
                 config::size_text(number(disk, "bytes")));
    }
    if (const std::uint64_t rate = number(group, "background_bytes_per_second"); rate > 0) {
      fmt::print("  background at most {} per second of each node\n", config::size_text(rate));
    }
    show_counters(group.value("counters", Json::object()));
    if (group.contains("rebuild")) {
      show_rebuild(group.at("rebuild"));
    }
    if (group.contains("expansion")) {
      show_expansion(group.at("expansion"));
    }
    if (group.contains("scrub")) {
      show_scrub(group.at("scrub"));
    }
    show_disks(group);
  }
}

// What each node says of the hosts that attach virtual disks through it; by the nodes' names.  One
// that cannot be reached says nothing.
Json ask_for_hosts(Session& session) {
  Json views = Json::object();
  if (!session.in_pair()) {
    Answer answer = session.call("GET", "/v1/nbd");
    if (answer.ok()) {
      const std::string node = answer.json.value("node", std::string());
      views[node] = std::move(answer.json);
    }
    return views;
  }
  for (const config::Node& node : session.config()->nodes) {
    if (session.options().node.empty() || session.options().node == node.name) {
      Answer answer = session.ask_hosts(node);
      if (answer.ok()) {
        views[node.name] = std::move(answer.json);
      }
    }
  }
  return views;
}

void show_hosts(const Json& views) {
  std::vector<std::vector<std::string>> rows{{"NODE", "EXPORT", "AT", "CONNECTIONS"}};
  for (const auto& [node, view] : views.items()) {
    std::string at;
    for (const Json& address : view.value("addresses", Json::array())) {
      at += (at.empty() ? "" : ", ") + address.get<std::string>();
    }
    for (const Json& each : view.value("exports", Json::array())) {
      std::string hosts;
      const Json clients = each.value("clients", Json::array());
      for (const Json& client : clients) {
        hosts += fmt::format("{}{}:{}{}", hosts.empty() ? ": " : ", ",
                             client.value("address", std::string()), number(client, "port"),
                             client.value("read_only", false) ? " (ro)" : "");
      }
      const bool served = view.value("listening", false) && each.value("available", false);
      rows.push_back({node, each.value("name", std::string()), served ? at : "not served now",
                      fmt::format("{}{}", clients.size(), hosts)});
    }
  }
  if (rows.size() > 1) {
    fmt::print("\nhosts, over NBD:\n{}", table(rows));
  }
}

// For scripts: a group that is not as it should be is a problem.
Exit status(Session& session) {
  Answer answer = session.call("GET", "/v1/raid");
  if (!answer.ok()) {
    return session.fail(answer);
  }
  const Json hosts = ask_for_hosts(session);
  if (session.options().json) {
    answer.json["nbd"] = hosts;
    fmt::print("{}\n", answer.json.dump(2));
  } else {
    show_groups(answer.json);
    show_hosts(hosts);
  }
  bool well = true;
  for (const Json& group : answer.json.value("groups", Json::array())) {
    well = well && group.value("state", std::string()) == "optimal";
  }
  return well ? Exit::kOk : Exit::kFailed;
}

std::string files_text(Session& session) {
  return session.in_pair() ? "both nodes' configuration files" : "the configuration file";
}

// Options of all that changes a group.
struct Wanted {
  std::string group, disk, path, name, size;
  std::vector<std::string> paths;
  bool force = false;
  bool remove = false;
};

void add_fail(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* fail = group.add_subcommand("fail", "A disk is not to be used any more");
  fail->add_option("GROUP", wanted->group, "Its group")->required();
  fail->add_option("DISK", wanted->disk, "Its path, the end of that, or its number")->required();
  fail->footer(
      "What it holds is then computed from the other disks, and a spare takes its place.  Refused "
      "if the group could lose no more.");
  fail->callback([&action, wanted] {
    action = [wanted](Session& session) {
      return session.done(
          session.call("POST", "/v1/raid/" + wanted->group + "/fail", {{"disk", wanted->disk}}),
          fmt::format("disk {} of {} is not used any more", wanted->disk, wanted->group));
    };
  });
}

void add_return(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* back = group.add_subcommand("return", "A disk that failed is used again");
  back->add_option("GROUP", wanted->group, "Its group")->required();
  back->add_option("DISK", wanted->disk, "Its path, the end of that, or its number")->required();
  back->footer(
      "For one that was failed by mistake, or whose cable or shelf was lost.  Only what was "
      "written "
      "meanwhile is written to it, where that is recorded; else it is rebuilt.");
  back->callback([&action, wanted] {
    action = [wanted](Session& session) {
      return session.done(
          session.call("POST", "/v1/raid/" + wanted->group + "/return", {{"disk", wanted->disk}}),
          fmt::format("disk {} of {} is used again", wanted->disk, wanted->group));
    };
  });
}

void add_replace(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* replace = group.add_subcommand("replace", "A disk takes the place of one that failed");
  replace->add_option("GROUP", wanted->group, "The group")->required();
  replace->add_option("DISK", wanted->disk, "The one that failed: its path, the end, or number")
      ->required();
  replace->add_option("PATH", wanted->path, "The new one; alone it may be the same path")
      ->required();
  replace->add_flag("--force", wanted->force, "Also if it holds something, which is lost");
  replace->footer(
      "It is rebuilt while the filer serves; see it with `duet raid status`.  Then write its path "
      "into the configuration file in place of the other.  In a pair it must be in the "
      "configuration of both nodes before, and a new disk behind the same URL takes a restart of "
      "both, one after the other; an old disk that carries a mailbox or the owner record stays "
      "listed at both until that is elsewhere, and the answer says how.");
  replace->callback([&action, wanted] {
    action = [wanted](Session& session) {
      return session.done(
          session.call("POST", "/v1/raid/" + wanted->group + "/replace",
                       {{"disk", wanted->disk}, {"path", wanted->path}, {"force", wanted->force}}),
          fmt::format("{} is being rebuilt in place of disk {}; now {}", wanted->path, wanted->disk,
                      place_text(session)));
    };
  });
}

void add_spare(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* spare = group.add_subcommand("spare", "A disk waits for the next one that fails");
  spare->add_option("GROUP", wanted->group, "The group")->required();
  spare->add_option("PATH", wanted->path, "The spare")->required();
  spare->add_flag("--force", wanted->force, "Also if it holds something, which is lost");
  spare->add_flag("--remove", wanted->remove, "It is none any more");
  spare->footer("Then write it under `spares` in the configuration file, or remove it there.");
  spare->callback([&action, wanted] {
    action = [wanted](Session& session) {
      const std::string path = "/v1/raid/" + wanted->group + "/spare";
      return wanted->remove
                 ? session.done(session.call("DELETE", path, {{"path", wanted->path}}),
                                fmt::format("{} is no spare any more; now remove it from {}",
                                            wanted->path, files_text(session)))
                 : session.done(
                       session.call("POST", path,
                                    {{"path", wanted->path}, {"force", wanted->force}}),
                       fmt::format("{} is a spare of {}; now {} it to `spares` in {}", wanted->path,
                                   wanted->group, session.in_pair() ? "move" : "add",
                                   files_text(session)));
    };
  });
}

void add_add(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* add = group.add_subcommand("add", "A group of raid5 or raid6 spreads over more disks");
  add->add_option("GROUP", wanted->group, "The group")->required();
  add->add_option("PATH", wanted->paths, "The new disks, as large as the others")->required();
  add->add_flag("--force", wanted->force, "Also if they hold something, which is lost");
  add->footer(
      "It goes on beside the filers, in a pair on both nodes together, over restarts; see it with "
      "`duet raid status`.  At its end the group has more room, for `duet raid virtual`.  Then "
      "write the disks into the configuration file, behind the others of the group.");
  add->callback([&action, wanted] {
    action = [wanted](Session& session) {
      return session.done(
          session.call("POST", "/v1/raid/" + wanted->group + "/add",
                       {{"paths", wanted->paths}, {"force", wanted->force}}),
          fmt::format("{} spreads over {} more; now {} {} {} {}", wanted->group,
                      wanted->paths.size() == 1 ? "one disk" : "some disks",
                      session.in_pair() ? "move" : "write",
                      wanted->paths.size() == 1 ? "it" : "them",
                      session.in_pair() ? "behind the others of its `disks` in" : "into",
                      files_text(session)));
    };
  });
}

void add_virtual(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* disk =
      group.add_subcommand("virtual", "A group gets a virtual disk, where it has room");
  disk->add_option("GROUP", wanted->group, "The group")->required();
  disk->add_option("NAME", wanted->name, "Its name, up to 31 characters")->required();
  disk->add_option("SIZE", wanted->size, "Such as 10GiB; rounded up to whole stripes")->required();
  disk->footer(
      "Then write it under `virtual_disks` in the configuration file and restart duetd; in a pair "
      "one node after the other.");
  disk->callback([&action, wanted] {
    action = [wanted](Session& session) {
      const std::optional<std::uint64_t> bytes = config::parse_size(wanted->size);
      if (!bytes || *bytes == 0) {
        fmt::print(stderr, "duet: \"{}\" is no size; write one such as 10GiB\n", wanted->size);
        return Exit::kUsage;
      }
      return session.done(
          session.call("POST", "/v1/raid/" + wanted->group + "/virtual",
                       {{"name", wanted->name}, {"bytes", *bytes}}),
          fmt::format("{} has a virtual disk {}; now write it into the configuration file",
                      wanted->group, wanted->name));
    };
  });
}

void add_scrub(CLI::App& group, Action& action) {
  const auto wanted = std::make_shared<Wanted>();
  CLI::App* scrub = group.add_subcommand("scrub", "Compares data and check data of a group");
  scrub->add_option("GROUP", wanted->group, "The group")->required();
  CLI::Option* stop = scrub->add_flag("--stop", wanted->remove, "Ends the one that runs");
  scrub
      ->add_flag("--trust-data", wanted->force,
                 "All data is right: what does not match it gets new check data")
      ->excludes(stop);
  scrub->footer(
      "It runs beside the filers, in a pair on both nodes together; see it with `duet raid "
      "status`.  What is wrong for sure is put right.\n"
      "--trust-data: only after `duet scrub start` has found all data right, of every filer that "
      "lives on the group.  Wrong data of a virtual disk that hosts attach, which has no "
      "checksums, "
      "is taken for right then, and cannot be found any more.  All disks must be in sync.");
  scrub->callback([&action, wanted] {
    action = [wanted](Session& session) {
      const std::string path = "/v1/raid/" + wanted->group + "/scrub";
      return wanted->remove
                 ? session.done(session.call("DELETE", path, Json::object()),
                                fmt::format("the scrub of {} ends", wanted->group))
                 : session.done(
                       session.call("POST", path, {{"trust_data", wanted->force}}),
                       fmt::format("{} is being compared; see duet raid status", wanted->group));
    };
  });
}

}  // namespace

std::string_view place_text(Session& session) {
  return session.in_pair() ? "move it to that one's place in both nodes' configuration files"
                           : "write it into the configuration file";
}

void add_raid_commands(CLI::App& app, Action& action) {
  CLI::App* group = app.add_subcommand("raid", "The redundancy groups below the filer");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer(
      "Examples: duet raid fail tank /dev/disk/by-id/wwn-0x5000000000000009\n"
      "          duet raid replace tank 3 /dev/disk/by-id/wwn-0x500000000000000a");
  group->add_subcommand("status", "Groups, disks and counters; exit code 1: one is not optimal")
      ->callback([&action] { action = status; });
  add_fail(*group, action);
  add_return(*group, action);
  add_replace(*group, action);
  add_spare(*group, action);
  add_add(*group, action);
  add_virtual(*group, action);
  add_scrub(*group, action);
}

}  // namespace duet::cli
