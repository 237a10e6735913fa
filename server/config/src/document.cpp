// The one file that meets yaml-cpp's exceptions; compiled with them (CMakeLists.txt).

#include "document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <optional>
#include <sstream>

namespace duet::config {

namespace {

constexpr std::size_t kTextBytesMax = 1U << 20U;
constexpr int kValuesMax = 20'000;  // aliases are counted each time: no "billion laughs"
constexpr int kDepthMax = 32;

class Converter {
 public:
  explicit Converter(std::string_view file) : file_(file) {}

  Value convert(const YAML::Node& node, int depth) {
    Value value;
    value.line = node.Mark().line + 1;
    if (++values_ > kValuesMax || depth > kDepthMax) {
      fail(value.line, "the file holds too many or too deeply nested values",
           "write it without aliases and shorter");
      return value;
    }
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        value.kind = Value::Kind::kScalar;
        value.scalar = node.Scalar();
        break;
      case YAML::NodeType::Sequence:
        value.kind = Value::Kind::kList;
        for (const YAML::Node& item : node) {
          if (error_) {
            break;
          }
          value.items.push_back(convert(item, depth + 1));
        }
        break;
      case YAML::NodeType::Map:
        value.kind = Value::Kind::kMap;
        convert_map(node, depth, value);
        break;
      case YAML::NodeType::Null:
      case YAML::NodeType::Undefined:
        break;
    }
    return value;
  }

  [[nodiscard]] const std::optional<ConfigError>& error() const { return error_; }

 private:
  void convert_map(const YAML::Node& node, int depth, Value& value) {
    for (const auto& entry : node) {
      if (error_) {
        return;
      }
      const int line = entry.first.Mark().line + 1;
      if (!entry.first.IsScalar()) {
        return fail(line, "a key is not a word", "write `key: value`");
      }
      const std::string& key = entry.first.Scalar();
      for (const Value& earlier : value.items) {
        if (earlier.key == key) {
          return fail(line,
                      "\"" + key + "\" stands here twice; the first is in line " +
                          std::to_string(earlier.key_line),
                      "remove one of them");
        }
      }
      Value item = convert(entry.second, depth + 1);
      item.key = key;
      item.key_line = line;
      value.items.push_back(std::move(item));
    }
  }

  void fail(int line, std::string message, std::string remedy) {
    if (!error_) {
      error_ = ConfigError{file_, line, std::move(message), std::move(remedy)};
    }
  }

  std::string file_;
  int values_ = 0;
  std::optional<ConfigError> error_;
};

// Where each document begins.
class Beginnings final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { last = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
  YAML::Mark last;
};

// YAML::LoadAll() never ends where a document begins with a comma (yaml-cpp 0.7): asked twice at
// most, the parser does.
std::optional<YAML::Mark> second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Beginnings beginnings;
  if (parser.HandleNextDocument(beginnings) && parser.HandleNextDocument(beginnings)) {
    return beginnings.last;
  }
  return std::nullopt;
}

}  // namespace

Outcome<Value> read_document(std::string_view text, std::string_view file) {
  if (text.size() > kTextBytesMax) {
    return ConfigError{std::string(file), 0, "the file is larger than 1 MiB", "name another file"};
  }
  try {
    const YAML::Node first = YAML::Load(std::string(text));
    if (first.IsNull()) {
      return ConfigError{std::string(file), 0, "the file is empty",
                         "start from deploy/samples/single.yaml"};
    }
    if (const auto second = second_document(std::string(text))) {
      return ConfigError{
          std::string(file), second->line + 1, "a second document begins here",
          "remove the line `---` and what follows; or a line above it begins with too many spaces"};
    }
    Converter converter(file);
    Value root = converter.convert(first, 0);
    if (converter.error()) {
      return *converter.error();
    }
    return root;
  } catch (const YAML::Exception& exception) {
    return ConfigError{std::string(file), exception.mark.line + 1, "not YAML: " + exception.msg,
                       "compare with deploy/samples/single.yaml"};
  } catch (const std::exception& exception) {
    return ConfigError{std::string(file), 0, std::string("cannot be read: ") + exception.what(),
                       "compare with deploy/samples/single.yaml"};
  }
}

}  // namespace duet::config
