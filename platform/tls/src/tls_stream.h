// TlsStream: see platform/tls/tls.h.
//
//   read:   lower stream -> incoming BIO -> SSL_read  -> the reader's buffer
//   write:  the writer's parts -> SSL_write -> outgoing BIO -> lower stream
//
// A write completes when it is encrypted and little waits to be written below, so that the
// memory in here is bounded.

#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "platform/tls/tls.h"
#include "platform/wait.h"

namespace duet::tls {

class TlsContext::Data {
 public:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> client;
  std::unique_ptr<SSL_CTX, Free> server;
  std::vector<std::byte> key;  // empty: certificates
  std::string purpose;         // the key's identity
  std::string partner_name;
  // AES-GCM protects 2^24.5 records with one key (RFC 8446 section 5.5); this is well before.
  std::uint64_t records_per_key = 1U << 22U;
};

class TlsStream final : public ByteStream {
 public:
  TlsStream(Scheduler& scheduler, TlsContext& context, TlsRole role,
            std::unique_ptr<ByteStream> lower);
  ~TlsStream() override;
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // Resumes when the handshake has ended.
  Task<Status> handshake();

  void close() override;
  [[nodiscard]] bool start_read(ReadOperation& operation) override;
  [[nodiscard]] bool start_write(WriteOperation& operation) override;

 private:
  struct LowerRead final : ReadOperation {
    explicit LowerRead(TlsStream& stream) : owner(stream) {}
    void run() override { owner.lower_read_done(); }
    TlsStream& owner;
  };
  struct LowerWrite final : WriteOperation {
    explicit LowerWrite(TlsStream& stream) : owner(stream) {}
    void run() override { owner.lower_write_done(); }
    TlsStream& owner;
  };
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  // Goes on with everything that waits, as far as it goes now.
  void pump();
  bool step_handshake();
  // True: the operation is complete, its result set.
  bool step_read(ReadOperation& operation);
  bool step_write(WriteOperation& operation);
  void renew_key_in_time(std::size_t bytes);
  void flush_out();
  [[nodiscard]] bool out_has_room() const;
  // True: new bytes came from below at once.
  bool want_in();
  void take_in(const Result<std::size_t>& got);
  void lower_read_done();
  void lower_write_done();
  void break_off(const Error& error);
  [[nodiscard]] bool proven() const;

  Scheduler& scheduler_;
  TlsContext::Data& data_;
  const std::unique_ptr<ByteStream> lower_;
  std::unique_ptr<SSL, Free> ssl_;
  BIO* in_bio_;   // owned by ssl_
  BIO* out_bio_;  // owned by ssl_

  std::vector<std::byte> in_;
  std::vector<std::byte> out_;
  ConstBytes out_part_;
  LowerRead lower_read_;
  LowerWrite lower_write_;
  bool lower_reading_ = false;
  bool lower_writing_ = false;
  bool lower_ended_ = false;  // nothing more comes from below
  bool handshaken_ = false;
  std::uint64_t records_ = 0;  // sent with the present key, about
  bool closed_ = false;
  Status broken_ = Ok{};
  ContinuationList reading_;  // at most one
  ContinuationList writing_;  // at most one
  WaitList handshake_done_;
};

}  // namespace duet::tls
