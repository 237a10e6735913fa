// SnapshotReceiver: makes a volume's live tree what a stream says, frame by frame.
//
// Nothing in a stream is believed: each frame is checked, links and parents are counted from the
// names themselves, and a directory never gets below itself; so at every moment the tree is sound
// but for inodes that have no name yet, and at the end there are none of those.
//
// Ownership: borrows the volume.  Thread-safety: the aggregate's strand.

#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "wafl/attempt.h"
#include "wafl/stream_format.h"
#include "wafl/volume.h"

namespace duet::wafl {

// The first sizeof(StreamHeader) bytes of a stream.  Takes any bytes.
// Error: kInvalid; kNotSupported: a version that this build does not know.
Result<StreamHeader> read_stream_header(ConstBytes bytes);
[[nodiscard]] std::string snapshot_name(const StreamHeader& header);

// How long the frame is that begins here; 0: more bytes are needed to tell.  Takes any bytes.
// Error: kInvalid: longer than any frame.
Result<std::size_t> frame_bytes(ConstBytes bytes);

class SnapshotReceiver {
 public:
  // REQUIRES: volume.receiving(), and it holds what `header.base` names, or nothing.
  SnapshotReceiver(Volume& volume, const StreamHeader& header) : volume_(volume), header_(header) {}

  // One whole frame.  Does all of it in this turn, or nothing.
  // Error: kMiss; kTryAgain, kNoSpace, kOverLimit; kInvalid: the stream is refused; kCorrupt, kIo.
  Status take(Attempt& attempt, ConstBytes frame);
  // The end was taken.
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  Status dispatch(Attempt& attempt, FrameType type, ConstBytes body);
  Status take_removal(Attempt& attempt, const FrameName& frame, std::string_view name);
  Status take_entry(Attempt& attempt, const FrameName& frame, std::string_view name);
  Status take_free(Attempt& attempt, const FrameFree& frame);
  Status take_inode(Attempt& attempt, const FrameInode& frame, ConstBytes target);
  Status take_new_inode(Attempt& attempt, const FrameInode& frame, ConstBytes target);
  Status take_known_inode(Attempt& attempt, Inode& inode, const FrameInode& frame,
                          ConstBytes target);
  Status take_blocks(Attempt& attempt, const FrameBlocks& frame, ConstBytes data);
  Status take_end(const FrameEnd& frame);
  // The file whose blocks came is as it should be.
  Status end_file();
  void set_attributes(Inode& inode, const FrameInode& frame, ConstBytes target);
  Result<InodeRef> find(Attempt& attempt, std::uint64_t number);
  // Error: kInvalid: it has a name, or names.
  Status check_nameless(Attempt& attempt, Inode& inode);
  Status check_not_below(Attempt& attempt, std::uint64_t directory, std::uint64_t moved);

  Volume& volume_;
  const StreamHeader header_;
  std::uint32_t frames_ = 0;
  int phase_ = 0;               // of the frame before
  std::uint64_t nameless_ = 0;  // inodes without a name
  bool complete_ = false;
  // The regular file whose blocks may come.
  std::uint64_t file_ = 0;  // its inode; 0: none
  std::uint64_t file_size_bytes_ = 0;
  std::uint64_t file_blocks_ = 0;         // that it has now
  std::uint64_t file_blocks_wanted_ = 0;  // when all have come
};

}  // namespace duet::wafl
