// MutationReply: what any changing procedure answers, in one form that the reply cache keeps.

#pragma once

#include "base/result.h"
#include "filer/reply_format.h"
#include "filer/request.h"
#include "handles.h"
#include "wafl/types.h"

namespace duet::filer {

struct MutationReply {
  Failure error;
  std::optional<wafl::FileId> object;  // CREATE and the like: what its handle names
  PostAttributes attributes;           // of that object; LINK: of the file
  WccData first;            // SETATTR, WRITE: of the object; else of the (first) directory
  WccData second;           // RENAME: of the directory of the new name
  std::uint32_t count = 0;  // WRITE; never cached
};

// Into and out of a slot; the caller fills in order and key.
[[nodiscard]] ReplySlot encode_reply(const MutationReply& reply);
// Error: kCorrupt.
Result<MutationReply> decode_reply(const ReplySlot& slot);

// As the procedures give it.
void give(const HandleCodec& handles, const MutationReply& from, WccReply& to);
void give(const HandleCodec& handles, const MutationReply& from, WriteReply& to);
void give(const HandleCodec& handles, const MutationReply& from, CreateReply& to);
void give(const HandleCodec& handles, const MutationReply& from, RenameReply& to);
void give(const HandleCodec& handles, const MutationReply& from, LinkReply& to);

}  // namespace duet::filer
