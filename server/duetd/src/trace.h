// Trace: what the server tells about itself on stderr, one line per event: key=value.
//
// Thread-safety: any thread; a line is written whole.

#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace duet::daemon {

struct TraceField {
  std::string_view key;
  std::string value;
};

enum class Level { kInfo, kWarning, kError };

// time=... level=info event=EVENT key=value ...
void trace(Level level, std::string_view event, std::initializer_list<TraceField> fields = {});

// The line without its time; values that hold spaces, quotes or control bytes are quoted.
[[nodiscard]] std::string trace_line(Level level, std::string_view event,
                                     std::initializer_list<TraceField> fields);

}  // namespace duet::daemon
