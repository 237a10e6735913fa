// Snapshots as streams, from the server to stdout and from stdin to the server, piece by piece.

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "commands.h"
#include "text.h"

namespace duet::cli {

namespace {

constexpr std::size_t kHeaderBytes = 496;         // wafl/FORMAT-stream.md
constexpr std::size_t kPieceBytes = 192U << 10U;  // the server takes bodies up to 256 KiB

struct Arguments {
  std::string name, from;
  bool rollback = false;
  bool abort = false;
};

// Tells how far it is, about once a second, to people only.
class Progress {
 public:
  explicit Progress(const char* done) : done_(done) {}
  ~Progress() {
    if (shown_) {
      fmt::print(stderr, "\n");
    }
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(std::size_t bytes) {
    bytes_ += bytes;
    const auto now = std::chrono::steady_clock::now();
    if (isatty(STDERR_FILENO) != 0 && now - last_ >= std::chrono::seconds(1)) {
      fmt::print(stderr, "\r{} {}   ", config::size_text(bytes_), done_);
      last_ = now;
      shown_ = true;
    }
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  const char* done_;
  std::uint64_t bytes_ = 0;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

bool write_all(const std::string& bytes) {
  return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
}

// Fewer only at the end.
std::string read_some(std::size_t bytes) {
  std::string piece(bytes, '\0');
  piece.resize(std::fread(piece.data(), 1, bytes, stdin));
  return piece;
}

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

std::string piece_path(std::uint64_t stream, std::uint64_t piece) {
  return fmt::format("/v1/streams/{}/{}", stream, piece);
}

Exit send(Session& session, const Arguments& arguments) {
  const auto [volume, snapshot] = snapshot_from(arguments.name);
  if (volume.empty()) {
    return session.fail(Exit::kUsage, "write VOLUME@SNAPSHOT, such as projects@monday");
  }
  if (isatty(STDOUT_FILENO) != 0) {
    return session.fail(Exit::kUsage, "a stream is not for a terminal: write it to a file or pipe");
  }
  const Json body = arguments.from.empty() ? Json::object() : Json{{"from", arguments.from}};
  const Answer begun =
      session.call("POST", "/v1/volumes/" + volume + "/snapshots/" + snapshot + "/send", body);
  if (!begun.ok()) {
    return session.fail(begun);
  }
  const auto stream = begun.json.value("stream", std::uint64_t{0});
  Progress progress("sent");
  for (std::uint64_t piece = 0;; ++piece) {
    const Answer answer = session.call("GET", piece_path(stream, piece));
    if (!answer.ok()) {
      return session.fail(answer);
    }
    if (answer.bytes.empty()) {
      break;
    }
    if (!write_all(answer.bytes)) {
      return session.fail(Exit::kFailed, "the stream cannot be written: is the disk full?");
    }
    progress.add(answer.bytes.size());
  }
  return std::fflush(stdout) == 0
             ? Exit::kOk
             : session.fail(Exit::kFailed, "the stream cannot be written: is the disk full?");
}

Exit receive(Session& session, const Arguments& arguments) {
  const std::string give_up = "/v1/volumes/" + arguments.name + "/receive";
  if (arguments.abort) {
    return session.done(session.call("DELETE", give_up),
                        fmt::format("volume {} is as it was before", arguments.name));
  }
  if (isatty(STDIN_FILENO) != 0) {
    return session.fail(Exit::kUsage, "stdin must be a stream that `duet snapshot send` made");
  }
  const std::string header = read_some(kHeaderBytes);
  const Answer begun = session.call(
      "POST", "/v1/streams",
      {{"volume", arguments.name}, {"header", hex(header)}, {"rollback", arguments.rollback}});
  if (!begun.ok()) {
    return session.fail(begun);
  }
  const auto stream = begun.json.value("stream", std::uint64_t{0});
  Progress progress("received");
  progress.add(header.size());
  for (std::uint64_t piece = 0;; ++piece) {
    std::string bytes = read_some(kPieceBytes);
    if (bytes.empty()) {
      (void)session.call("DELETE", give_up);
      return session.fail(Exit::kFailed, "the stream ends too early; nothing was changed");
    }
    progress.add(bytes.size());
    const Answer answer =
        session.call_with_bytes("PUT", piece_path(stream, piece), std::move(bytes));
    if (!answer.ok()) {
      return session.fail(answer);
    }
    if (answer.json.value("complete", false)) {
      return session.done(answer, fmt::format("volume {} has the snapshot; {} received",
                                              arguments.name, config::size_text(progress.bytes())));
    }
  }
}

}  // namespace

void add_stream_commands(CLI::App& group, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* out = group.add_subcommand("send", "Writes a snapshot, or what changed, to stdout");
  out->add_option("VOLUME@SNAPSHOT", arguments->name)->required();
  out->add_option("--from", arguments->from, "An older snapshot: only what changed since");
  out->footer(
      "Example: duet snapshot send projects@tuesday --from monday |\n"
      "           ssh other duet snapshot receive copy");
  out->callback([&action, arguments] {
    action = [arguments](Session& session) { return send(session, *arguments); };
  });
  CLI::App* in = group.add_subcommand("receive", "Makes a volume what a stream on stdin says");
  in->add_option("VOLUME", arguments->name)->required();
  in->add_flag("--rollback", arguments->rollback,
               "Give up what changed in the volume since its newest snapshot");
  in->add_flag("--abort", arguments->abort, "End a receive that was cut off");
  in->footer(
      "A whole snapshot makes the volume; an increment goes onto the snapshot that it was made\n"
      "from, which must be the volume's newest.  Until it ends clients wait; if it is cut off or\n"
      "refused, the volume is as it was before.\n"
      "Example: duet snapshot receive copy < tuesday.stream");
  in->callback([&action, arguments] {
    action = [arguments](Session& session) { return receive(session, *arguments); };
  });
}

}  // namespace duet::cli
