// Session: what every command has at hand: the options, the configuration, a way to the server.

#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "config/config.h"

namespace duet::cli {

using Json = nlohmann::json;

// The program's exit codes; README and `duet --help` name them.
enum class Exit { kOk = 0, kFailed = 1, kUsage = 2, kUnreachable = 3 };

struct Options {
  std::string config_file;
  std::string node;
  std::string filer;  // of a pair: which filer is meant
  bool json = false;
  std::string url;  // https://HOST:PORT instead of the Unix socket
  std::string token_file;
  std::string ca_file;
};

struct Answer {
  int status = 0;  // of HTTP; 0: the server was not reached
  Json json;
  std::string bytes;        // what came, when it is no JSON
  bool distrusted = false;  // not reached, because its certificate is not trusted
  [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
};

class Session {
 public:
  explicit Session(Options options) : options_(std::move(options)) {}

  [[nodiscard]] const Options& options() const { return options_; }

  // Null: it cannot be used, or --node or --filer name nothing in it; the first call says so.
  const config::Config* config();
  // By the configuration here; one that is reached by --url alone is not known to be a pair.
  bool in_pair();
  // The node that --node names, or the first one.
  const config::Node* node();

  // One request to the server; of a pair to the node that serves the filer that is meant, as far as
  // it can be reached from here.  Prints nothing.
  Answer call(const std::string& method, const std::string& path, const Json& body = nullptr);
  // The same with a body that is no JSON.
  Answer call_with_bytes(const std::string& method, const std::string& path, std::string bytes);
  // One request to this node of a pair, and to no other.
  Answer call_node(const config::Node& node, const std::string& method, const std::string& path,
                   const Json& body = nullptr);
  // What a node says of its pair; given up soon, as it may be stopped.
  Answer ask_state(const config::Node& node);
  // ... and of the hosts that attach virtual disks through it.
  Answer ask_hosts(const config::Node& node);
  // Where call() goes, for messages.
  std::string place();

  // Prints why `answer` is not ok, and gives the exit code.
  Exit fail(const Answer& answer);
  // Prints one error: text to stderr, and with --json an object to stdout.
  Exit fail(Exit code, const std::string& message);

  // A change without a result: "NAME created" and the note that came with the answer, if one did;
  // with --json the answer.
  Exit done(const Answer& answer, const std::string& message);

 private:
  struct Message {
    std::string method, path, body;
    const char* content_type;
    std::time_t within_s = 0;  // it is answered, or given up; 0: as long as work may take
  };
  [[nodiscard]] std::string wrong_name(const config::Config& config) const;
  Answer send(const Message& message);
  Answer exchange(const std::string& where, const Message& message) const;

  Options options_;
  std::optional<config::Config> config_;
  bool refused_ = false;
};

}  // namespace duet::cli
