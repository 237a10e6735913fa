#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "platform/tls/tls.h"
#include "tls_stream.h"

namespace duet::tls {

namespace {

// The hash of a pre-shared key is fixed by its suite (RFC 8446 section 4.2.11).
constexpr const char* kCipherSuites = "TLS_AES_128_GCM_SHA256";
constexpr std::array<unsigned char, 2> kCipherId{0x13, 0x01};
constexpr std::array<unsigned char, 4> kSessionContext{'d', 'u', 'e', 't'};

using ContextPtr = std::unique_ptr<SSL_CTX, TlsContext::Data::Free>;

ContextPtr new_context(const SSL_METHOD* method) {
  ContextPtr context(SSL_CTX_new(method));
  SSL_CTX* const raw = context.get();
  if (raw == nullptr || SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(raw, kCipherSuites) != 1 || SSL_CTX_set_num_tickets(raw, 0) != 1) {
    return nullptr;
  }
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  // OpenSSL takes no key, which to it is a session, without a context where it verifies.
  if (SSL_CTX_set_session_id_context(raw, kSessionContext.data(), kSessionContext.size()) != 1) {
    return nullptr;
  }
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  // Without a usable key or certificate of the other end no handshake may end well.
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

// The key as the session that TLS 1.3 resumes from it.  Null: out of memory.
SSL_SESSION* session_of_key(SSL* ssl, const std::vector<std::byte>& key) {
  const SSL_CIPHER* const cipher = SSL_CIPHER_find(ssl, kCipherId.data());
  SSL_SESSION* const session = SSL_SESSION_new();
  if (cipher == nullptr || session == nullptr ||
      SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(key.data()),
                                  key.size()) != 1 ||
      SSL_SESSION_set_cipher(session, cipher) != 1 ||
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1 ||
      SSL_SESSION_set1_id_context(session, kSessionContext.data(), kSessionContext.size()) != 1) {
    SSL_SESSION_free(session);
    return nullptr;
  }
  return session;
}

const TlsContext::Data& data_of(SSL* ssl) {
  return *static_cast<const TlsContext::Data*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

int use_key(SSL* ssl, const EVP_MD* /*hash*/, const unsigned char** identity,
            std::size_t* identity_bytes, SSL_SESSION** session) {
  *session = session_of_key(ssl, data_of(ssl).key);
  const std::string& purpose = data_of(ssl).purpose;
  *identity = reinterpret_cast<const unsigned char*>(purpose.data());
  *identity_bytes = purpose.size();
  return *session == nullptr ? 0 : 1;
}

int find_key(SSL* ssl, const unsigned char* identity, std::size_t identity_bytes,
             SSL_SESSION** session) {
  *session = nullptr;  // an unknown identity is no error: the handshake fails for want of a key
  const std::string& purpose = data_of(ssl).purpose;
  if (identity_bytes != purpose.size() ||
      std::memcmp(identity, purpose.data(), identity_bytes) != 0) {
    return 1;
  }
  *session = session_of_key(ssl, data_of(ssl).key);
  return *session == nullptr ? 0 : 1;
}

constexpr Error kNoOpenssl{Errc::kIo, "TLS: OpenSSL cannot be set up"};

// Error: kIo.
Result<std::unique_ptr<TlsContext::Data>> new_data() {
  auto data = std::make_unique<TlsContext::Data>();
  data->client = new_context(TLS_client_method());
  data->server = new_context(TLS_server_method());
  if (data->client == nullptr || data->server == nullptr) {
    return kNoOpenssl;
  }
  SSL_CTX_set_app_data(data->client.get(), data.get());
  SSL_CTX_set_app_data(data->server.get(), data.get());
  return data;
}

bool readable(const std::string& path) { return std::ifstream(path).good(); }

bool use_certificates(SSL_CTX* context, const std::string& certificate_file,
                      const std::string& key_file, const std::string& authority_file,
                      const std::string& partner_name) {
  X509_VERIFY_PARAM* const checks = SSL_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_CTX_use_certificate_chain_file(context, certificate_file.c_str()) == 1 &&
         SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) == 1 &&
         SSL_CTX_check_private_key(context) == 1 &&
         SSL_CTX_load_verify_locations(context, authority_file.c_str(), nullptr) == 1 &&
         X509_VERIFY_PARAM_set1_host(checks, partner_name.c_str(), partner_name.size()) == 1;
}

}  // namespace

TlsContext::TlsContext(std::unique_ptr<Data> data) : data_(std::move(data)) {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::with_key(std::vector<std::byte> key,
                                                         std::string purpose) {
  if (key.size() < kKeyBytesMin || key.size() > kKeyBytesMax) {
    return Error{Errc::kInvalid, "TLS: the key must have 32 to 64 bytes"};
  }
  auto data = new_data();
  if (!data.ok()) {
    return data.error();
  }
  data.value()->key = std::move(key);
  data.value()->purpose = std::move(purpose);
  SSL_CTX_set_psk_use_session_callback(data.value()->client.get(), use_key);
  SSL_CTX_set_psk_find_session_callback(data.value()->server.get(), find_key);
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(data.value())));
}

Result<std::unique_ptr<TlsContext>> TlsContext::with_certificates(
    const std::string& certificate_file, const std::string& key_file,
    const std::string& authority_file, const std::string& partner_name) {
  if (!readable(certificate_file) || !readable(key_file) || !readable(authority_file)) {
    return Error{Errc::kNotFound, "TLS: a file of certificate, key or authority cannot be read"};
  }
  if (partner_name.empty()) {
    return Error{Errc::kInvalid, "TLS: the partner's certificate needs a name to check"};
  }
  auto data = new_data();
  if (!data.ok()) {
    return data.error();
  }
  for (SSL_CTX* const context : {data.value()->client.get(), data.value()->server.get()}) {
    if (!use_certificates(context, certificate_file, key_file, authority_file, partner_name)) {
      ERR_clear_error();
      return Error{Errc::kInvalid, "TLS: certificate, key and authority do not fit together"};
    }
  }
  data.value()->partner_name = partner_name;
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(data.value())));
}

Result<std::vector<std::byte>> read_key_file(const std::string& path) {
  struct stat status {};
  std::ifstream file(path);
  if (!file.good() || stat(path.c_str(), &status) != 0) {
    return Error{Errc::kNotFound, "TLS: the key file cannot be read"};
  }
  if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    return Error{Errc::kAccess, "TLS: others may read or change the key file"};
  }
  std::string digits;
  std::copy_if(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(),
               std::back_inserter(digits),
               [](char c) { return std::isspace(static_cast<unsigned char>(c)) == 0; });
  const bool hexadecimal = std::all_of(digits.begin(), digits.end(), [](char c) {
    return std::isxdigit(static_cast<unsigned char>(c)) != 0;
  });
  if (!hexadecimal || digits.size() % 2 != 0 || digits.size() < 2 * TlsContext::kKeyBytesMin ||
      digits.size() > 2 * TlsContext::kKeyBytesMax) {
    return Error{Errc::kInvalid, "TLS: the key file needs 64 to 128 hexadecimal digits"};
  }
  std::vector<std::byte> key;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    key.push_back(static_cast<std::byte>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  }
  return key;
}

}  // namespace duet::tls
