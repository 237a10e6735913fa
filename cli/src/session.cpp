// Compiled with exceptions: cpp-httplib uses them inside (CMakeLists.txt).

#include "session.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

namespace duet::cli {

namespace {

constexpr std::time_t kConnectSeconds = 5;
constexpr std::time_t kAnswerSeconds = 600;  // a CP of a slow disk takes its time
constexpr std::time_t kStateSeconds = 3;     // ... but a node that is stopped never answers

std::string first_line(const std::string& file) {
  std::string line;
  std::ifstream stream(file);
  std::getline(stream, line);
  return line;
}

std::unique_ptr<httplib::Client> connect(const Options& options, const std::string& socket) {
  std::unique_ptr<httplib::Client> client;
  if (options.url.empty()) {
    client = std::make_unique<httplib::Client>(socket);
    client->set_address_family(AF_UNIX);
  } else {
    client = std::make_unique<httplib::Client>(options.url);
    if (!options.ca_file.empty()) {
      client->set_ca_cert_path(options.ca_file.c_str());
    }
    client->set_bearer_token_auth(first_line(options.token_file).c_str());
  }
  client->set_connection_timeout(kConnectSeconds);
  client->set_read_timeout(kAnswerSeconds);
  return client;
}

std::string encoded(const std::string& path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("/-_.~").find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

}  // namespace

const config::Config* Session::config() {
  if (!config_ && !refused_) {
    config::Outcome<config::Config> loaded = config::load(options_.config_file);
    const std::string wrong = loaded.ok() ? wrong_name(loaded.value()) : loaded.error().text();
    if (wrong.empty()) {
      config_ = std::move(loaded.value());
    } else {
      fail(Exit::kUsage, wrong);
      refused_ = true;
    }
  }
  return config_ ? &*config_ : nullptr;
}

// Empty: the file knows what --node and --filer name.
std::string Session::wrong_name(const config::Config& config) const {
  if (!options_.node.empty() && config.node(options_.node) == nullptr) {
    return fmt::format("{}: there is no node \"{}\"; name one of the file's with --node",
                       config.file, options_.node);
  }
  if (!options_.filer.empty() && config.filer(options_.filer) == nullptr) {
    return fmt::format("{}: there is no filer \"{}\"; name one of the file's with --filer",
                       config.file, options_.filer);
  }
  return {};
}

bool Session::in_pair() {
  const config::Config* const found = options_.url.empty() ? config() : nullptr;
  return found != nullptr && found->is_pair();
}

const config::Node* Session::node() {
  const config::Config* all = config();
  if (all == nullptr) {
    return nullptr;
  }
  return options_.node.empty() ? &all->nodes.front() : all->node(options_.node);
}

std::string Session::place() {
  if (!options_.url.empty()) {
    return options_.url;
  }
  const config::Node* here = node();
  return here == nullptr ? "" : here->admin.socket.text;
}

namespace {

std::string text_of(const Json& body) {
  return body.is_null() ? "" : body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Answer Session::call(const std::string& method, const std::string& path, const Json& body) {
  return send({method, path, text_of(body), "application/json"});
}

Answer Session::call_with_bytes(const std::string& method, const std::string& path,
                                std::string bytes) {
  return send({method, path, std::move(bytes), "application/octet-stream"});
}

Answer Session::call_node(const config::Node& node, const std::string& method,
                          const std::string& path, const Json& body) {
  return exchange(node.admin.socket.text, {method, path, text_of(body), "application/json"});
}

Answer Session::ask_state(const config::Node& node) {
  return exchange(node.admin.socket.text,
                  {"GET", "/v1/failover", "", "application/json", kStateSeconds});
}

Answer Session::ask_hosts(const config::Node& node) {
  return exchange(node.admin.socket.text,
                  {"GET", "/v1/nbd", "", "application/json", kStateSeconds});
}

// Of a pair: the filer's home first, unless --node says another; then the other node.
Answer Session::send(const Message& message) {
  const std::string where = place();
  const config::Config* pair = options_.url.empty() ? config() : nullptr;
  if (where.empty() || pair == nullptr || !pair->is_pair()) {
    return where.empty() ? Answer{} : exchange(where, message);
  }
  const config::Node* first = node();
  static constexpr std::string_view kFilers = "/v1/filers/";
  const bool named = message.path.starts_with(kFilers);
  const std::string filer = named                    ? message.path.substr(kFilers.size(), 1)
                            : options_.filer.empty() ? first->name
                                                     : options_.filer;
  if (options_.node.empty() && pair->node(filer) != nullptr) {
    first = pair->node(filer);
  }
  Message asked = message;
  const std::string_view rest = std::string_view(message.path).substr(std::strlen("/v1"));
  if (!named && !rest.starts_with("/failover")) {
    asked.path = "/v1/filers/" + filer + std::string(rest);
  }
  constexpr int kElsewhere = 421;
  Answer answer = exchange(first->admin.socket.text, asked);
  for (const config::Node& other : pair->nodes) {
    const bool try_other = answer.status == 0 || answer.status == kElsewhere;
    if (try_other && &other != first) {
      Answer second = exchange(other.admin.socket.text, asked);
      if (second.status != 0) {
        return second;
      }
    }
  }
  return answer;
}

Answer Session::exchange(const std::string& where, const Message& message) const {
  Answer answer;
  const std::unique_ptr<httplib::Client> client = connect(options_, where);
  if (message.within_s > 0) {
    client->set_read_timeout(message.within_s);
  }
  httplib::Request request;
  request.method = message.method;
  request.path = encoded(message.path);
  if (!message.body.empty()) {
    request.body = message.body;
    request.set_header("Content-Type", message.content_type);
  } else if (message.method != "GET") {
    request.set_header("Content-Length", "0");
  }
  const httplib::Result result = client->send(request);
  if (!result) {
    answer.distrusted = result.error() == httplib::Error::SSLServerVerification;
    return answer;
  }
  answer.status = result->status;
  if (result->get_header_value("Content-Type") == "application/octet-stream") {
    answer.bytes = std::move(result->body);
    return answer;
  }
  answer.json = Json::parse(result->body, nullptr, /*allow_exceptions=*/false);
  if (answer.json.is_discarded()) {
    answer.json = Json{{"error", {{"message", "an answer that is no JSON"}}}};
    answer.status = 502;
  }
  return answer;
}

Exit Session::fail(const Answer& answer) {
  if (answer.distrusted) {
    return fail(
        Exit::kUnreachable,
        fmt::format("the certificate of {} is not trusted; name its authority with --ca", place()));
  }
  if (answer.status == 0) {
    const std::string where = place();
    return where.empty()
               ? Exit::kUsage
               : fail(Exit::kUnreachable,
                      fmt::format(
                          "nobody answers at {}: is duetd running, and may this user connect?",
                          where));
  }
  const Json error = answer.json.value("error", Json::object());
  const std::string remedy = error.value("remedy", std::string());
  const std::string message = error.value("message", std::string("failed"));
  constexpr int kBadRequest = 400;
  return fail(answer.status == kBadRequest ? Exit::kUsage : Exit::kFailed,
              remedy.empty() ? message : message + "; " + remedy);
}

Exit Session::fail(Exit code, const std::string& message) {
  fmt::print(stderr, "duet: {}\n", message);
  if (options_.json) {
    const Json json = {{"error", {{"message", message}, {"exit", static_cast<int>(code)}}}};
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  return code;
}

Exit Session::done(const Answer& answer, const std::string& message) {
  if (!answer.ok()) {
    return fail(answer);
  }
  const std::string note = answer.json.is_object() ? answer.json.value("note", std::string()) : "";
  Json json = {{"ok", true}};
  if (!note.empty()) {
    json["note"] = note;
  }
  fmt::print("{}\n", options_.json ? json.dump() : message);
  if (!note.empty() && !options_.json) {
    fmt::print("{}\n", note);
  }
  return Exit::kOk;
}

}  // namespace duet::cli
