// What CREATE, MKDIR, SYMLINK, MKNOD and LINK share: a new name in a directory.

#pragma once

#include <string_view>

#include "context.h"
#include "driver.h"
#include "wafl/operations.h"

namespace duet::filer {

// A directory in which a name is looked for and then made.
struct Place {
  Target directory;
  Identity who;
  std::optional<wafl::Entry> present;  // what has the name already
};
// Fills in change.reply.first.  Error: as resolve_writable; kNotDirectory, kAccess (search),
// and what check_entry_name() says.
Status find_place(Context& context, ConstBytes directory, std::string_view name, Place& place,
                  Change& change);

// Whether the caller may make the name.  Error: kExists, kAccess.
Status may_make(const Place& place);

// Makes it.  REQUIRES: may_make() was ok.
Status make_object(Context& context, const Place& place, std::string_view name, wafl::FileType type,
                   const wafl::AttributeChanges& changes, Change& change);

}  // namespace duet::filer
