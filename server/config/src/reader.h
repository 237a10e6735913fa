// Reader: takes values out of a document and remembers the first thing that is wrong.
//
// After the first error every function returns its fallback, so that callers read straight on and
// ask once at the end.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "document.h"

namespace duet::config {

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  void fail(int line, std::string message, std::string remedy);
  // What failed first has a better explanation.
  void forget_error() { error_.reset(); }
  [[nodiscard]] const std::optional<ConfigError>& error() const { return error_; }

 private:
  std::string file_;
  std::optional<ConfigError> error_;
};

// The entries of one map.  finish() refuses the keys that nobody asked for.
class MapReader {
 public:
  // `path` is how messages name it: "filers.a"; empty at the top.
  MapReader(Reader& reader, const Value& value, std::string path);

  // Null when absent.
  const Value* find(std::string_view key);
  // An empty value when absent, which is an error.
  const Value& need(std::string_view key);

  [[nodiscard]] std::string path_of(std::string_view key) const;
  [[nodiscard]] int line() const { return value_.line; }

  std::string text(std::string_view key);
  std::string text(std::string_view key, std::string fallback);
  Path path(std::string_view key);
  bool flag(std::string_view key, bool fallback);
  std::uint64_t number(std::string_view key, std::uint64_t fallback, std::uint64_t least,
                       std::uint64_t most);
  std::uint64_t size(std::string_view key, std::optional<std::uint64_t> fallback,
                     std::uint64_t least);
  Duration duration(std::string_view key, Duration fallback, Duration least, Duration most);

  void finish();

 private:
  const std::string* scalar(const Value& value, std::string_view key);

  Reader& reader_;
  const Value& value_;
  std::string path_;
  std::vector<std::string> asked_;
  bool missed_ = false;  // the reader's error is that a key of this map is missing
};

// The entries of a list of maps or scalars; an error when it is something else.
const std::vector<Value>& list_items(Reader& reader, const Value& value, std::string_view path);
// A scalar that is not empty; an error when it is something else.
std::string scalar_text(Reader& reader, const Value& value, std::string_view path);

}  // namespace duet::config
