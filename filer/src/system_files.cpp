#include "system_files.h"

#include <algorithm>
#include <cstring>

#include "wafl/attempt.h"
#include "wafl/operations.h"
#include "wafl/volume.h"

namespace duet::filer {

namespace {

constexpr std::string_view kRepliesName = "replies";
constexpr std::string_view kExportsName = "exports";

// One try of each step of load(); kMiss: load and try again.

Result<wafl::InodeRef> find_or_make(wafl::Attempt& attempt, std::string_view name,
                                    wafl::Timestamp now) {
  wafl::Volume& volume = *attempt.aggregate().find_volume(wafl::kSystemVolume);
  Result<wafl::InodeRef> root = volume.find_inode(attempt, wafl::kLive, wafl::kRootInode);
  if (!root.ok()) {
    return root;
  }
  const Result<wafl::Entry> entry = wafl::lookup(attempt, *root.value(), name);
  if (entry.ok()) {
    return volume.find_inode(attempt, wafl::kLive, entry.value().inode);
  }
  if (entry.error().code != Errc::kNotFound) {
    return entry.error();
  }
  wafl::NewNode node;
  node.mode = 0600;
  return wafl::create(attempt, *root.value(), name, node, now);
}

// Every block must exist, so that write_replies() only replaces blocks.
Result<wafl::InodeRef> replies_of_size(wafl::Attempt& attempt, std::uint64_t bytes,
                                       wafl::Timestamp now) {
  Result<wafl::InodeRef> file = find_or_make(attempt, kRepliesName, now);
  if (!file.ok()) {
    return file;
  }
  const std::uint64_t present = file.value()->attributes().size_bytes;
  if (present >= bytes) {
    return file;
  }
  const std::vector<std::byte> zeros(bytes - present);
  const ConstBytes data(zeros);
  if (Status written =
          wafl::write(attempt, *file.value(), present, std::span(&data, 1), false, now);
      !written.ok()) {
    return written.error();
  }
  return file;
}

void gather(const wafl::ReadResult& read, std::byte* to) {
  for (const wafl::Extent& extent : read.extents) {
    if (extent.buffer) {
      std::memcpy(to, extent.buffer.bytes().subspan(extent.offset, extent.bytes).data(),
                  extent.bytes);
    } else {
      std::memset(to, 0, extent.bytes);
    }
    to += extent.bytes;
  }
}

Status read_replies(wafl::Attempt& attempt, wafl::Inode& file, std::vector<ReplySlot>& slots) {
  constexpr std::uint32_t kReadBytes = 1U << 20U;
  const std::uint64_t bytes = file.attributes().size_bytes / sizeof(ReplySlot) * sizeof(ReplySlot);
  slots.resize(bytes / sizeof(ReplySlot));
  for (std::uint64_t at = 0; at < bytes; at += kReadBytes) {
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(kReadBytes, bytes - at));
    const Result<wafl::ReadResult> read = wafl::read(attempt, file, at, count);
    if (!read.ok()) {
      return read.error();
    }
    if (read.value().bytes != count) {
      return Error{Errc::kCorrupt, "system volume: the reply cache is cut short"};
    }
    gather(read.value(), reinterpret_cast<std::byte*>(slots.data()) + at);
  }
  return Ok{};
}

Status read_exports(wafl::Attempt& attempt, wafl::Inode& file, ExportTable& exports) {
  const std::uint64_t bytes = file.attributes().size_bytes;
  if (bytes == 0) {
    return Ok{};  // just made
  }
  if (bytes > kExportTableBytesMax) {
    return Error{Errc::kCorrupt, "system volume: the exports are too large"};
  }
  const Result<wafl::ReadResult> read =
      wafl::read(attempt, file, 0, static_cast<std::uint32_t>(bytes));
  if (!read.ok()) {
    return read.error();
  }
  std::string text(read.value().bytes, '\0');
  gather(read.value(), reinterpret_cast<std::byte*>(text.data()));
  Result<ExportTable> table = decode_exports(text);
  if (!table.ok()) {
    return table.error();
  }
  exports = std::move(table.value());
  return Ok{};
}

// Runs `step` until it misses nothing.
template <typename Step>
Task<Status> until_loaded(wafl::Aggregate& aggregate, Step step) {
  wafl::Attempt attempt(aggregate);
  attempt.replaying = true;  // a full aggregate must open
  for (;;) {
    const Status done = step(attempt);
    if (done.ok() || done.error().code != Errc::kMiss) {
      co_return done;
    }
    const Status loaded = co_await attempt.load();
    if (!loaded.ok()) {
      co_return loaded;
    }
  }
}

}  // namespace

Task<Status> SystemFiles::load(wafl::Aggregate& aggregate, ReplyCache& replies,
                               ExportTable& exports, wafl::Timestamp now) {
  if (aggregate.find_volume(wafl::kSystemVolume) == nullptr) {
    co_return Error{Errc::kCorrupt, "the aggregate has no system volume"};
  }
  const std::uint64_t bytes = replies.block_count() * kBlockBytes;
  std::vector<ReplySlot> slots;
  auto take_replies = [this, bytes, now, &slots](wafl::Attempt& attempt) -> Status {
    Result<wafl::InodeRef> file = replies_of_size(attempt, bytes, now);
    if (!file.ok()) {
      return file.error();
    }
    replies_ = std::move(file.value());
    return read_replies(attempt, *replies_, slots);
  };
  const Status replies_taken = co_await until_loaded(aggregate, take_replies);
  if (!replies_taken.ok()) {
    co_return replies_taken;
  }
  replies.restore(slots);
  auto take_exports = [this, now, &exports](wafl::Attempt& attempt) -> Status {
    Result<wafl::InodeRef> file = find_or_make(attempt, kExportsName, now);
    if (!file.ok()) {
      return file.error();
    }
    exports_ = std::move(file.value());
    return read_exports(attempt, *exports_, exports);
  };
  co_return co_await until_loaded(aggregate, take_exports);
}

wafl::Timestamp SystemFiles::last_time() const { return replies_->attributes().mtime; }

void SystemFiles::write_replies(ReplyCache& replies, wafl::Timestamp last_time) {
  for (const std::size_t index : replies.take_dirty()) {
    const ConstBytes from = replies.block(index);
    std::memcpy(replies_->replace_block(index).mutable_bytes().data(), from.data(), from.size());
  }
  if (replies_->attributes().mtime != last_time) {
    replies_->change_attributes().mtime = last_time;
  }
}

void SystemFiles::write_exports(const ExportTable& exports, wafl::Timestamp now) {
  const std::string text = encode(exports);
  const std::uint64_t blocks = (text.size() + kBlockBytes - 1) / kBlockBytes;
  exports_->cut(0);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const MutableBytes to = exports_->replace_block(i).mutable_bytes();
    const std::string_view part = std::string_view(text).substr(i * kBlockBytes, kBlockBytes);
    std::memset(to.data(), 0, to.size());
    std::memcpy(to.data(), part.data(), part.size());
  }
  wafl::Attributes& attributes = exports_->change_attributes();
  attributes.size_bytes = text.size();
  attributes.used_bytes = blocks * kBlockBytes;
  attributes.mtime = attributes.ctime = now;
}

}  // namespace duet::filer
