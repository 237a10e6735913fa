// StreamLink: a PartnerLink over byte streams: TCP, with TLS around it or not.
//
//   one end connects, with back-off:   next() -> hello ->  <- hello        -> session
//   the other end takes what comes:    next()            hello -> checks it -> session
//
// The end that takes ends its older session before it answers a newer hello, so no write of the
// older one lands after the newer began.  A stranger's connection never disturbs a session:
// strangers fail in the stream source (TLS) or at the hello.
//
// The receiver checks each write against its grants, stores, persists, then says so:
// revocable, not one-sided.
//
// Ownership: borrows everything it is given; owns its streams.
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "interconnect/link_base.h"
#include "platform/entropy.h"
#include "platform/stream.h"
#include "platform/task.h"
#include "platform/task_scope.h"

namespace duet::interconnect {

// Where connections come from.
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // The next one: a try to connect, or what a listener accepted.  Authenticated, if the
  // source does that, before it is returned.
  // Error: this try failed; next() may be called again.
  virtual Task<Result<std::unique_ptr<ByteStream>>> next() = 0;
};

struct StreamLinkOptions {
  bool connects = false;  // exactly one of the two ends does
  Duration keepalive = std::chrono::milliseconds(100);
  Duration silence = std::chrono::milliseconds(1000);    // and the link is lost
  Duration backoff_min = std::chrono::milliseconds(20);  // between tries; doubled each time
  Duration backoff_max = std::chrono::milliseconds(1000);
  // What may wait to be sent: a partner that does not read holds no more of our memory.
  std::size_t queued_bytes_max = 8U << 20U;
};

class StreamSession;
class StreamWindow;

class StreamLink final : public LinkBase {
 public:
  StreamLink(Scheduler& scheduler, PersistentMemory& memory, Entropy& entropy, StreamSource& source,
             const LinkIdentity& identity, const StreamLinkOptions& options);
  ~StreamLink() override;

  Status send(Channel channel, ConstBytes message) override;
  void beat() override;
  [[nodiscard]] bool revocable() const override { return true; }
  [[nodiscard]] bool one_sided() const override { return false; }
  std::unique_ptr<RemoteWindow> open_window(WindowId window, std::uint64_t epoch,
                                            RemoteWindowUser& user) override;

 private:
  class Sessions;
  friend class StreamWindow;
  // A write that the partner has not answered.
  struct UnderWay {
    std::uint64_t number;
    std::uint64_t window_number;  // as the window counts
    std::uint32_t right;
    std::uint8_t window;
  };

  Task<void> connect_for_ever();
  Task<void> accept_for_ever();
  Task<void> serve(std::unique_ptr<ByteStream> stream);
  void greeted(StreamSession& session);
  [[nodiscard]] Duration next_backoff();

  void on_frame(StreamSession& session, const FrameHead& head, ConstBytes body);
  void on_packet(StreamSession& session, std::uint64_t beat);
  void on_written();
  void on_end(StreamSession& session, std::string_view reason);
  void say_hello(StreamSession& session);
  void on_hello(StreamSession& session, const HelloFrame& hello);
  void on_refused(StreamSession& session, const RefuseFrame& refused);
  void on_write(StreamSession& session, ConstBytes body);
  void on_done(StreamSession& session, const DoneFrame& done);
  [[nodiscard]] WriteRefusal land(const WriteFrame& write, ConstBytes bytes);
  void say_done(StreamSession& session, std::uint32_t refused_right, WriteRefusal refusal);
  void forget_session();
  [[nodiscard]] std::size_t queued_bytes() const;

  Entropy& entropy_;
  StreamSource& source_;
  const StreamLinkOptions options_;
  std::unique_ptr<Sessions> sessions_;  // tells on_...() of any session
  StreamSession* session_ = nullptr;    // the one that is up; its serve() owns it
  std::uint64_t beat_ = 0;
  Duration backoff_{};
  unsigned greeting_ = 0;  // incoming connections that have not said hello

  // Of the session that is up.
  std::array<StreamWindow*, kWindows> windows_{};
  std::deque<UnderWay> under_way_;
  std::uint64_t writes_out_ = 0;
  std::uint64_t writes_done_ = 0;
  std::uint64_t writes_in_ = 0;
  std::uint64_t writes_answered_ = 0;
  std::uint32_t last_right_ = 0;
  std::array<std::uint32_t, kWindows> refused_rights_{};  // this one and all before it

  WaitList greeted_;
  TaskScope scope_;
};

}  // namespace duet::interconnect
