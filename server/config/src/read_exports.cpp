#include <fmt/format.h>

#include "schema.h"

namespace duet::config {

bool read_read_write(Reader& reader, MapReader& client) {
  const std::string access = client.text("access", "rw");
  if (access != "rw" && access != "ro") {
    reader.fail(client.line(),
                fmt::format("{}: \"{}\" is not known", client.path_of("access"), access),
                "write rw or ro");
  }
  return access == "rw";
}

filer::ExportRule read_match(Reader& reader, MapReader& client) {
  const std::string match = client.text("match");
  if (reader.error()) {
    return {};
  }
  Result<filer::ExportRule> parsed = filer::parse_client(match);
  if (!parsed.ok()) {
    reader.fail(client.line(),
                fmt::format("{}: \"{}\" matches no client", client.path_of("match"), match),
                "write an address, a subnet such as 10.1.0.0/16, or \"*\"");
    return {};
  }
  return parsed.value();
}

namespace {

void read_access(Reader& reader, MapReader& map, filer::ExportRule& rule) {
  rule.read_write = read_read_write(reader, map);
  const std::string squash = map.text("squash", "root");
  if (squash == "none") {
    rule.squash = filer::Squash::kNone;
  } else if (squash == "root") {
    rule.squash = filer::Squash::kRoot;
  } else if (squash == "all") {
    rule.squash = filer::Squash::kAll;
  } else {
    reader.fail(map.line(), fmt::format("{}: \"{}\" is not known", map.path_of("squash"), squash),
                "write none, root or all");
  }
  const std::string security = map.text("sec", "sys");
  if (security != "sys") {
    reader.fail(map.line(), fmt::format("{}: \"{}\" is not known", map.path_of("sec"), security),
                "write sys; nothing else is offered yet");
  }
}

filer::ExportRule read_client(Reader& reader, const Value& item, const std::string& path) {
  MapReader map(reader, item, path);
  filer::ExportRule rule = read_match(reader, map);
  read_access(reader, map, rule);
  constexpr std::uint64_t kIdMax = 0xFFFF'FFFE;
  rule.anonymous_uid =
      static_cast<std::uint32_t>(map.number("anonymous_uid", rule.anonymous_uid, 0, kIdMax));
  rule.anonymous_gid =
      static_cast<std::uint32_t>(map.number("anonymous_gid", rule.anonymous_gid, 0, kIdMax));
  rule.secure_ports = map.flag("secure", false);
  map.finish();
  return rule;
}

bool names_volume(std::string_view path, const std::vector<Volume>& volumes) {
  for (const Volume& volume : volumes) {
    if (path.starts_with('/') && path.substr(1) == volume.name) {
      return true;
    }
  }
  return false;
}

}  // namespace

filer::ExportTable read_exports(Reader& reader, const Value& list, const std::string& path,
                                const std::vector<Volume>& volumes) {
  filer::ExportTable table;
  for (const Value& item : list_items(reader, list, path)) {
    MapReader map(reader, item, path);
    filer::Export entry;
    entry.path = map.text("path");
    if (!names_volume(entry.path, volumes)) {
      reader.fail(
          item.line,
          fmt::format("{}: \"{}\" is no volume of this filer", map.path_of("path"), entry.path),
          "write / and the name of a volume that is listed under `volumes`");
    }
    for (const filer::Export& earlier : table.exports) {
      if (earlier.path == entry.path) {
        reader.fail(item.line, fmt::format("{}: \"{}\" is exported twice", path, entry.path),
                    "put all its clients into one entry");
      }
    }
    const Value& clients = map.need("clients");
    for (const Value& client : list_items(reader, clients, map.path_of("clients"))) {
      entry.rules.push_back(read_client(reader, client, map.path_of("clients")));
    }
    map.finish();
    table.exports.push_back(std::move(entry));
  }
  return table;
}

}  // namespace duet::config
