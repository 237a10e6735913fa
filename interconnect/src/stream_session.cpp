#include "stream_session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace duet::interconnect {

namespace {

// Most packets are smaller; a larger one makes the buffer grow once.
constexpr std::size_t kReadBytes = 128U << 10U;

std::uint32_t header_checksum(const PacketHeader& header) {
  return crc32c(bytes_of(header).first(offsetof(PacketHeader, checksum)));
}

void put(std::vector<std::byte>& packet, ConstBytes bytes) {
  packet.insert(packet.end(), bytes.begin(), bytes.end());
}

}  // namespace

StreamSession::StreamSession(Scheduler& scheduler, std::unique_ptr<ByteStream> stream,
                             const Options& options, LinkCounters& counters,
                             StreamSessionUser& user)
    : scheduler_(scheduler),
      stream_(std::move(stream)),
      options_(options),
      counters_(counters),
      user_(user),
      flush_(*this),
      write_(*this),
      in_(kReadBytes),
      timer_(*this),
      heard_(scheduler.now()),
      spoke_(scheduler.now()),
      tick_due_(scheduler.now() + options.keepalive) {
  scheduler_.post_at(timer_, tick_due_);
}

// ---- out

void StreamSession::begin_packet() {
  if (filling_.empty()) {
    filling_.resize(sizeof(PacketHeader));
  }
}

void StreamSession::add(FrameKind kind, std::uint8_t channel, std::span<const ConstBytes> body) {
  if (ended_) {
    return;
  }
  std::size_t body_bytes = 0;
  for (const ConstBytes part : body) {
    body_bytes += part.size();
  }
  const std::size_t frame_bytes = sizeof(FrameHead) + padded(body_bytes);
  DUET_CHECK(frame_bytes <= kPayloadBytesMax);
  begin_packet();
  if (filling_.size() - sizeof(PacketHeader) + frame_bytes > kPayloadBytesMax) {
    waiting_.push_back(std::exchange(filling_, {}));
    begin_packet();
  }
  FrameHead head;
  head.kind = static_cast<std::uint8_t>(kind);
  head.channel = channel;
  head.body_bytes = static_cast<std::uint32_t>(body_bytes);
  put(filling_, bytes_of(head));
  for (const ConstBytes part : body) {
    put(filling_, part);
  }
  filling_.resize(filling_.size() + padded(body_bytes) - body_bytes);
  want_flush();
}

std::size_t StreamSession::queued_bytes() const {
  std::size_t bytes = filling_.size() + (writing_ ? sending_.size() : 0);
  for (const auto& packet : waiting_) {
    bytes += packet.size();
  }
  return bytes;
}

void StreamSession::want_flush() {
  if (!writing_ && !flush_.linked()) {
    scheduler_.post_last(flush_);
  }
}

void StreamSession::flush() {
  if (ended_ || writing_) {
    return;
  }
  if (!waiting_.empty()) {
    sending_ = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
  } else {
    sending_.swap(filling_);
    filling_.clear();
  }
  if (sending_.empty()) {
    return;
  }
  const ConstBytes payload = ConstBytes(sending_).subspan(sizeof(PacketHeader));
  PacketHeader header;
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  header.number = ++packets_out_;
  header.beat = beat_sent_ = beat_;
  header.payload_checksum = crc32c(payload);
  header.checksum = header_checksum(header);
  store(MutableBytes(sending_), 0, header);
  ++counters_.packets_sent;
  counters_.bytes_sent += sending_.size();
  spoke_ = scheduler_.now();
  sending_part_ = sending_;
  write_.parts = std::span(&sending_part_, 1);
  writing_ = true;
  if (stream_->start_write(write_)) {
    written();
  }
}

void StreamSession::written() {
  writing_ = false;
  sending_.clear();
  if (ended_) {
    return;
  }
  if (!write_.result.ok()) {
    end("the connection broke while writing");
    return;
  }
  if (!waiting_.empty() || !filling_.empty()) {
    want_flush();
  } else if (ending_) {
    end(end_reason_);
    return;
  }
  user_.on_written(*this);
}

void StreamSession::tick() {
  if (ended_) {
    return;
  }
  const Instant now = scheduler_.now();
  if (now - tick_due_ > options_.keepalive) {
    heard_ = now;  // it was this process that did not run: what came meanwhile was not read yet
  }
  if (now - heard_ > options_.silence) {
    ++counters_.silences;
    end("the partner is silent");
    return;
  }
  if (packets_out_ > 0 && (beat_ != beat_sent_ || now - spoke_ >= options_.keepalive)) {
    begin_packet();
    want_flush();
  }
  tick_due_ = now + options_.keepalive;
  scheduler_.post_at(timer_, tick_due_);
}

