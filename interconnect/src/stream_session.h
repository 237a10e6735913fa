// StreamSession: packets over one ByteStream, in both directions, until it breaks.
//
//   greeting --first packet both ways--> up --broken, silent, damaged, end()--> ended
//
// Frames given in one turn leave as one packet; while one is being written, later ones gather.
// A packet is believed only when its header's checksum, then its payload's, then the shape of
// all its frames are right; else nothing of it is given on and the session ends.
//
// Ownership: owns the stream.  The user outlives it.
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "interconnect/partner_link.h"
#include "interconnect/wire_format.h"
#include "platform/scheduler.h"
#include "platform/stream.h"
#include "platform/task.h"

namespace duet::interconnect {

class StreamSession;

class StreamSessionUser {
 public:
  // A frame of a whole packet.  Not called after end().
  virtual void on_frame(StreamSession& session, const FrameHead& head, ConstBytes body) = 0;
  // All frames of a packet were given; `beat` was in its header.
  virtual void on_packet(StreamSession& session, std::uint64_t beat) = 0;
  // What waited to be written is written: there is room.
  virtual void on_written(StreamSession& session) = 0;
  // Once, when the session ends.
  virtual void on_end(StreamSession& session, std::string_view reason) = 0;

 protected:
  ~StreamSessionUser() = default;
};

class StreamSession {
 public:
  struct Options {
    Duration keepalive{};  // the longest silence of this end
    Duration silence{};    // the longest of the other; also for the first packet
  };

  StreamSession(Scheduler& scheduler, std::unique_ptr<ByteStream> stream, const Options& options,
                LinkCounters& counters, StreamSessionUser& user);
  StreamSession(const StreamSession&) = delete;
  StreamSession& operator=(const StreamSession&) = delete;

  // Reads until the session ends.  The caller keeps `this` alive until then.
  Task<void> read();

  // Puts a frame into the packet of this turn.
  // REQUIRES: its padded bytes fit in kPayloadBytesMax.
  void add(FrameKind kind, std::uint8_t channel, std::span<const ConstBytes> body);
  // The beat that later packets carry; the next keepalive at the latest.
  void set_beat(std::uint64_t beat) { beat_ = beat; }
  // Waiting to be written.
  [[nodiscard]] std::size_t queued_bytes() const;

  // Closes the stream.  `reason` is a literal; empty: the user knows.
  void end(std::string_view reason);
  // As end(), after what was added is written.
  void end_after_writing(std::string_view reason);
  [[nodiscard]] bool ended() const { return ended_; }

  bool greeted = false;  // the user's: it waits no more for a hello

 private:
  struct Flush final : Continuation {
    explicit Flush(StreamSession& session) : owner(session) {}
    void run() override { owner.flush(); }
    StreamSession& owner;
  };
  struct Write final : WriteOperation {
    explicit Write(StreamSession& session) : owner(session) {}
    void run() override { owner.written(); }
    StreamSession& owner;
  };
  struct Timer final : Continuation {
    explicit Timer(StreamSession& session) : owner(session) {}
    void run() override { owner.tick(); }
    StreamSession& owner;
  };

  void want_flush();
  void begin_packet();
  void flush();
  void written();
  void tick();
  // Takes all whole packets out of what was read.
  void take_packets();
  // The bytes of the first packet in `in`, 0: not all are there yet.
  std::size_t whole_packet(ConstBytes in);
  [[nodiscard]] bool frames_fit(ConstBytes payload) const;
  void give_frames(ConstBytes payload);
  void damaged(std::string_view reason);

  Scheduler& scheduler_;
  const std::unique_ptr<ByteStream> stream_;
  const Options options_;
  LinkCounters& counters_;
  StreamSessionUser& user_;

  std::vector<std::byte> filling_;               // the packet of this turn, its header not yet made
  std::vector<std::vector<std::byte>> waiting_;  // whole packets before it: one was too large
  std::vector<std::byte> sending_;
  ConstBytes sending_part_;
  Flush flush_;
  Write write_;
  bool writing_ = false;
  std::uint64_t packets_out_ = 0;
  std::uint64_t beat_ = 0;
  std::uint64_t beat_sent_ = 0;

  std::vector<std::byte> in_;  // what was read and not yet taken: [taken_, filled_)
  std::size_t taken_ = 0;
  std::size_t filled_ = 0;
  bool header_checked_ = false;  // of the first packet in in_
  std::uint64_t packets_in_ = 0;

  Timer timer_;
  Instant heard_{};
  Instant spoke_{};
  Instant tick_due_{};
  bool ended_ = false;
  std::string_view end_reason_;
  bool ending_ = false;
};

}  // namespace duet::interconnect
