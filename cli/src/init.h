// What the two ways of `duet init` share.

#pragma once

#include <string>
#include <vector>

#include "session.h"

namespace duet::cli {

// Both filers of a pair, or with --node the one at home there.
Exit init_pair(Session& session, const config::Config& config, bool force);

void progress(const Session& session, const std::string& line);
// Names what would be lost.  False: it stays, and the message is printed.
bool may_destroy(Session& session, const std::vector<std::string>& found, bool force);
Exit done(const Session& session);

}  // namespace duet::cli
