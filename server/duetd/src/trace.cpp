#include "trace.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

namespace duet::daemon {

namespace {

std::string_view level_text(Level level) {
  if (level == Level::kInfo) {
    return "info";
  }
  return level == Level::kWarning ? "warning" : "error";
}

bool plain(std::string_view value) {
  for (const char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == '\x7f') {
      return false;
    }
  }
  return !value.empty();
}

std::string quoted(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text + '"';
}

}  // namespace

std::string trace_line(Level level, std::string_view event,
                       std::initializer_list<TraceField> fields) {
  std::string line = fmt::format("level={} event={}", level_text(level), event);
  for (const TraceField& field : fields) {
    line +=
        fmt::format(" {}={}", field.key, plain(field.value) ? field.value : quoted(field.value));
  }
  return line;
}

void trace(Level level, std::string_view event, std::initializer_list<TraceField> fields) {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds = now.time_since_epoch().count() % 1000;
  const std::string line =
      fmt::format("time={:%Y-%m-%dT%H:%M:%S}.{:03d}Z {}\n", fmt::gmtime(seconds), milliseconds,
                  trace_line(level, event, fields));
  // One write, so that lines of several threads do not mix; nothing can be done if it fails.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace duet::daemon
