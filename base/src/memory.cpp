#include "base/memory.h"

#include <cstdint>
#include <new>

#include "base/check.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace duet {

void copy_past_cache(MutableBytes to, ConstBytes from) {
  DUET_CHECK(to.size() >= from.size());
  std::byte* out = to.data();
  const std::byte* in = from.data();
  std::size_t left = from.size();
#if defined(__SSE2__)
  constexpr std::size_t kLine = 64;  // whole lines, or the processor reads them after all
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(out) % kLine;
  if (left >= head + kLine) {
    std::memcpy(out, in, head);
    out += head;
    in += head;
    left -= head;
    for (; left >= kLine; left -= kLine, in += kLine, out += kLine) {
      const auto* source = reinterpret_cast<const __m128i*>(in);
      auto* line = reinterpret_cast<__m128i*>(out);
      const __m128i a = _mm_loadu_si128(source);
      const __m128i b = _mm_loadu_si128(source + 1);
      const __m128i c = _mm_loadu_si128(source + 2);
      const __m128i d = _mm_loadu_si128(source + 3);
      _mm_stream_si128(line, a);
      _mm_stream_si128(line + 1, b);
      _mm_stream_si128(line + 2, c);
      _mm_stream_si128(line + 3, d);
    }
  }
#endif
  if (left > 0) {
    std::memcpy(out, in, left);
  }
}

void store_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

Slab::Slab(std::size_t bytes)
    : memory_(static_cast<std::byte*>(
          ::operator new (bytes, std::align_val_t{kLargePageBytes}))) {
#if defined(__linux__)
  (void)madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // only advice
#endif
}

void Slab::Free::operator()(std::byte* memory) const {
  ::operator delete (memory, std::align_val_t{kLargePageBytes});
}

}  // namespace duet
