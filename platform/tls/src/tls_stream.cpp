#include "tls_stream.h"

#include <openssl/err.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "platform/task_scope.h"

namespace duet::tls {

namespace {

constexpr std::size_t kInBytes = 64U << 10U;
// A write waits while more than this is encrypted and not yet taken by the stream below.
constexpr std::size_t kOutBytesMax = 1U << 20U;
// One call of SSL_write makes as many records as it needs.
constexpr std::size_t kRecordBytes = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr std::size_t kPlainBytesPerCall = 256U << 10U;

constexpr Error kClosedError{Errc::kIo, "TLS: closed"};
constexpr Error kBroke{Errc::kIo, "TLS: the connection broke"};
constexpr Error kDamaged{Errc::kIo, "TLS: what came is damaged"};
constexpr Error kNotProven{Errc::kRefused, "TLS: the partner did not prove itself or believe us"};
constexpr Error kSlow{Errc::kIo, "TLS: the handshake took too long"};

int wants(SSL* ssl, int result) { return SSL_get_error(ssl, result); }

}  // namespace

TlsStream::TlsStream(Scheduler& scheduler, TlsContext& context, TlsRole role,
                     std::unique_ptr<ByteStream> lower)
    : scheduler_(scheduler),
      data_(context.data()),
      lower_(std::move(lower)),
      ssl_(SSL_new(role == TlsRole::kClient ? data_.client.get() : data_.server.get())),
      in_bio_(BIO_new(BIO_s_mem())),
      out_bio_(BIO_new(BIO_s_mem())),
      in_(kInBytes),
      lower_read_(*this),
      lower_write_(*this),
      handshake_done_(scheduler) {
  DUET_CHECK(ssl_ != nullptr && in_bio_ != nullptr && out_bio_ != nullptr);
  SSL_set_bio(ssl_.get(), in_bio_, out_bio_);
  role == TlsRole::kClient ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
}

TlsStream::~TlsStream() { close(); }

Task<Status> TlsStream::handshake() {
  pump();
  while (!handshaken_ && broken_.ok()) {
    co_await handshake_done_.wait();
  }
  co_return broken_;
}

// A key proves the partner by itself; of a certificate OpenSSL has checked chain and name.
bool TlsStream::proven() const {
  SSL* const ssl = ssl_.get();
  if (SSL_version(ssl) != TLS1_3_VERSION) {
    return false;
  }
  if (!data_.key.empty()) {
    return SSL_session_reused(ssl) == 1;
  }
  X509* const certificate = SSL_get0_peer_certificate(ssl);
  return certificate != nullptr && SSL_get_verify_result(ssl) == X509_V_OK;
}

bool TlsStream::start_read(ReadOperation& operation) {
  DUET_CHECK(reading_.empty());
  if (step_read(operation)) {
    return true;
  }
  reading_.push_back(operation);
  pump();
  return false;  // pump() has posted it if it completed
}

bool TlsStream::start_write(WriteOperation& operation) {
  DUET_CHECK(writing_.empty());
  const bool done = step_write(operation);
  if (!done) {
    writing_.push_back(operation);
  }
  pump();
  return done;
}

void TlsStream::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  lower_->close();
  break_off(kClosedError);
}

void TlsStream::break_off(const Error& error) {
  if (broken_.ok()) {
    broken_ = error;
  }
  if (!reading_.empty()) {
    auto& read = static_cast<ReadOperation&>(reading_.pop_front());
    read.result = closed_ ? Result<std::size_t>(std::size_t{0}) : broken_.error();
    scheduler_.post(read);
  }
  if (!writing_.empty()) {
    auto& write = static_cast<WriteOperation&>(writing_.pop_front());
    write.result = broken_.error();
    scheduler_.post(write);
  }
  handshake_done_.wake_all();
}

void TlsStream::pump() {
  for (;;) {
    if (!broken_.ok()) {
      break_off(broken_.error());
      return;
    }
    if (!handshaken_ && step_handshake()) {
      handshaken_ = true;
      handshake_done_.wake_all();
    }
    if (!writing_.empty()) {
      auto& write = static_cast<WriteOperation&>(writing_.pop_front());
      step_write(write) ? scheduler_.post(write) : writing_.push_back(write);
    }
    if (!reading_.empty()) {
      auto& read = static_cast<ReadOperation&>(reading_.pop_front());
      step_read(read) ? scheduler_.post(read) : reading_.push_back(read);
    }
    flush_out();
    const bool hungry = !handshaken_ || !reading_.empty();
    const bool more_to_write = handshaken_ && !writing_.empty() && out_has_room();
    if (broken_.ok() && !more_to_write && !(hungry && want_in())) {
      return;
    }
  }
}

bool TlsStream::step_handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    if (!proven()) {
      broken_ = kNotProven;
    }
    return broken_.ok();
  }
  const int wanted = wants(ssl_.get(), result);
  if (wanted == SSL_ERROR_WANT_READ && !lower_ended_) {
    return false;
  }
  // The alert that says why is in out_bio_; it leaves with flush_out().
  broken_ = wanted == SSL_ERROR_WANT_READ ? kBroke : kNotProven;
  flush_out();
  return false;
}

