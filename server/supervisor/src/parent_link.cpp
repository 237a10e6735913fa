#include "supervisor/parent_link.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "channel.h"

namespace duet::supervisor {

namespace {

constexpr std::chrono::milliseconds kPatience(1000);

Error error_of(std::uint32_t result) {
  const auto code = static_cast<Errc>(result);
  if (code == Errc::kExists) {
    return {code, "another process has the address"};
  }
  if (code == Errc::kInvalid) {
    return {code, "the supervisor knows no such listener"};
  }
  return {code, "the supervisor could not open the listener"};
}

struct Answer {
  Message message;
  int descriptor = -1;
};

void forget(int descriptor) {
  if (descriptor >= 0) {
    ::close(descriptor);
  }
}

Result<Answer> ask(int channel, const Message& question) {
  if (!send_message(channel, question)) {
    return errno == EAGAIN ? Error{Errc::kTryAgain, "the supervisor does not answer"}
                           : Error{Errc::kClosed, "the supervisor is gone"};
  }
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd waits{.fd = channel, .events = POLLIN, .revents = 0};
    if (left.count() <= 0 ||
        (poll(&waits, 1, static_cast<int>(left.count())) < 0 && errno != EINTR)) {
      return Error{Errc::kTryAgain, "the supervisor does not answer"};
    }
    const Received received = receive_message(channel);
    if (received.kind == Received::Kind::kMessage &&
        received.message.sequence == question.sequence) {
      return Answer{.message = received.message, .descriptor = received.descriptor};
    }
    forget(received.descriptor);  // of a question that was given up
    if (received.kind == Received::Kind::kClosed) {
      return Error{Errc::kClosed, "the supervisor is gone"};
    }
  }
}

Status status_of(const Result<Answer>& answer) {
  if (!answer.ok()) {
    return answer.error();
  }
  forget(answer.value().descriptor);
  const std::uint32_t result = answer.value().message.result;
  return result == 0 ? Status(Ok{}) : error_of(result);
}

}  // namespace

ParentLink::~ParentLink() { ::close(channel_); }

Status ParentLink::tell_incarnation(std::uint64_t incarnation) {
  return status_of(ask(channel_, {.verb = static_cast<std::uint32_t>(Verb::kIncarnation),
                                  .sequence = ++sequence_,
                                  .value = incarnation}));
}

Result<int> ParentLink::open_listener(std::size_t index) {
  const Result<Answer> answer = ask(channel_, {.verb = static_cast<std::uint32_t>(Verb::kOpen),
                                               .listener = static_cast<std::uint32_t>(index),
                                               .sequence = ++sequence_});
  const bool opened =
      answer.ok() && answer.value().message.result == 0 && answer.value().descriptor >= 0;
  if (opened) {
    return answer.value().descriptor;
  }
  const Status why = status_of(answer);
  return why.ok() ? Error{Errc::kTryAgain, "this process is out of descriptors"} : why.error();
}

Status ParentLink::close_listener(std::size_t index) {
  return status_of(ask(channel_, {.verb = static_cast<std::uint32_t>(Verb::kClose),
                                  .listener = static_cast<std::uint32_t>(index),
                                  .sequence = ++sequence_}));
}

}  // namespace duet::supervisor
