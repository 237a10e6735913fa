#include "workload.h"

#include <unistd.h>

#include <random>

namespace duet::bench {
namespace {

constexpr uint32_t kSmallBytes = 4096;
constexpr uint32_t kLargeBytes = 1 << 20;

class Getattr : public Workload {
 public:
  explicit Getattr(Handle file) : file_(std::move(file)) {}
  Procedure procedure(size_t) const override { return Procedure::kGetattr; }
  std::span<const uint8_t> next(size_t, Encoder& out) override {
    out.opaque(file_);
    return {};
  }
  bool check(size_t, Decoder& result) override {
    return result.u32() == kNfsOk && result.u32() == 1 && !result.failed();
  }

 private:
  Handle file_;
};

// Small transfers go to random offsets, large ones from start to end and around.
class Offsets {
 public:
  Offsets(uint64_t file_bytes, uint32_t count) : blocks_(file_bytes / count), count_(count) {}
  uint64_t next() {
    const uint64_t block = count_ < kLargeBytes ? random_() : sequential_++;
    return block % blocks_ * count_;
  }

 private:
  uint64_t blocks_;
  uint32_t count_;
  uint64_t sequential_ = 0;
  std::mt19937_64 random_{std::random_device{}()};
};

class Read : public Workload {
 public:
  Read(Handle file, uint64_t file_bytes, uint32_t count)
      : file_(std::move(file)), offsets_(file_bytes, count), count_(count) {}
  Procedure procedure(size_t) const override { return Procedure::kRead; }
  std::span<const uint8_t> next(size_t, Encoder& out) override {
    encode_read(out, file_, offsets_.next(), count_);
    return {};
  }
  bool check(size_t, Decoder& result) override {
    if (result.u32() != kNfsOk) return false;
    if (result.u32() != 0) result.skip(84);
    return result.u32() == count_ && !result.failed();
  }
  uint64_t bytes_per_call() const override { return count_; }

 private:
  Handle file_;
  Offsets offsets_;
  uint32_t count_;
};

class Write : public Workload {
 public:
  Write(Handle file, uint64_t file_bytes, uint32_t count)
      : file_(std::move(file)), offsets_(file_bytes, count), count_(count) {}
  Procedure procedure(size_t) const override { return Procedure::kWrite; }
  std::span<const uint8_t> next(size_t, Encoder& out) override {
    encode_write(out, file_, offsets_.next(), count_, Stable::kFileSync);
    return content(count_);
  }
  bool check(size_t, Decoder& result) override {
    if (result.u32() != kNfsOk) return false;
    if (result.u32() != 0) result.skip(24);
    if (result.u32() != 0) result.skip(84);
    const bool all = result.u32() == count_;
    return all && result.u32() == static_cast<uint32_t>(Stable::kFileSync) && !result.failed();
  }
  uint64_t bytes_per_call() const override { return count_; }

 private:
  Handle file_;
  Offsets offsets_;
  uint32_t count_;
};

// CREATE of a new name, then REMOVE of it; each is one operation.
class CreateRemove : public Workload {
 public:
  CreateRemove(Handle directory, size_t depth) : directory_(std::move(directory)), slots_(depth) {}
  Procedure procedure(size_t slot) const override {
    return slots_[slot].exists ? Procedure::kRemove : Procedure::kCreate;
  }
  std::span<const uint8_t> next(size_t slot, Encoder& out) override {
    Slot& state = slots_[slot];
    if (state.exists) {
      encode_name(out, directory_, state.name);
    } else {
      state.name = prefix_ + std::to_string(slot) + "-" + std::to_string(state.made++);
      encode_create(out, directory_, state.name);
    }
    return {};
  }
  bool check(size_t slot, Decoder& result) override {
    slots_[slot].exists = !slots_[slot].exists;
    return result.u32() == kNfsOk && !result.failed();
  }
  bool may_stop(size_t slot) const override { return !slots_[slot].exists; }

 private:
  struct Slot {
    std::string name;
    uint64_t made = 0;
    bool exists = false;
  };
  Handle directory_;
  std::vector<Slot> slots_;
  std::string prefix_ = "bench-" + std::to_string(::getpid()) + "-";
};

// CREATE of `entries` names that stay.
class Fill : public Workload {
 public:
  Fill(Handle directory, uint64_t entries) : directory_(std::move(directory)), left_(entries) {}
  Procedure procedure(size_t) const override { return Procedure::kCreate; }
  std::span<const uint8_t> next(size_t, Encoder& out) override {
    encode_create(out, directory_, "entry-" + std::to_string(left_--));
    return {};
  }
  bool check(size_t, Decoder& result) override {
    return result.u32() == kNfsOk && !result.failed();
  }
  bool finished(size_t) const override { return left_ == 0; }

 private:
  Handle directory_;
  uint64_t left_;
};

Handle prepare_directory(Client& client, const Handle& root, const std::string& name) {
  if (name.empty()) return root;
  Handle found = client.lookup(root, name);
  return found.empty() ? client.make_directory(root, name) : found;
}

}  // namespace

std::unique_ptr<Workload> make_workload(const WorkloadOptions& options, Client& client,
                                        const Handle& root) {
  const std::string& name = options.name;
  if (name == "create" || name == "fill") {
    Handle directory = prepare_directory(client, root, options.directory);
    if (name == "fill") return std::make_unique<Fill>(std::move(directory), options.entries);
    return std::make_unique<CreateRemove>(std::move(directory), options.depth);
  }
  if (name == "getattr") {
    return std::make_unique<Getattr>(client.prepare_file(root, "bench-small", kSmallBytes));
  }
  const bool reads = name == "read4k" || name == "read1m";
  if (!reads && name != "write4k" && name != "write1m") return nullptr;
  const uint64_t size = options.file_bytes;
  Handle file = client.prepare_file(root, reads ? "bench-read" : "bench-write", size);
  const uint32_t count = name.ends_with("1m") ? kLargeBytes : kSmallBytes;
  if (!reads) return std::make_unique<Write>(std::move(file), size, count);
  client.warm(file, size);
  return std::make_unique<Read>(std::move(file), size, count);
}

}  // namespace duet::bench
