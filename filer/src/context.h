// Context: one request while it runs, through all its attempts; and what a handle means.

#pragma once

#include "base/result.h"
#include "filer/exports.h"
#include "filer/request.h"
#include "handles.h"
#include "rights.h"
#include "wafl/attempt.h"
#include "wafl/inode.h"
#include "wafl/volume.h"

namespace duet::filer {

class FilerState;

struct Context {
  Context(FilerState& filer_given, const Caller& caller_given);

  FilerState& filer;
  const Caller& caller;
  wafl::Attempt attempt;
  // With kTryAgain: not for want of space, but until the CP that runs has ended.
  bool volume_held = false;
  // With kTryAgain: a snapshot is being received, which may take long: the client asks again.
  bool volume_receiving = false;
  // The reply depends on what administration changes: it waits for the CP that holds it.
  bool saw_administration = false;
};

// What a handle names, found in this turn; not to be kept across a suspension.
struct Target {
  HandleKind kind = HandleKind::kObject;
  wafl::Volume* volume = nullptr;
  wafl::InodeRef inode;  // kSnapshotDirectory: the live directory that it is in
  ExportRule rule;

  [[nodiscard]] bool virtual_directory() const { return kind == HandleKind::kSnapshotDirectory; }
  [[nodiscard]] bool writable() const {
    return !virtual_directory() && rule.read_write && inode->writable();
  }
  [[nodiscard]] const wafl::Attributes& attributes() const { return inode->attributes(); }
};

// Decodes the handle, checks the export and finds the inode.
// Error: kBadHandle, kStaleHandle, kAccess (the export), kMiss, kTryAgain (volume_held,
// volume_receiving).
Status resolve(Context& context, ConstBytes handle, Target& target);
// The same, for a change.  Error: also kReadOnly.
Status resolve_writable(Context& context, ConstBytes handle, Target& target);

[[nodiscard]] Identity identify(const Context& context, const Target& target);

// The rule of the caller's address and port for this volume.  Error: kAccess.
Result<ExportRule> find_rule(Context& context, const wafl::Volume& volume);

// --- As NFS shows them.

// Of a volume's live tree, or of one of its snapshots: each is a file system of its own.
[[nodiscard]] std::uint64_t fsid_of(const wafl::Volume& volume, wafl::SnapshotId snapshot);
[[nodiscard]] FileAttributes file_attributes(const wafl::Inode& inode);
[[nodiscard]] FileAttributes file_attributes(Context& context, const Target& target);
[[nodiscard]] PreAttributes pre_attributes(const wafl::Inode& inode);
// Of an object that did not change.
[[nodiscard]] WccData unchanged(const wafl::Inode& inode);
[[nodiscard]] Handle handle_of(const Context& context, const wafl::Inode& inode);

}  // namespace duet::filer
