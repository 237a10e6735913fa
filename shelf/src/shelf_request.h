// What a ShelfDisk keeps of an operation until it is answered, and of its connection.

#pragma once

#include <memory>
#include <vector>

#include "frame_reader.h"
#include "shelf/shelf_disk.h"
#include "shelf/wire_format.h"

namespace duet::shelf {

// An operation that was divided.
struct ShelfDisk::Whole {
  BlockOperation* operation;
  std::size_t left;
  Status result = Ok{};
};

// One request: an operation, a part of one, or a command.
struct ShelfDisk::Request {
  RequestHeader header;
  BlockOperation* operation = nullptr;  // one of both
  DiskCommand* command = nullptr;
  Whole* whole = nullptr;      // of `operation`, when it was divided
  std::size_t first_byte = 0;  // of the operation's parts...
  std::size_t bytes = 0;       // ...so many are this request's
  std::uint64_t covers = 0;    // a flush: the writes that had completed at its start
  std::uint64_t batch = 0;     // of the session, in which it was sent...
  std::size_t out_end = 0;     // ...and the end of its parts in that
  bool active = false;
  bool sent = false;  // in this session
  bool sent_ever = false;
  Request* older = nullptr;
  Request* newer = nullptr;
};

// A connected stream.  Its members' order matters: the write ends before the stream.
struct ShelfDisk::Session {
  struct Write final : WriteOperation {
    explicit Write(ShelfDisk& owner) : disk(owner) {}
    void run() override {
      disk.session_->writing = false;
      disk.send();
    }
    ShelfDisk& disk;
  };

  Session(ShelfDisk& disk, std::unique_ptr<ByteStream> connected)
      : stream(std::move(connected)), reader(*stream), write(disk) {}

  std::unique_ptr<ByteStream> stream;
  FrameReader reader;
  RequestHeader ping;
  std::vector<ConstBytes> out;  // the batch that is sent
  std::uint64_t batch = 0;
  std::vector<MutableBytes> in;
  Write write;
  bool writing = false;
};

// Appends the part of `parts` that begins `first` bytes in and has `bytes`; what lies together in
// memory as one.
template <typename View>
void slice(std::span<const MutableBytes> parts, std::size_t first, std::size_t bytes,
           std::vector<View>& into) {
  const std::size_t begin = into.size();
  for (const MutableBytes part : parts) {
    if (bytes == 0) {
      return;
    }
    if (first >= part.size()) {
      first -= part.size();
      continue;
    }
    const std::size_t count = std::min(bytes, part.size() - first);
    const MutableBytes next = part.subspan(first, count);
    if (into.size() > begin && into.back().data() + into.back().size() == next.data()) {
      into.back() = View(into.back().data(), into.back().size() + count);
    } else {
      into.push_back(next);
    }
    first = 0;
    bytes -= count;
  }
}

}  // namespace duet::shelf
