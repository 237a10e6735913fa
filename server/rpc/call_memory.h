// What a call keeps of its request.

#pragma once

#include "rpc/record_assembler.h"
#include "server/call.h"

namespace duet::server {

struct Call::Memory {
  Record record;
  XdrScratch scratch;
};

}  // namespace duet::server
