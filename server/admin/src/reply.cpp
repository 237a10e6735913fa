#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "state.h"

namespace duet::admin {

namespace {

struct ErrorText {
  int status;
  std::string_view code, message, remedy;
};

// What the filer's errors mean to an operator.  Errors that only NFS meets are not named.
ErrorText error_text(Errc code) {
  switch (static_cast<int>(code)) {
    case static_cast<int>(Errc::kNotFound):
      return {404, "not_found", "there is none of that name", ""};
    case static_cast<int>(Errc::kExists):
      return {409, "exists", "the name is taken", "choose another name"};
    case static_cast<int>(Errc::kNameTooLong):
      return {400, "name_too_long", "the name is too long", "choose a shorter one"};
    case static_cast<int>(Errc::kInvalid):
      return {400, "invalid", "that cannot be done with this name or value",
              "see docs/ADMIN_API.md for what is accepted"};
    case static_cast<int>(Errc::kRefused):
      return {409, "refused", "a rule forbids it", "see the message"};
    case static_cast<int>(Errc::kForeign):
      return {409, "foreign", "it holds data, or belongs to another filer", "name a blank disk"};
    case static_cast<int>(Errc::kNoSpace):
    case static_cast<int>(Errc::kOverLimit):
      return {507, "no_space", "there is no space for it", "delete something, or add a disk"};
    case static_cast<int>(Errc::kTryAgain):
      return {503, "try_again", "a limit was reached; nothing was done", "try again"};
    case static_cast<int>(Errc::kClosed):
      return {503, "closed", "the filer is stopping", "start it again"};
    case static_cast<int>(Errc::kIo):
      return {500, "io", "a disk or the memory failed", "see the trace of duetd"};
    case static_cast<int>(Errc::kCorrupt):
      return {500, "corrupt", "damaged bytes were found", "run `duet check` when it is stopped"};
    default:
      return {500, "failed", "it failed", "see the trace of duetd"};
  }
}

// "create_snapshot: there is one": without the operation, which the operator has just named.
std::string_view without_operation(std::string_view context) {
  const std::size_t colon = context.find(": ");
  const bool one_word = context.substr(0, colon).find(' ') == std::string_view::npos;
  return colon != std::string_view::npos && one_word ? context.substr(colon + 2) : context;
}

// "volume v0", "snapshot s": what lists the others.
std::string_view remedy_of_missing(std::string_view object) {
  return object.starts_with("snapshot") ? "`duet snapshot list VOLUME` names what there is"
         : object.starts_with("export") ? "`duet export list` names what there is"
                                        : "`duet volume list` names what there is";
}

}  // namespace

Response reply(const Json& json, int status) {
  return {status, "application/json",
          json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

Response refusal(int status, std::string_view code, std::string_view message,
                 std::string_view remedy) {
  Json error = {{"code", code}, {"message", message}};
  if (!remedy.empty()) {
    error["remedy"] = remedy;
  }
  return reply({{"error", error}}, status);
}

Response outcome(const Status& status, std::string_view object) {
  if (status.ok()) {
    return reply(Json::object());
  }
  const ErrorText text = error_text(status.error().code);
  const std::string_view context = without_operation(status.error().context);
  return refusal(text.status, text.code,
                 context.empty() ? fmt::format("{}: {}", object, text.message)
                                 : fmt::format("{}: {} ({})", object, text.message, context),
                 text.remedy.empty() ? remedy_of_missing(object) : text.remedy);
}

Response not_found() {
  return refusal(404, "not_found", "no such resource", "see docs/ADMIN_API.md");
}

Response wrong_method() {
  return refusal(405, "wrong_method", "this resource does not take that method",
                 "see docs/ADMIN_API.md");
}

std::string timestamp_text(std::int64_t ns_since_epoch) {
  const std::time_t seconds = ns_since_epoch / 1'000'000'000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(seconds));
}

std::variant<Json, Response> read_body(const Request& request,
                                       std::initializer_list<std::string_view> allowed) {
  const Json json = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return refusal(400, "invalid", "the body is not a JSON object", "see docs/ADMIN_API.md");
  }
  for (const auto& [key, value] : json.items()) {
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      return refusal(400, "invalid", fmt::format("\"{}\" is not known here", key),
                     "see docs/ADMIN_API.md");
    }
  }
  return json;
}

std::optional<std::string> text_member(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) {
    return std::nullopt;
  }
  return found->get<std::string>();
}

std::optional<std::uint64_t> number_member(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned()) {
    return std::nullopt;
  }
  return found->get<std::uint64_t>();
}

}  // namespace duet::admin
