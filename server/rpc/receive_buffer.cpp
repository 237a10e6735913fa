#include "rpc/receive_buffer.h"

#include <new>

#include "base/check.h"

namespace duet::server {

ChunkPool::~ChunkPool() {
  DUET_CHECK(used_bytes_ == 0);
  for (FreeList* list : {&small_, &large_}) {
    while (list->head != nullptr) {
      ::operator delete(std::exchange(list->head, list->head->next_free));
    }
  }
}

ChunkRef ChunkPool::take(FreeList& list, std::size_t bytes, ReceiveAccount& account) {
  Chunk* chunk = list.head;
  if (chunk != nullptr) {
    list.head = chunk->next_free;
    --list.count;
  } else {
    chunk = static_cast<Chunk*>(::operator new(sizeof(Chunk) + bytes));
  }
  used_bytes_ += bytes;
  account.bytes += bytes;
  new (chunk) Chunk{this, &account, nullptr, 0, static_cast<std::uint32_t>(bytes)};
  return ChunkRef(chunk);
}

void ChunkPool::give_back(Chunk* chunk) {
  used_bytes_ -= chunk->size;
  chunk->account->bytes -= chunk->size;
  if (awaited() && !over_limit()) {
    room_.wake_all();
  }
  FreeList& list = chunk->size == kSmallBytes ? small_ : large_;
  if (list.count == kFreeMax) {
    ::operator delete(chunk);
    return;
  }
  chunk->next_free = list.head;
  list.head = chunk;
  ++list.count;
}

}  // namespace duet::server
