// The NFSv3 (RFC 1813) calls that the workloads make, and the simple one-at-a-time client that
// prepares their files.  For one thread; a reply that is not a success ends the program.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "wire.h"

namespace duet::bench {

using Handle = std::vector<uint8_t>;

enum class Procedure : uint32_t {
  kNull = 0,
  kGetattr = 1,
  kLookup = 3,
  kRead = 6,
  kWrite = 7,
  kCreate = 8,
  kMkdir = 9,
  kRemove = 12,
  kCommit = 21,
};

enum class Stable : uint32_t { kUnstable = 0, kFileSync = 2 };

inline constexpr uint32_t kNfsOk = 0;
inline constexpr uint32_t kNfsNoEntry = 2;

// Starts a call: record mark, RPC header, AUTH_SYS of root.  Returns the mark for end_record().
size_t begin_call(Encoder& out, uint32_t xid, uint32_t program, uint32_t procedure);

void encode_name(Encoder& out, const Handle& directory, const std::string& name);
void encode_create(Encoder& out, const Handle& directory, const std::string& name);
void encode_read(Encoder& out, const Handle& file, uint64_t offset, uint32_t count);
// All of a WRITE but the data, which follows on the wire (its length is a multiple of 4).
void encode_write(Encoder& out, const Handle& file, uint64_t offset, uint32_t count, Stable stable);

// Checks the RPC header of a reply and leaves `reply` at the result; returns the xid.
uint32_t open_reply(Decoder& reply);

// One call at a time.
class Client {
 public:
  Client(std::string host, uint16_t port, uint16_t mount_port);

  // MOUNT MNT: the export's root handle.
  Handle mount(const std::string& path);
  // The entry, or an empty handle.
  Handle lookup(const Handle& directory, const std::string& name);
  Handle make_file(const Handle& directory, const std::string& name);
  Handle make_directory(const Handle& directory, const std::string& name);
  // Makes the file `size` bytes of pseudo-random content unless it has that size already.
  Handle prepare_file(const Handle& directory, const std::string& name, uint64_t size);
  // Reads the file once from start to end so that the server has it in memory.
  void warm(const Handle& file, uint64_t size);

  Stream& nfs() { return *nfs_; }

 private:
  std::span<const uint8_t> call(Stream& stream, uint32_t program, uint32_t procedure,
                                const Encoder& arguments, std::span<const uint8_t> data = {});
  uint64_t size_of(const Handle& file);

  std::string host_;
  uint16_t mount_port_;
  std::unique_ptr<Stream> nfs_;
  uint32_t xid_;
};

// Pseudo-random bytes, the same in every run.
std::span<const uint8_t> content(size_t count_bytes);
uint32_t random_xid();

}  // namespace duet::bench
