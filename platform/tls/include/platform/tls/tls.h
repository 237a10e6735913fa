// TlsStream: TLS 1.3 with mutual authentication around any ByteStream.
//
// Both ends prove who they are: by a key that both have (a pair's usual choice), or by
// certificates that one authority has signed.  Nothing older than TLS 1.3 is spoken, there is no
// resumption, no early data and no renegotiation.
//
// OpenSSL works on memory buffers only, so the simulator can carry it.
//
// Thread-safety: the scheduler's thread.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/scheduler.h"
#include "platform/stream.h"
#include "platform/task.h"

namespace duet::tls {

// Who we are and whom we believe; for any number of streams.
class TlsContext {
 public:
  static constexpr std::size_t kKeyBytesMin = 32;
  static constexpr std::size_t kKeyBytesMax = 64;

  // `key`: random bytes.  `purpose`, the same at both ends: a key that serves two purposes does not
  // make one's connections the other's.  Error: kInvalid: too few bytes, or too many.
  static Result<std::unique_ptr<TlsContext>> with_key(std::vector<std::byte> key,
                                                      std::string purpose = "duet-pair");
  // Files in PEM.  The partner's certificate must be signed by `authority_file` and name
  // `partner_name` (as DNS name).
  // Error: kNotFound: a file cannot be read; kInvalid: not what it should be, or key and
  // certificate do not belong together.
  static Result<std::unique_ptr<TlsContext>> with_certificates(const std::string& certificate_file,
                                                               const std::string& key_file,
                                                               const std::string& authority_file,
                                                               const std::string& partner_name);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  class Data;
  [[nodiscard]] Data& data() const { return *data_; }

 private:
  explicit TlsContext(std::unique_ptr<Data> data);
  std::unique_ptr<Data> data_;
};

enum class TlsRole : std::uint8_t { kClient, kServer };

// Reads a pre-shared key: 64 to 128 hexadecimal digits, white space around them is ignored.
// The file must not be readable by others than its owner and group.
// Error: kNotFound, kAccess (too many may read it), kInvalid.
Result<std::vector<std::byte>> read_key_file(const std::string& path);

// A stream whose handshake is done: the partner has proven itself.
// Takes at most `within`; closes the stream when that fails.
// REQUIRES: `context` outlives the stream.
// Error: kRefused: the partner did not prove itself, or did not believe us; kIo: the connection
// broke or was silent.
Task<Result<std::unique_ptr<ByteStream>>> tls_handshake(Scheduler& scheduler, TlsContext& context,
                                                        TlsRole role, Duration within,
                                                        std::unique_ptr<ByteStream> stream);

}  // namespace duet::tls
