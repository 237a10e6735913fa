// NFSv3 on the wire, by hand (RFC 1813, RFC 5531, RFC 4506).

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "world/operation.h"

namespace duet::world {

// The whole record of a call, with its mark.
[[nodiscard]] std::string encode_call(const Operation& operation, std::uint32_t xid);
// What follows the RPC header of a reply.  False: it is not what the RFC says.
bool decode_reply(const Operation& operation, std::string_view results, Answer& answer);
// Takes the RPC header off a reply.  False: none of a call that was accepted.
bool take_reply_header(std::string_view& record, std::uint32_t& xid);

[[nodiscard]] std::uint32_t load_big(std::string_view bytes);

}  // namespace duet::world
