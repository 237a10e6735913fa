// The changes themselves, with every choice made: used by the procedures and, from the log,
// by replay, so that both end in the same state and the same reply (I6).
//
// Each does all of it in this turn and fills in `reply`, or changes nothing.  Error: as the
// operation of wafl that it calls.

#pragma once

#include "mutation_reply.h"
#include "record.h"
#include "wafl/attempt.h"
#include "wafl/inode.h"

namespace duet::filer {

// Sets record.data_checksum.
Status apply_write(wafl::Attempt& attempt, wafl::Inode& file, Record& record, MutationReply& reply);
Status apply_set_attributes(wafl::Attempt& attempt, wafl::Inode& inode, const Record& record,
                            MutationReply& reply);
// Sets record.second when it is not set.  Error: also kCorrupt: replay made another object.
Status apply_create(wafl::Attempt& attempt, wafl::Inode& directory, Record& record,
                    MutationReply& reply);
Status apply_create_existing(wafl::Attempt& attempt, wafl::Inode& directory, wafl::Inode& file,
                             const Record& record, MutationReply& reply);
// Both kinds of removal.
Status apply_remove(wafl::Attempt& attempt, wafl::Inode& directory, const Record& record,
                    MutationReply& reply);
Status apply_rename(wafl::Attempt& attempt, wafl::Inode& from, wafl::Inode& to,
                    const Record& record, MutationReply& reply);
Status apply_link(wafl::Attempt& attempt, wafl::Inode& file, wafl::Inode& directory,
                  const Record& record, MutationReply& reply);

// Whatever the record says, on the objects that it names.  Error: also kStaleHandle.
Status apply_record(wafl::Attempt& attempt, Record& record, MutationReply& reply);

}  // namespace duet::filer