// ---- in

Task<void> StreamSession::read() {
  while (!ended_) {
    const MutableBytes space = MutableBytes(in_).subspan(filled_);
    const Result<std::size_t> got = co_await stream_->read_some(space);
    if (ended_) {
      break;
    }
    if (!got.ok()) {
      end("the connection broke while reading");
    } else if (got.value() == 0) {
      end("the partner closed the connection");
    } else {
      filled_ += got.value();
      heard_ = scheduler_.now();
      take_packets();
    }
  }
}

void StreamSession::take_packets() {
  std::size_t need = 0;
  while (!ended_) {
    const ConstBytes in = ConstBytes(in_).subspan(taken_, filled_ - taken_);
    const std::size_t bytes = whole_packet(in);
    if (bytes == 0) {
      need = header_checked_ ? sizeof(PacketHeader) + load<PacketHeader>(in, 0).payload_bytes
                             : sizeof(PacketHeader);
      break;
    }
    header_checked_ = false;
    taken_ += bytes;
    ++counters_.packets_received;
    counters_.bytes_received += bytes;
    give_frames(in.subspan(sizeof(PacketHeader), bytes - sizeof(PacketHeader)));
    if (!ended_) {
      user_.on_packet(*this, load<PacketHeader>(in, 0).beat);
    }
  }
  if (ended_) {
    return;
  }
  // What is left, part of a packet, moves to the front when its rest would not fit behind it.
  if (taken_ == filled_) {
    taken_ = filled_ = 0;
  } else if (in_.size() - taken_ < need || filled_ == in_.size()) {
    std::memmove(in_.data(), in_.data() + taken_, filled_ - taken_);
    filled_ -= taken_;
    taken_ = 0;
    in_.resize(std::max(in_.size(), need));
  }
}

std::size_t StreamSession::whole_packet(ConstBytes in) {
  if (in.size() < sizeof(PacketHeader)) {
    return 0;
  }
  const auto header = load<PacketHeader>(in, 0);
  if (!header_checked_) {
    if (header.magic != kPacketMagic || header.checksum != header_checksum(header) ||
        header.payload_bytes > kPayloadBytesMax || header.payload_bytes % kFrameAlignment != 0 ||
        header.number != packets_in_ + 1) {
      damaged("a packet's header is damaged");
      return 0;
    }
    header_checked_ = true;
    ++packets_in_;
  }
  const std::size_t bytes = sizeof(PacketHeader) + header.payload_bytes;
  if (in.size() < bytes) {
    return 0;
  }
  const ConstBytes payload = in.subspan(sizeof(PacketHeader), header.payload_bytes);
  if (crc32c(payload) != header.payload_checksum || !frames_fit(payload)) {
    damaged("a packet is damaged");
    return 0;
  }
  return bytes;
}

bool StreamSession::frames_fit(ConstBytes payload) const {
  while (!payload.empty()) {
    if (payload.size() < sizeof(FrameHead)) {
      return false;
    }
    const auto head = load<FrameHead>(payload, 0);
    if (head.body_bytes > kPayloadBytesMax ||
        padded(head.body_bytes) > payload.size() - sizeof(FrameHead)) {
      return false;
    }
    payload = payload.subspan(sizeof(FrameHead) + padded(head.body_bytes));
  }
  return true;
}

void StreamSession::give_frames(ConstBytes payload) {
  while (!payload.empty() && !ended_) {
    const auto head = load<FrameHead>(payload, 0);
    user_.on_frame(*this, head, payload.subspan(sizeof(FrameHead), head.body_bytes));
    payload = payload.subspan(sizeof(FrameHead) + padded(head.body_bytes));
  }
}

void StreamSession::damaged(std::string_view reason) {
  ++counters_.damaged_packets;
  end(reason);
}

// ---- end

void StreamSession::end_after_writing(std::string_view reason) {
  if (ended_) {
    return;
  }
  end_reason_ = reason;
  ending_ = true;
  if (!writing_ && waiting_.empty() && filling_.empty()) {
    end(reason);
  }
}

void StreamSession::end(std::string_view reason) {
  if (std::exchange(ended_, true)) {
    return;
  }
  timer_.unlink();
  flush_.unlink();
  stream_->close();
  user_.on_end(*this, reason);
}

}  // namespace duet::interconnect
