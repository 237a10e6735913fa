// The commands; each prints what it did and gives the program's exit code.

#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string_view>

#include "session.h"

namespace duet::cli {

// What the parsed command line asks for; set by the callbacks of the subcommands.
using Action = std::function<Exit(Session&)>;

// Each adds its subcommands to `app`; parsing one of them sets `action`.
void add_status_commands(CLI::App& app, Action& action);  // status, df, version
Exit show_failover(Session& session);
void add_failover_commands(CLI::App& app, Action& action);  // failover, takeover, giveback
void add_log_command(CLI::App& app, Action& action);
void add_top_command(CLI::App& app, Action& action);
void add_volume_commands(CLI::App& app, Action& action);
void add_snapshot_commands(CLI::App& app, Action& action);
void add_stream_commands(CLI::App& snapshot_group, Action& action);  // snapshot send, receive
void add_export_commands(CLI::App& app, Action& action);
void add_disk_commands(CLI::App& app, Action& action);
void add_raid_commands(CLI::App& app, Action& action);
void add_scrub_commands(CLI::App& app, Action& action);
void add_cp_command(CLI::App& app, Action& action);
void add_init_command(CLI::App& app, Action& action);
void add_check_command(CLI::App& app, Action& action);

// "VOLUME@SNAPSHOT".  Names may hold an @; the last one counts.  Empty: it is none.
std::pair<std::string, std::string> snapshot_from(const std::string& text);
// "4GiB"; "none" is 0.  For options.
std::optional<std::uint64_t> limit_from(const std::string& text);
// What is left to do about the configuration when a disk has taken another one's place.
std::string_view place_text(Session& session);
// GET `path` and print it: as it is with --json, else by `show`.
Exit show(Session& session, const std::string& path,
          const std::function<void(const Json&)>& show_text);

}  // namespace duet::cli
