#include "reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace duet::config {

namespace {

const Value kNothing;

std::string_view kind_text(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::kNothing:
      return "nothing";
    case Value::Kind::kScalar:
      return "a single value";
    case Value::Kind::kList:
      return "a list";
    case Value::Kind::kMap:
      return "a group of keys";
  }
  return "something else";
}

std::string duration_text(Duration duration) {
  const std::int64_t microseconds = duration / std::chrono::microseconds(1);
  if (microseconds % 1'000'000 == 0) {
    return fmt::format("{}s", microseconds / 1'000'000);
  }
  return microseconds % 1'000 == 0 ? fmt::format("{}ms", microseconds / 1'000)
                                   : fmt::format("{}us", microseconds);
}

}  // namespace

void Reader::fail(int line, std::string message, std::string remedy) {
  if (!error_) {
    error_ = ConfigError{file_, line, std::move(message), std::move(remedy)};
  }
}

MapReader::MapReader(Reader& reader, const Value& value, std::string path)
    : reader_(reader), value_(value), path_(std::move(path)) {
  if (value.kind != Value::Kind::kMap) {
    reader_.fail(value.line > 0 ? value.line : 1,
                 fmt::format("{}: there is {} where keys are expected",
                             path_.empty() ? "the file" : path_, kind_text(value.kind)),
                 "write `key: value` lines, indented below it");
  }
}

const Value* MapReader::find(std::string_view key) {
  if (std::ranges::find(asked_, key) == asked_.end()) {
    asked_.emplace_back(key);
  }
  if (value_.kind != Value::Kind::kMap) {
    return nullptr;
  }
  for (const Value& item : value_.items) {
    if (item.key == key) {
      return &item;
    }
  }
  return nullptr;
}

const Value& MapReader::need(std::string_view key) {
  const Value* value = find(key);
  if (value == nullptr) {
    missed_ = missed_ || !reader_.error().has_value();
    reader_.fail(value_.key_line > 0 ? value_.key_line : value_.line,
                 fmt::format("{} is missing", path_of(key)),
                 "add it (docs/CONFIGURATION.md tells what it means)");
    return kNothing;
  }
  return *value;
}

std::string MapReader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const std::string* MapReader::scalar(const Value& value, std::string_view key) {
  if (value.kind != Value::Kind::kScalar) {
    reader_.fail(value.key_line,
                 fmt::format("{}: there is {} where a single value is expected", path_of(key),
                             kind_text(value.kind)),
                 "write `key: value` in one line");
    return nullptr;
  }
  return &value.scalar;
}

std::string MapReader::text(std::string_view key) {
  return scalar_text(reader_, need(key), path_of(key));
}

std::string MapReader::text(std::string_view key, std::string fallback) {
  const Value* value = find(key);
  return value == nullptr ? fallback : scalar_text(reader_, *value, path_of(key));
}

Path MapReader::path(std::string_view key) {
  const Value& value = need(key);
  return {scalar_text(reader_, value, path_of(key)), value.line};
}

bool MapReader::flag(std::string_view key, bool fallback) {
  const Value* value = find(key);
  const std::string* text = value == nullptr ? nullptr : scalar(*value, key);
  if (text == nullptr) {
    return fallback;
  }
  if (*text != "true" && *text != "false") {
    reader_.fail(value->line,
                 fmt::format("{}: \"{}\" is neither true nor false", path_of(key), *text),
                 "write true or false");
  }
  return *text == "true";
}

std::uint64_t MapReader::number(std::string_view key, std::uint64_t fallback, std::uint64_t least,
                                std::uint64_t most) {
  const Value* value = find(key);
  const std::string* text = value == nullptr ? nullptr : scalar(*value, key);
  if (text == nullptr) {
    return fallback;
  }
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size() || number < least ||
      number > most) {
    reader_.fail(
        value->line,
        fmt::format("{}: \"{}\" is not a number from {} to {}", path_of(key), *text, least, most),
        "write a number in that range");
    return fallback;
  }
  return number;
}

std::uint64_t MapReader::size(std::string_view key, std::optional<std::uint64_t> fallback,
                              std::uint64_t least) {
  const Value* value = fallback ? find(key) : &need(key);
  const std::string* text = value == nullptr || value == &kNothing ? nullptr : scalar(*value, key);
  if (text == nullptr) {
    return fallback.value_or(least);
  }
  const std::optional<std::uint64_t> bytes = parse_size(*text);
  if (!bytes) {
    reader_.fail(value->line, fmt::format("{}: \"{}\" is not a size", path_of(key), *text),
                 "write a whole number and a unit: KiB, MiB, GiB or TiB");
  } else if (*bytes < least) {
    reader_.fail(value->line, fmt::format("{}: {} is too small", path_of(key), *text),
                 fmt::format("give it at least {}", size_text(least)));
  }
  return bytes.value_or(least);
}

Duration MapReader::duration(std::string_view key, Duration fallback, Duration least,
                             Duration most) {
  const Value* value = find(key);
  const std::string* text = value == nullptr ? nullptr : scalar(*value, key);
  if (text == nullptr) {
    return fallback;
  }
  const std::optional<Duration> duration = parse_duration(*text);
  if (!duration) {
    reader_.fail(value->line, fmt::format("{}: \"{}\" is not a time", path_of(key), *text),
                 "write a whole number and a unit: us, ms, s or min");
    return fallback;
  }
  if (*duration < least || *duration > most) {
    reader_.fail(value->line, fmt::format("{}: {} is out of range", path_of(key), *text),
                 fmt::format("choose from {} to {}", duration_text(least), duration_text(most)));
  }
  return *duration;
}

void MapReader::finish() {
  for (const Value& item : value_.items) {
    bool known = false;
    std::string all;
    for (const std::string& key : asked_) {
      known = known || key == item.key;
      all += all.empty() ? key : ", " + key;
    }
    if (!known) {
      if (missed_) {  // perhaps under this name
        reader_.forget_error();
      }
      reader_.fail(item.key_line, fmt::format("{}: no such key", path_of(item.key)),
                   fmt::format("correct or remove it; known here: {}", all));
      return;
    }
  }
}

const std::vector<Value>& list_items(Reader& reader, const Value& value, std::string_view path) {
  if (value.kind != Value::Kind::kList || value.items.empty()) {
    reader.fail(value.key_line, fmt::format("{}: a list with at least one entry is expected", path),
                "write one `- entry` line for each");
    return kNothing.items;
  }
  return value.items;
}

std::string scalar_text(Reader& reader, const Value& value, std::string_view path) {
  if (value.kind != Value::Kind::kScalar || value.scalar.empty()) {
    reader.fail(value.key_line > 0 ? value.key_line : value.line,
                fmt::format("{}: a value is expected here", path), "write one, or remove the key");
    return {};
  }
  return value.scalar;
}

}  // namespace duet::config
