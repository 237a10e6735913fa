// The schema: which keys there are and what they may hold.

#pragma once

#include "reader.h"

namespace duet::config {

Config read_config(Reader& reader, const Value& root, std::string_view file);
void read_nodes(Reader& reader, const Value& nodes, Config& config);
void read_filers(Reader& reader, const Value& filers, Config& config);
filer::ExportTable read_exports(Reader& reader, const Value& list, const std::string& path,
                                const std::vector<Volume>& volumes);
// What no single place can see: homes, addresses and paths used twice.
void check_together(Reader& reader, const Config& config);

}  // namespace duet::config
