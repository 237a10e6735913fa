#include "rpc/record_assembler.h"

#include <algorithm>

#include "base/check.h"

namespace duet::server {

namespace {

// A chunk with less room than this at its end is not worth a read.
constexpr std::size_t kRoomMin = 512;

}  // namespace

MutableBytes RecordAssembler::space() {
  if (parsed_ == end_ && !open()) {
    if (drained_ || (chunk_ && chunk_->references > 1)) {
      chunk_ = ChunkRef();  // records still refer to it, or nobody needs it
    }
    begin_ = parsed_ = end_ = 0;
  }
  if (drained_) {
    shrink();
  }
  if (chunk_full()) {
    full_.push_back(std::move(chunk_));
    chunk_ = pool_.large(account_);
    begin_ = parsed_ = end_ = 0;
  } else if (wants_large()) {
    move_to(pool_.large(account_));
  }
  DUET_CHECK(end_ < buffer().size());
  return buffer().subspan(end_);
}

bool RecordAssembler::chunk_full() const { return chunk_ && chunk_->size - end_ < kRoomMin; }

bool RecordAssembler::wants_large() const {
  return chunk_full() || (!drained_ && (!chunk_ || chunk_->size < ChunkPool::kLargeBytes));
}

// The peer pauses: what it has sent of a record moves to where it costs less.
void RecordAssembler::shrink() {
  const std::size_t held = end_ - begin_;
  if (!chunk_ || !full_.empty()) {
    return;
  }
  if (held < inline_.size()) {
    move_to(ChunkRef());
  } else if (held < ChunkPool::kSmallBytes && chunk_->size > ChunkPool::kSmallBytes) {
    move_to(pool_.small(account_));
  }
}

// REQUIRES: full_ is empty, or begin_ is 0; the target holds what the current buffer does.
void RecordAssembler::move_to(ChunkRef target) {
  const MutableBytes into = target ? target->bytes() : MutableBytes(inline_);
  const std::size_t held = end_ - begin_;
  DUET_CHECK(held <= into.size());
  std::memmove(into.data(), buffer().data() + begin_, held);
  for (Piece& piece : pieces_) {
    if (piece.chunk == full_.size()) {
      piece.offset -= begin_;
    }
  }
  chunk_ = std::move(target);
  parsed_ -= begin_;
  end_ -= begin_;
  begin_ = 0;
}

void RecordAssembler::received(std::size_t bytes) {
  drained_ = bytes < buffer().size() - end_;
  end_ += static_cast<std::uint32_t>(bytes);
}

RecordAssembler::Next RecordAssembler::next(Record& record) {
  for (;;) {
    if (fragment_left_ > 0) {
      if (parsed_ == end_) {
        return Next::kMore;
      }
      take_piece();
    } else if (last_fragment_) {
      give(record);
      return Next::kRecord;
    } else if (!take_mark()) {
      return Next::kMore;
    } else if (!accept_mark()) {
      return Next::kViolation;
    }
  }
}

// False: not all of it is here.
bool RecordAssembler::take_mark() {
  const std::byte* at = buffer().data() + parsed_;
  for (; mark_bytes_ < 4 && parsed_ < end_; ++parsed_, ++mark_bytes_) {
    mark_ = mark_ << 8U | std::to_integer<std::uint32_t>(*at++);
  }
  return mark_bytes_ == 4;
}

bool RecordAssembler::accept_mark() {
  last_fragment_ = (mark_ & kLastFragment) != 0;
  fragment_left_ = mark_ & ~kLastFragment;
  mark_ = mark_bytes_ = 0;
  ++fragments_;
  return fragment_left_ <= kRecordBytesMax - record_bytes_ && fragments_ <= kFragmentsMax;
}

void RecordAssembler::take_piece() {
  const std::uint32_t bytes = std::min(fragment_left_, end_ - parsed_);
  const auto chunk = static_cast<std::uint32_t>(full_.size());
  Piece* last = pieces_.empty() ? nullptr : &pieces_.back();
  if (last != nullptr && last->chunk == chunk && last->offset + last->bytes == parsed_) {
    last->bytes += bytes;  // a fragment that arrives in several reads
  } else {
    pieces_.push_back({chunk, parsed_, bytes});
  }
  parsed_ += bytes;
  fragment_left_ -= bytes;
  record_bytes_ += bytes;
}

void RecordAssembler::give(Record& record) {
  record.bytes = record_bytes_;
  const auto bytes_of_piece = [this](const Piece& piece) {
    const MutableBytes from = piece.chunk == full_.size() ? buffer() : full_[piece.chunk]->bytes();
    return ConstBytes(from.subspan(piece.offset, piece.bytes));
  };
  if (record_bytes_ <= Record::kSmall) {
    std::byte* to = record.small.data();
    for (const Piece& piece : pieces_) {
      const ConstBytes from = bytes_of_piece(piece);
      std::memcpy(to, from.data(), from.size());
      to += from.size();
    }
    record.pieces.emplace_back(record.small.data(), record_bytes_);
  } else {
    for (const Piece& piece : pieces_) {
      record.pieces.push_back(bytes_of_piece(piece));
    }
    for (ChunkRef& chunk : full_) {
      record.chunks.push_back(std::move(chunk));
    }
    DUET_CHECK(chunk_);  // more than fits the inline buffer
    record.chunks.push_back(chunk_);
  }
  forget_record();
}

void RecordAssembler::forget_record() {
  full_.clear();
  pieces_.clear();
  if (pieces_.capacity() > 64) {
    pieces_.shrink_to_fit();
  }
  begin_ = parsed_;
  record_bytes_ = fragments_ = 0;
  last_fragment_ = false;
}

}  // namespace duet::server
