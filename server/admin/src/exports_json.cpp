#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "state.h"

namespace duet::admin {

namespace {

constexpr std::array<const char*, 3> kSquashNames{"none", "root", "all"};

Json rule_json(const filer::ExportRule& rule) {
  return {{"match", filer::client_text(rule)},
          {"access", rule.read_write ? "rw" : "ro"},
          {"squash", kSquashNames.at(static_cast<std::size_t>(rule.squash))},
          {"anonymous_uid", rule.anonymous_uid},
          {"anonymous_gid", rule.anonymous_gid},
          {"secure", rule.secure_ports}};
}

// Sets one member of `rule`.  Empty: done; else what is wrong.
std::string set_member(filer::ExportRule& rule, const std::string& key, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (key == "access" && (text == "rw" || text == "ro")) {
    rule.read_write = text == "rw";
  } else if (key == "squash" && std::count(kSquashNames.begin(), kSquashNames.end(), text) > 0) {
    const auto at = std::find(kSquashNames.begin(), kSquashNames.end(), text);
    rule.squash = static_cast<filer::Squash>(at - kSquashNames.begin());
  } else if ((key == "anonymous_uid" || key == "anonymous_gid") && value.is_number_unsigned() &&
             value.get<std::uint64_t>() < 0xFFFF'FFFF) {
    (key == "anonymous_uid" ? rule.anonymous_uid : rule.anonymous_gid) = value.get<std::uint32_t>();
  } else if (key == "secure" && value.is_boolean()) {
    rule.secure_ports = value.get<bool>();
  } else if (key != "match") {
    return fmt::format("\"{}\": not known, or not a value it takes", key);
  }
  return {};
}

std::variant<filer::ExportRule, std::string> rule_from(const Json& json) {
  const std::optional<std::string> match =
      json.is_object() ? text_member(json, "match") : std::nullopt;
  if (!match) {
    return std::string("each of \"clients\" needs \"match\"");
  }
  const Result<filer::ExportRule> parsed = filer::parse_client(*match);
  if (!parsed.ok()) {
    return fmt::format("\"{}\" is neither an address, a subnet nor \"*\"", *match);
  }
  filer::ExportRule rule = parsed.value();
  for (const auto& [key, value] : json.items()) {
    if (std::string wrong = set_member(rule, key, value); !wrong.empty()) {
      return wrong;
    }
  }
  return rule;
}

}  // namespace

Json exports_json(const filer::ExportTable& table) {
  Json list = Json::array();
  for (const filer::Export& entry : table.exports) {
    Json clients = Json::array();
    for (const filer::ExportRule& rule : entry.rules) {
      clients.push_back(rule_json(rule));
    }
    list.push_back({{"path", entry.path}, {"clients", clients}});
  }
  return {{"exports", list}};
}

std::variant<filer::Export, std::string> export_from(const Json& json) {
  filer::Export entry;
  const std::optional<std::string> path =
      json.is_object() ? text_member(json, "path") : std::nullopt;
  if (!path || !path->starts_with('/') || !json.contains("clients") ||
      !json.at("clients").is_array() || json.size() != 2) {
    return std::string("an export has \"path\", beginning with /, and a list of \"clients\"");
  }
  entry.path = *path;
  for (const Json& client : json.at("clients")) {
    std::variant<filer::ExportRule, std::string> rule = rule_from(client);
    if (std::string* wrong = std::get_if<std::string>(&rule)) {
      return std::move(*wrong);
    }
    entry.rules.push_back(std::get<filer::ExportRule>(rule));
  }
  return entry;
}

std::variant<filer::ExportTable, std::string> exports_from(const Json& json) {
  filer::ExportTable table;
  if (!json.is_array()) {
    return std::string("\"exports\" must be a list");
  }
  for (const Json& item : json) {
    std::variant<filer::Export, std::string> entry = export_from(item);
    if (std::string* wrong = std::get_if<std::string>(&entry)) {
      return std::move(*wrong);
    }
    table.exports.push_back(std::move(std::get<filer::Export>(entry)));
  }
  return table;
}

}  // namespace duet::admin
