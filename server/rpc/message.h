// The header of a call, and of every kind of reply (RFC 5531 section 9).

#pragma once

#include <cstdint>

#include "server/call.h"
#include "server/rpc.h"

namespace duet::server {

enum class HeaderVerdict : std::uint8_t {
  kCall,      // the header is whole and its credentials are accepted
  kDenied,    // call.reply holds the reply that says why not
  kNotACall,  // nothing that could be answered
};

// Reads the header from call.arguments, which then stands at the arguments.
[[nodiscard]] HeaderVerdict read_header(Call& call);

// Puts record mark and header before the results.  REQUIRES: call.reply is empty.
void begin_reply(Call& call);
// Instead of results.  Replaces what call.reply holds.
void write_error(Call& call, AcceptStatus status);
void write_version_mismatch(Call& call, std::uint32_t low, std::uint32_t high);
// The record mark, once the reply is complete.
void end_reply(Call& call);

}  // namespace duet::server
