// Snapshots as streams, piece by piece: a request brings or takes one, so that memory is bounded
// whatever the stream's size.

#include <fmt/format.h>

#include <charconv>

#include "state.h"

namespace duet::admin {

namespace {

constexpr std::size_t kStreamsMax = 8;            // an older one is forgotten for a newer
constexpr std::size_t kPieceBytes = 256U << 10U;  // and one frame more

std::optional<std::uint64_t> number_from(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number)
                                                                  : std::nullopt;
}

std::optional<std::vector<std::byte>> bytes_from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
    if (error != std::errc() || end != text.data() + i + 2) {
      return std::nullopt;
    }
    bytes.push_back(std::byte(value));
  }
  return text.size() % 2 == 0 ? std::optional(std::move(bytes)) : std::nullopt;
}

Response bytes_reply(const std::vector<std::byte>& bytes) {
  return {200, "application/octet-stream",
          std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
}

Response no_stream() {
  return refusal(404, "not_found", "no such stream, or it has ended", "begin it again");
}

}  // namespace

Response Api::State::add_stream(std::shared_ptr<Stream> stream) {
  if (open_streams.size() >= kStreamsMax) {
    open_streams.erase(open_streams.begin());
  }
  const std::uint64_t id = next_stream++;
  open_streams.emplace(id, std::move(stream));
  return reply({{"stream", id}});
}

// POST volumes/VOLUME/snapshots/SNAPSHOT/send
Task<Response> Api::State::begin_send(const Request& request, const std::string& volume,
                                      const std::string& snapshot) {
  std::variant<Json, Response> body = read_body(request, {"from"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const Json& json = std::get<Json>(body);
  const std::optional<std::string> from = text_member(json, "from");
  if (std::optional<Response> reserved = refuse_reserved(snapshot)) {
    co_return std::move(*reserved);  // the receiver's scrubs would delete it
  }
  if (json.contains("from") && (!from || from->empty())) {
    co_return refusal(400, "invalid", "\"from\" must be the name of a snapshot");
  }
  Result<std::unique_ptr<wafl::SnapshotSender>> sender =
      context.filer.send_snapshot(volume, snapshot, from.value_or(""));
  if (!sender.ok()) {
    const std::string object = from ? snapshot + " from " + *from : snapshot;
    co_return outcome(sender.error(), "sending " + volume + "@" + object);
  }
  auto stream = std::make_shared<Stream>();
  stream->sender = std::move(sender.value());
  co_return add_stream(std::move(stream));
}

// POST streams
Task<Response> Api::State::begin_receive(const Request& request) {
  std::variant<Json, Response> body = read_body(request, {"volume", "header", "rollback"});
  if (Response* bad = std::get_if<Response>(&body)) {
    co_return std::move(*bad);
  }
  const Json& json = std::get<Json>(body);
  const std::optional<std::string> volume = text_member(json, "volume");
  const std::optional<std::string> hex = text_member(json, "header");
  std::optional<std::vector<std::byte>> header = hex ? bytes_from_hex(*hex) : std::nullopt;
  const auto rollback = json.find("rollback");
  if (!volume || !header || (rollback != json.end() && !rollback->is_boolean())) {
    co_return refusal(400, "invalid",
                      "\"volume\" must be a text, \"header\" hexadecimal, \"rollback\" a boolean");
  }
  const bool may_roll_back = rollback != json.end() && rollback->get<bool>();
  const Result<std::uint64_t> begun =
      co_await context.filer.begin_receive(*volume, std::move(*header), may_roll_back);
  if (!begun.ok()) {
    co_return outcome(begun.error(), "receiving into volume " + *volume);
  }
  auto stream = std::make_shared<Stream>();
  stream->receive = begun.value();
  co_return add_stream(std::move(stream));
}

// GET, PUT streams/NUMBER/PIECE; DELETE streams/NUMBER
Task<Response> Api::State::streams(const Request& request, const Parts& parts) {
  if (parts.size() == 1) {
    if (request.method != "POST") {
      co_return wrong_method();
    }
    co_return co_await begin_receive(request);
  }
  const std::optional<std::uint64_t> id = number_from(parts[1]);
  const auto found = id ? open_streams.find(*id) : open_streams.end();
  if (found == open_streams.end()) {
    co_return no_stream();
  }
  const std::shared_ptr<Stream> stream = found->second;
  if (parts.size() == 2 && request.method == "DELETE") {
    open_streams.erase(found);
    co_return reply(Json::object());
  }
  const std::optional<std::uint64_t> piece =
      parts.size() == 3 ? number_from(parts[2]) : std::nullopt;
  if (!piece) {
    co_return not_found();
  }
  if (request.method != (stream->sender != nullptr ? "GET" : "PUT")) {
    co_return wrong_method();
  }
  if (stream->busy || *piece != stream->pieces) {
    co_return refusal(409, "refused",
                      fmt::format("the next piece of this stream is {}", stream->pieces),
                      "begin it again");
  }
  stream->busy = true;
  ++stream->pieces;
  Response response;
  if (stream->sender != nullptr) {
    response = co_await next_piece(*id);
  } else {
    response = co_await take_piece(request, *id);
  }
  stream->busy = false;
  if (response.status != 200) {
    open_streams.erase(*id);
  }
  co_return response;
}

// Empty: the one before was the last.
Task<Response> Api::State::next_piece(std::uint64_t id) {
  const std::shared_ptr<Stream> stream = open_streams.at(id);
  std::vector<std::byte> bytes;
  const Status next = co_await stream->sender->next(bytes, kPieceBytes);
  if (!next.ok()) {
    co_return outcome(next, "sending");
  }
  if (bytes.empty()) {
    open_streams.erase(id);
  }
  co_return bytes_reply(bytes);
}

Task<Response> Api::State::take_piece(const Request& request, std::uint64_t id) {
  const std::shared_ptr<Stream> stream = open_streams.at(id);
  const ConstBytes body = std::as_bytes(std::span(request.body));
  std::vector<std::byte> piece(body.begin(), body.end());
  const Result<bool> taken = co_await context.filer.receive(stream->receive, std::move(piece));
  if (!taken.ok()) {
    co_return outcome(taken.error(), "receiving");
  }
  if (taken.value()) {
    open_streams.erase(id);
  }
  co_return reply({{"complete", taken.value()}});
}

}  // namespace duet::admin
