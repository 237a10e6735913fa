// FakeFiler: filer::Filer for tests of the wire: linked instead of the real one, so that what the
// server asked can be looked at and what it shall answer can be set.
//
// Used by server_test and the fuzzers only; both must not refer to other parts of
// duet::filer than exports.
//
// Thread-safety: one thread.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "filer/filer.h"

namespace duet::server::test {

struct FakeFiler {
  // What was asked last.
  filer::Caller caller;
  std::string asked;  // "LOOKUP", ...
  std::vector<std::byte> handle, other_handle;
  std::string name, other_name, data;
  filer::SetAttributes attributes;
  std::optional<wafl::Timestamp> guard;
  std::uint64_t offset = 0;
  std::uint32_t count = 0;
  filer::CreateMode mode{};
  wafl::FileType type{};
  wafl::Device device;
  std::uint64_t cookie = 0, verifier = 0;
  std::uint32_t reply_bytes_max = 0;
  std::size_t pieces = 0;

  // What shall be answered.
  filer::Failure error;
  filer::FileAttributes file;
  filer::Handle new_handle;
  filer::PreAttributes before;
  std::string contents;  // READ: as buffers, from `offset` on
  std::vector<filer::ReaddirEntry> entries;
  std::vector<filer::ExportLine> exports;
  std::uint32_t requests = 0;
  std::uint32_t buffers_alive = 0;

  // Not null: requests wait until it is woken.
  WaitList* gate = nullptr;

  // The Filer whose functions answer from this object; one at a time.
  std::unique_ptr<filer::Filer> make();
};

}  // namespace duet::server::test