bool TlsStream::step_read(ReadOperation& operation) {
  if (closed_) {
    operation.result = std::size_t{0};
    return true;
  }
  if (!broken_.ok()) {
    operation.result = broken_.error();
    return true;
  }
  if (!handshaken_) {
    return false;
  }
  ERR_clear_error();
  std::size_t got = 0;
  const int result =
      SSL_read_ex(ssl_.get(), operation.buffer.data(), operation.buffer.size(), &got);
  if (result == 1) {
    operation.result = got;
    return true;
  }
  const int wanted = wants(ssl_.get(), result);
  if (wanted == SSL_ERROR_WANT_READ && !lower_ended_) {
    return false;
  }
  if (wanted == SSL_ERROR_ZERO_RETURN) {
    operation.result = std::size_t{0};
    return true;
  }
  broken_ = wanted == SSL_ERROR_WANT_READ ? kBroke : handshaken_ ? kDamaged : kNotProven;
  operation.result = broken_.error();
  return true;
}

void TlsStream::renew_key_in_time(std::size_t bytes) {
  if (records_ >= data_.records_per_key) {
    // Goes out before the next record; the other end follows by itself.
    DUET_CHECK(SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
    records_ = 0;
  }
  records_ += bytes / kRecordBytes + 1;
}

bool TlsStream::out_has_room() const {
  return out_.size() + BIO_ctrl_pending(out_bio_) <= kOutBytesMax;
}

bool TlsStream::step_write(WriteOperation& operation) {
  while (broken_.ok()) {
    if (operation.parts.empty()) {
      operation.result = Ok{};
      return true;
    }
    if (!handshaken_ || !out_has_room()) {
      return false;
    }
    const ConstBytes part = operation.parts.front();
    if (part.empty()) {
      operation.parts = operation.parts.subspan(1);
      continue;
    }
    ERR_clear_error();
    std::size_t taken = 0;
    const std::size_t bytes = std::min(part.size(), kPlainBytesPerCall);
    renew_key_in_time(bytes);
    const int result = SSL_write_ex(ssl_.get(), part.data(), bytes, &taken);
    if (result != 1) {
      // Nothing is awaited after the handshake: there are no other messages in this TLS.
      broken_ = kBroke;
      break;
    }
    advance(operation.parts, taken);
  }
  operation.result = broken_;
  return true;
}

void TlsStream::flush_out() {
  while (!lower_writing_ && BIO_ctrl_pending(out_bio_) > 0) {
    out_.resize(BIO_ctrl_pending(out_bio_));
    std::size_t got = 0;
    DUET_CHECK(BIO_read_ex(out_bio_, out_.data(), out_.size(), &got) == 1 && got == out_.size());
    out_part_ = out_;
    lower_write_.parts = std::span(&out_part_, 1);
    lower_writing_ = !lower_->start_write(lower_write_);
    if (!lower_writing_) {
      out_.clear();
      if (!lower_write_.result.ok() && broken_.ok()) {
        broken_ = kBroke;
      }
    }
  }
}

void TlsStream::lower_write_done() {
  lower_writing_ = false;
  out_.clear();
  if (!lower_write_.result.ok() && broken_.ok()) {
    broken_ = kBroke;
  }
  pump();
}

bool TlsStream::want_in() {
  if (lower_reading_ || lower_ended_) {
    return false;
  }
  lower_read_.buffer = in_;
  if (!lower_->start_read(lower_read_)) {
    lower_reading_ = true;
    return false;
  }
  take_in(lower_read_.result);
  return true;
}

void TlsStream::take_in(const Result<std::size_t>& got) {
  if (!got.ok() || got.value() == 0) {
    lower_ended_ = true;
    return;
  }
  std::size_t put = 0;
  DUET_CHECK(BIO_write_ex(in_bio_, in_.data(), got.value(), &put) == 1 && put == got.value());
}

void TlsStream::lower_read_done() {
  lower_reading_ = false;
  take_in(lower_read_.result);
  pump();
}

namespace {

// Closes a stream whose handshake takes too long.
struct Limit final : Continuation {
  explicit Limit(TlsStream& stream) : to(stream) {}
  void run() override {
    fired = true;
    to.close();
  }
  TlsStream& to;
  bool fired = false;
};

}  // namespace

Task<Result<std::unique_ptr<ByteStream>>> tls_handshake(Scheduler& scheduler, TlsContext& context,
                                                        TlsRole role, Duration within,
                                                        std::unique_ptr<ByteStream> stream) {
  auto secured = std::make_unique<TlsStream>(scheduler, context, role, std::move(stream));
  Limit limit(*secured);
  scheduler.post_at(limit, scheduler.now() + within);
  const Status done = co_await secured->handshake();
  limit.unlink();
  if (limit.fired) {
    co_return kSlow;
  }
  if (!done.ok()) {
    co_return done.error();
  }
  std::unique_ptr<ByteStream> result = std::move(secured);
  co_return std::move(result);
}

}  // namespace duet::tls
