// AreaCopy: one area of a region, taken while another process may still write it.
//
// Promise: the copy holds every record that was durable before it was begun and that no root
// covers, and of later ones none.  What a living writer tears is the last record: an end, not
// damage.  It costs as much as there are records, whatever the size of the memory: who takes over
// must not stand still for long.
//
// Why: a writer stores record n + 1 when n is durable.  So the newest header that a look over the
// living area finds, whatever happens during that look, proves all records before it; and
// nothing overwrites them later, as a half is used again only after a root covers it.  They are
// copied then, in any order; the records behind the newest one, of which the copy may have some and
// lack others, are struck out.  Nobody was told of them: the lease had ended.
//
// Thread-safety: one thread; the source may change under it.

#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include "nvlog/record_format.h"
#include "platform/persistent_memory.h"
#include "record_scan.h"

namespace duet::nvlog {

// A region in ordinary memory, of which one area and the region header have meaning; zero at first.
class PrivateRegion final : public PersistentMemory {
 public:
  explicit PrivateRegion(std::uint64_t bytes);

  [[nodiscard]] std::span<const std::byte> bytes() const override { return {data_.get(), bytes_}; }
  // Nobody writes a copy.
  void store(std::uint64_t offset, std::span<const std::byte> data) override;
  Status persist() override;

  [[nodiscard]] MutableBytes data() { return {data_.get(), bytes_}; }
  // Outside of these spans the halves are zero.  Who looks for records need not look there: each
  // page that is only looked at would cost the kernel's help, and there may be gigabytes.
  void set_spans(const std::array<RecordSpan, 2>& spans) { spans_ = spans; }
  // The first offset from `at` on, below `end`, that is in a span; `end` if there is none.
  [[nodiscard]] std::uint64_t next_data(std::uint64_t at, std::uint64_t end) const;

 private:
  std::array<RecordSpan, 2> spans_{};
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::uint64_t bytes_;
  std::unique_ptr<std::byte, Free> data_;  // the kernel's zeros: only what is copied is touched
};

// What is already still, seen as if it were copied.
class RegionView final : public PersistentMemory {
 public:
  explicit RegionView(const PersistentMemory& memory) : memory_(memory) {}
  [[nodiscard]] std::span<const std::byte> bytes() const override { return memory_.bytes(); }
  void store(std::uint64_t offset, std::span<const std::byte> data) override;
  Status persist() override;

 private:
  const PersistentMemory& memory_;
};

class AreaCopy {
 public:
  // Takes the header and looks for the newest record.
  // REQUIRES: `source` holds a region with halves of `half_bytes`, and outlives this.
  AreaCopy(const PersistentMemory& source, std::uint64_t half_bytes, std::uint32_t area);

  // Copies some more.  False: that was all.
  bool copy_some(std::uint64_t bytes);
  // REQUIRES: copy_some() returned false.
  [[nodiscard]] std::unique_ptr<PersistentMemory> take();

 private:
  const PersistentMemory& source_;
  const std::uint64_t half_bytes_;
  const std::uint32_t area_;
  std::unique_ptr<PrivateRegion> copy_;
  std::uint64_t newest_ = 0;
  // To be copied, in the region, by half.  Known with the first copy_some(): only when the newest
  // is known all before it can be found.
  std::optional<std::array<RecordSpan, 2>> left_;
};

}  // namespace duet::nvlog
