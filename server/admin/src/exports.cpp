#include <algorithm>
#include <memory>

#include "state.h"

namespace duet::admin {

namespace {

// `entry`'s rules before those of the same path: the newest word counts.
void add_export(filer::ExportTable& table, filer::Export entry) {
  for (filer::Export& existing : table.exports) {
    if (existing.path == entry.path) {
      for (const filer::ExportRule& old : existing.rules) {
        const bool replaced =
            std::any_of(entry.rules.begin(), entry.rules.end(), [&](const auto& rule) {
              return rule.network == old.network && rule.prefix_bits == old.prefix_bits;
            });
        if (!replaced) {
          entry.rules.push_back(old);
        }
      }
      existing.rules = std::move(entry.rules);
      return;
    }
  }
  table.exports.push_back(std::move(entry));
}

// Takes away the whole export, or one client of it.  False: there is none such.
bool remove_export(filer::ExportTable& table, const std::string& path,
                   const std::optional<std::string>& client) {
  for (auto entry = table.exports.begin(); entry != table.exports.end(); ++entry) {
    if (entry->path != path) {
      continue;
    }
    if (!client) {
      table.exports.erase(entry);
      return true;
    }
    const std::size_t removed = std::erase_if(entry->rules, [&](const filer::ExportRule& rule) {
      return filer::client_text(rule) == *client;
    });
    if (entry->rules.empty()) {
      table.exports.erase(entry);
    }
    return removed > 0;
  }
  return false;
}

}  // namespace

Task<Response> Api::State::change_exports(std::function<Status(filer::ExportTable&)> edit,
                                          std::string object) {
  // Shared: the change may outlast whoever asked for it.
  const auto missing = std::make_shared<std::string>();
  auto change = [this, missing, edit = std::move(edit)](filer::ExportTable& table) -> Status {
    if (Status edited = edit(table); !edited.ok()) {
      return edited;
    }
    for (const filer::Export& entry : table.exports) {
      const std::string name = entry.path.empty() ? "" : entry.path.substr(1);
      const wafl::Volume* volume = context.filer.aggregate().find_volume(name);
      if (volume == nullptr || volume->id() == wafl::kSystemVolume) {
        *missing = entry.path;
        return Error{Errc::kNotFound, ""};
      }
    }
    return Ok{};
  };
  const Status status = co_await context.filer.change_exports(std::move(change));
  if (!missing->empty()) {
    co_return refusal(404, "not_found", "export " + *missing + ": there is no volume of that name",
                      "create the volume first");
  }
  co_return outcome(status, object);
}

namespace {

std::function<Status(filer::ExportTable&)> replace_by(filer::ExportTable table) {
  return [table = std::move(table)](filer::ExportTable& present) -> Status {
    present = table;
    return Ok{};
  };
}

}  // namespace

// exports, exports/add, exports/remove, exports/reload
Task<Response> Api::State::exports(const Request& request, const Parts& parts) {
  if (parts.size() > 2) {
    co_return not_found();
  }
  const std::string verb = parts.size() == 2 ? parts[1] : "";
  if (verb.empty() && request.method == "GET") {
    co_return reply(exports_json(context.filer.exports()));
  }
  if (verb == "reload" && request.method == "POST") {
    std::variant<filer::ExportTable, std::string> read = context.read_exports();
    if (const std::string* wrong = std::get_if<std::string>(&read)) {
      co_return refusal(400, "configuration", *wrong);
    }
    auto edit = replace_by(std::move(std::get<filer::ExportTable>(read)));
    co_return co_await change_exports(std::move(edit), "exports");
  }
  if (verb.empty() && request.method == "PUT") {
    std::variant<Json, Response> body = read_body(request, {"exports"});
    if (Response* bad = std::get_if<Response>(&body)) {
      co_return std::move(*bad);
    }
    const Json list = std::get<Json>(body).value("exports", Json());
    std::variant<filer::ExportTable, std::string> whole = exports_from(list);
    if (const std::string* wrong = std::get_if<std::string>(&whole)) {
      co_return refusal(400, "invalid", *wrong);
    }
    auto edit = replace_by(std::move(std::get<filer::ExportTable>(whole)));
    co_return co_await change_exports(std::move(edit), "exports");
  }
  if (verb == "add" && request.method == "POST") {
    std::variant<Json, Response> body = read_body(request, {"path", "clients"});
    if (Response* bad = std::get_if<Response>(&body)) {
      co_return std::move(*bad);
    }
    std::variant<filer::Export, std::string> entry = export_from(std::get<Json>(body));
    if (const std::string* wrong = std::get_if<std::string>(&entry)) {
      co_return refusal(400, "invalid", *wrong);
    }
    auto edit = [added = std::get<filer::Export>(entry)](filer::ExportTable& table) -> Status {
      add_export(table, added);
      return Ok{};
    };
    co_return co_await change_exports(std::move(edit), "exports");
  }
  if (verb == "remove" && request.method == "POST") {
    std::variant<Json, Response> body = read_body(request, {"path", "client"});
    if (Response* bad = std::get_if<Response>(&body)) {
      co_return std::move(*bad);
    }
    const std::optional<std::string> path = text_member(std::get<Json>(body), "path");
    const std::optional<std::string> client = text_member(std::get<Json>(body), "client");
    auto edit = [path, client](filer::ExportTable& table) -> Status {
      const bool removed = path && remove_export(table, *path, client);
      return removed ? Status(Ok{}) : Status(Error{Errc::kNotFound, ""});
    };
    std::string object = "export " + path.value_or("");
    object += client ? " for " + *client : "";
    co_return co_await change_exports(std::move(edit), std::move(object));
  }
  co_return wrong_method();
}

}  // namespace duet::admin
