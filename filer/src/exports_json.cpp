// Compiled with exceptions: nlohmann's accessors throw, and nothing of that leaves this file.

#include <exception>
#include <nlohmann/json.hpp>

#include "filer/exports.h"

namespace duet::filer {

namespace {

using nlohmann::json;

const char* squash_text(Squash squash) {
  switch (squash) {
    case Squash::kNone:
      return "none";
    case Squash::kRoot:
      return "root";
    case Squash::kAll:
      return "all";
  }
  return "";
}

bool parse_squash(std::string_view text, Squash& squash) {
  for (const Squash known : {Squash::kNone, Squash::kRoot, Squash::kAll}) {
    if (text == squash_text(known)) {
      squash = known;
      return true;
    }
  }
  return false;
}

json to_json(const ExportRule& rule) {
  json to = json::object();
  to["match"] = client_text(rule);
  to["access"] = rule.read_write ? "rw" : "ro";
  to["squash"] = squash_text(rule.squash);
  to["anonymous_uid"] = rule.anonymous_uid;
  to["anonymous_gid"] = rule.anonymous_gid;
  to["secure_ports"] = rule.secure_ports;
  return to;
}

constexpr Error kBad{Errc::kCorrupt, "exports: the stored table makes no sense"};

Result<ExportRule> rule_from(const json& from) {
  Result<ExportRule> parsed = parse_client(from.at("match").get<std::string>());
  if (!parsed.ok()) {
    return kBad;
  }
  ExportRule& rule = parsed.value();
  const auto access = from.at("access").get<std::string>();
  if ((access != "rw" && access != "ro") ||
      !parse_squash(from.at("squash").get<std::string>(), rule.squash)) {
    return kBad;
  }
  rule.read_write = access == "rw";
  rule.anonymous_uid = from.at("anonymous_uid").get<std::uint32_t>();
  rule.anonymous_gid = from.at("anonymous_gid").get<std::uint32_t>();
  rule.secure_ports = from.at("secure_ports").get<bool>();
  return parsed;
}

Result<ExportTable> table_from(const json& from) {
  ExportTable table;
  for (const json& entry : from.at("exports")) {
    Export to;
    to.path = entry.at("path").get<std::string>();
    for (const json& rule : entry.at("clients")) {
      const Result<ExportRule> parsed = rule_from(rule);
      if (!parsed.ok()) {
        return parsed.error();
      }
      to.rules.push_back(parsed.value());
    }
    table.exports.push_back(std::move(to));
  }
  return table;
}

}  // namespace

std::string encode(const ExportTable& table) {
  json entries = json::array();
  for (const Export& from : table.exports) {
    json clients = json::array();
    for (const ExportRule& rule : from.rules) {
      clients.push_back(to_json(rule));
    }
    json entry = json::object();
    entry["path"] = from.path;
    entry["clients"] = std::move(clients);
    entries.push_back(std::move(entry));
  }
  json whole = json::object();
  whole["exports"] = std::move(entries);
  // A path that is not UTF-8 is replaced, not thrown about; set_exports() refuses it.
  return whole.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ExportTable> decode_exports(std::string_view text) {
  try {
    return table_from(json::parse(text));
  } catch (const std::exception&) {
    return kBad;
  }
}

}  // namespace duet::filer
