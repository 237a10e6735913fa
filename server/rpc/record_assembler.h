// RecordAssembler: finds records (RFC 5531 section 11) in the bytes of one connection.
//
//   space() -> read into it -> received(n) -> next() until kMore -> space() ...
//
//   held: nothing ----bytes---> inline buffer ---> small chunk ---> large chunks
//           ^-------- drained, no record open --------------------------'
//
// Invariants:
//   (1) What is held is at most one large chunk more than what has arrived of the open record, and
//       when its sender pauses within the first few kilobytes, a small one: a length that is
//       only claimed costs nothing.
//   (2) With no record open and the connection drained it holds no chunk.
//   (3) Bytes of a record over kSmallRecord are never copied, except an open record's first few
//       kilobytes when its sender pauses.
//
// Thread-safety: the reactor's thread.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "rpc/receive_buffer.h"
#include "server/rpc.h"

namespace duet::server {

// One record, and what keeps its bytes.
struct Record {
  // Shorter ones are copied here, all in one piece: cheaper than to keep a chunk for them.
  static constexpr std::size_t kSmall = 512;

  std::vector<ConstBytes> pieces;
  std::vector<ChunkRef> chunks;
  std::size_t bytes = 0;
  std::array<std::byte, kSmall> small;

  void reset() {
    pieces.clear();
    chunks.clear();
    bytes = 0;
  }
};

class RecordAssembler {
 public:
  enum class Next : std::uint8_t { kRecord, kMore, kViolation };

  explicit RecordAssembler(ChunkPool& pool) : pool_(pool) {}
  RecordAssembler(const RecordAssembler&) = delete;
  RecordAssembler& operator=(const RecordAssembler&) = delete;

  // Where the next bytes go: not empty.  REQUIRES: next() returned kMore.
  MutableBytes space();
  void received(std::size_t bytes);
  // Takes the next whole record out of what was received.
  [[nodiscard]] Next next(Record& record);

  // A record has begun, and not all of it is here.
  [[nodiscard]] bool open() const { return record_bytes_ > 0 || mark_bytes_ > 0 || fragments_ > 0; }
  // space() will take a large chunk (or, when the peer pauses, a small one instead).
  [[nodiscard]] bool wants_large() const;
  [[nodiscard]] std::size_t chunk_bytes() const { return account_.bytes; }

 private:
  struct Piece {
    std::uint32_t chunk;  // index in full_; full_.size(): the current buffer
    std::uint32_t offset;
    std::uint32_t bytes;
  };

  [[nodiscard]] MutableBytes buffer() { return chunk_ ? chunk_->bytes() : MutableBytes(inline_); }
  [[nodiscard]] bool chunk_full() const;
  bool take_mark();
  bool accept_mark();
  void take_piece();
  void give(Record& record);
  void move_to(ChunkRef target);
  void shrink();
  void forget_record();

  ChunkPool& pool_;
  ReceiveAccount account_;
  std::array<std::byte, Record::kSmall> inline_;
  ChunkRef chunk_;            // the current buffer; null: inline_
  std::uint32_t begin_ = 0;   // the open record's first byte in the current buffer
  std::uint32_t parsed_ = 0;  // up to here the current buffer has been looked at
  std::uint32_t end_ = 0;     // up to here it holds bytes
  bool drained_ = true;       // the last read did not fill the space

  std::vector<ChunkRef> full_;  // the open record's earlier chunks
  std::vector<Piece> pieces_;   // the open record's bytes
  std::uint32_t record_bytes_ = 0;
  std::uint32_t fragment_left_ = 0;
  std::uint32_t fragments_ = 0;
  std::uint32_t mark_ = 0;  // as far as it is here
  std::uint32_t mark_bytes_ = 0;
  bool last_fragment_ = false;
};

}  // namespace duet::server
