#include "fake_filer.h"

#include <algorithm>

#include "platform/task_scope.h"

namespace duet::filer {

// The real one is never linked beside this.
class FilerState {
 public:
  server::test::FakeFiler* fake = nullptr;
};

namespace {

server::test::FakeFiler* current = nullptr;

std::vector<std::byte> copy(ConstBytes bytes) { return {bytes.begin(), bytes.end()}; }

Task<void> pass(const Caller& caller, const char* what, ConstBytes handle) {
  current->caller = caller;
  current->asked = what;
  current->handle = copy(handle);
  ++current->requests;
  while (current->gate != nullptr) {
    co_await current->gate->wait();
  }
}

PostAttributes post() { return current->file; }
WccData wcc() {
  WccData both;
  both.before = current->before;
  both.after = current->file;
  return both;
}

}  // namespace

Filer::Filer(std::unique_ptr<FilerState> state) : state_(std::move(state)) {}
Filer::~Filer() = default;

Task<Result<std::unique_ptr<Filer>>> Filer::open(Scheduler& /*scheduler*/, WallClock& /*clock*/,
                                                 Entropy& /*entropy*/,
                                                 std::vector<BlockDevice*> /*disks*/,
                                                 PersistentMemory& /*memory*/,
                                                 FilerOptions /*options*/) {
  auto state = std::make_unique<FilerState>();
  state->fake = current;
  co_return std::unique_ptr<Filer>(new Filer(std::move(state)));
}

Task<GetattrReply> Filer::getattr(const Caller& caller, ConstBytes handle) {
  co_await pass(caller, "GETATTR", handle);
  GetattrReply reply;
  reply.error = current->error;
  reply.attributes = current->file;
  co_return reply;
}

Task<WccReply> Filer::setattr(const Caller& caller, const SetattrRequest& request) {
  co_await pass(caller, "SETATTR", request.handle);
  current->attributes = request.changes;
  current->guard = request.guard_ctime;
  WccReply reply;
  reply.error = current->error;
  reply.wcc = wcc();
  co_return reply;
}

Task<LookupReply> Filer::lookup(const Caller& caller, const NameRequest& request) {
  co_await pass(caller, "LOOKUP", request.directory);
  current->name = request.name;
  LookupReply reply;
  reply.error = current->error;
  reply.handle = current->new_handle;
  reply.attributes = reply.directory = post();
  co_return reply;
}

Task<AccessReply> Filer::access(const Caller& caller, ConstBytes handle, std::uint32_t wanted) {
  co_await pass(caller, "ACCESS", handle);
  AccessReply reply;
  reply.error = current->error;
  reply.attributes = post();
  reply.access = wanted;
  co_return reply;
}

Task<ReadlinkReply> Filer::readlink(const Caller& caller, ConstBytes handle) {
  co_await pass(caller, "READLINK", handle);
  ReadlinkReply reply;
  reply.error = current->error;
  reply.attributes = post();
  reply.target = current->contents;
  co_return reply;
}

Task<ReadReply> Filer::read(const Caller& caller, const ReadRequest& request) {
  co_await pass(caller, "READ", request.handle);
  current->offset = request.offset;
  current->count = request.count;
  ReadReply reply;
  reply.error = current->error;
  reply.attributes = post();
  const std::uint64_t size = current->contents.size();
  const std::uint64_t begin = std::min<std::uint64_t>(request.offset, size);
  const std::uint64_t end = begin + std::min<std::uint64_t>(request.count, size - begin);
  for (std::uint64_t at = begin; at < end && !reply.error;) {
    auto* buffer = new wafl::Buffer();
    buffer->data = static_cast<std::byte*>(::operator new(kBlockBytes));
    ++current->buffers_alive;
    const std::uint64_t bytes = std::min<std::uint64_t>(kBlockBytes, end - at);
    std::memcpy(buffer->data, current->contents.data() + at, bytes);
    reply.data.extents.push_back({wafl::BufferRef(buffer), 0, static_cast<std::uint32_t>(bytes)});
    at += bytes;
  }
  reply.data.bytes = end - begin;
  reply.data.end_of_file = end == size;
  co_return reply;
}

Task<WriteReply> Filer::write(const Caller& caller, const WriteRequest& request) {
  co_await pass(caller, "WRITE", request.handle);
  current->offset = request.offset;
  current->data.clear();
  current->pieces = request.data.size();
  for (const ConstBytes piece : request.data) {
    current->data.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  WriteReply reply;
  reply.error = current->error;
  reply.wcc = wcc();
  reply.count = static_cast<std::uint32_t>(current->data.size());
  co_return reply;
}

Task<CreateReply> Filer::create(const Caller& caller, const CreateRequest& request) {
  co_await pass(caller, "CREATE", request.directory);
  current->name = request.name;
  current->mode = request.mode;
  current->attributes = request.attributes;
  current->verifier = request.verifier;
  CreateReply reply;
  reply.error = current->error;
  reply.handle = current->new_handle;
  reply.attributes = post();
  reply.directory = wcc();
  co_return reply;
}

Task<CreateReply> Filer::make(const Caller& caller, const MakeRequest& request) {
  co_await pass(caller, "MAKE", request.directory);
  current->name = request.name;
  current->type = request.type;
  current->attributes = request.attributes;
  current->data = request.target;
  current->device = request.device;
  CreateReply reply;
  reply.error = current->error;
  reply.handle = current->new_handle;
  reply.attributes = post();
  reply.directory = wcc();
  co_return reply;
}

Task<WccReply> Filer::remove(const Caller& caller, const NameRequest& request) {
  co_await pass(caller, "REMOVE", request.directory);
  current->name = request.name;
  WccReply reply;
  reply.error = current->error;
  reply.wcc = wcc();
  co_return reply;
}

Task<WccReply> Filer::rmdir(const Caller& caller, const NameRequest& request) {
  co_await pass(caller, "RMDIR", request.directory);
  current->name = request.name;
  WccReply reply;
  reply.error = current->error;
  reply.wcc = wcc();
  co_return reply;
}

Task<RenameReply> Filer::rename(const Caller& caller, const RenameRequest& request) {
  co_await pass(caller, "RENAME", request.from_directory);
  current->name = request.from_name;
  current->other_handle = copy(request.to_directory);
  current->other_name = request.to_name;
  RenameReply reply;
  reply.error = current->error;
  reply.from = reply.to = wcc();
  co_return reply;
}

Task<LinkReply> Filer::link(const Caller& caller, const LinkRequest& request) {
  co_await pass(caller, "LINK", request.handle);
  current->other_handle = copy(request.directory);
  current->name = request.name;
  LinkReply reply;
  reply.error = current->error;
  reply.attributes = post();
  reply.directory = wcc();
  co_return reply;
}

Task<ReaddirReply> Filer::readdir(const Caller& caller, const ReaddirRequest& request) {
  const char* what = request.plus ? "READDIRPLUS" : "READDIR";
  co_await pass(caller, what, request.directory);
  current->cookie = request.cookie;
  current->verifier = request.verifier;
  current->count = request.bytes_max;
  current->reply_bytes_max = request.reply_bytes_max;
  ReaddirReply reply;
  reply.error = current->error;
  reply.directory = post();
  reply.verifier = 0x0102030405060708;
  reply.entries = current->entries;
  reply.end = true;
  co_return reply;
}

Task<FsstatReply> Filer::fsstat(const Caller& caller, ConstBytes handle) {
  co_await pass(caller, "FSSTAT", handle);
  FsstatReply reply;
  reply.error = current->error;
  reply.attributes = post();
  reply.total_bytes = 1;
  reply.free_bytes = 2;
  reply.available_bytes = 3;
  reply.total_files = 4;
  reply.free_files = 5;
  reply.available_files = 6;
  co_return reply;
}

Task<FsinfoReply> Filer::fsinfo(const Caller& caller, ConstBytes handle) {
  co_await pass(caller, "FSINFO", handle);
  FsinfoReply reply;
  reply.error = current->error;
  reply.attributes = post();
  co_return reply;
}

Task<PathconfReply> Filer::pathconf(const Caller& caller, ConstBytes handle) {
  co_await pass(caller, "PATHCONF", handle);
  PathconfReply reply;
  reply.error = current->error;
  reply.attributes = post();
  co_return reply;
}

Task<CommitReply> Filer::commit(const Caller& caller, const CommitRequest& request) {
  co_await pass(caller, "COMMIT", request.handle);
  current->offset = request.offset;
  current->count = request.count;
  CommitReply reply;
  reply.error = current->error;
  reply.wcc = wcc();
  co_return reply;
}

std::uint64_t Filer::write_verifier() const { return 0xA1A2A3A4A5A6A7A8; }

Task<MountReply> Filer::mount(const Caller& caller, std::string_view path) {
  const ConstBytes no_handle;
  co_await pass(caller, "MNT", no_handle);
  current->name = path;
  MountReply reply;
  reply.error = current->error;
  reply.handle = current->new_handle;
  co_return reply;
}

std::vector<ExportLine> Filer::export_lines() const { return current->exports; }

}  // namespace duet::filer

namespace duet::wafl {

void release_buffer(Buffer* buffer) {
  ::operator delete(buffer->data);
  delete buffer;
  --filer::current->buffers_alive;
}

}  // namespace duet::wafl

namespace duet::server::test {

namespace {

struct NoClock final : WallClock {
  std::chrono::nanoseconds since_epoch() const override { return {}; }
};
struct NoEntropy final : Entropy {
  std::uint64_t next() override { return 0; }
};
struct NoMemory final : PersistentMemory {
  std::span<const std::byte> bytes() const override { return {}; }
  void store(std::uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}
  Status persist() override { return Ok{}; }
};

Task<void> open(std::unique_ptr<filer::Filer>& opened, Scheduler& scheduler) {
  NoClock clock;
  NoEntropy entropy;
  NoMemory memory;
  std::vector<BlockDevice*> disks;
  filer::FilerOptions options;
  Result<std::unique_ptr<filer::Filer>> filer = co_await filer::Filer::open(
      scheduler, clock, entropy, std::move(disks), memory, std::move(options));
  opened = std::move(filer.value());
}

struct NoScheduler final : Scheduler {
  Instant now() const override { return {}; }
  void post(Continuation& /*c*/) override {}
  void post_last(Continuation& /*c*/) override {}
  void post_at(Continuation& /*c*/, Instant /*due*/) override {}
  void post_all(ContinuationList& /*list*/) override {}
};

}  // namespace

std::unique_ptr<filer::Filer> FakeFiler::make() {
  filer::current = this;
  NoScheduler scheduler;
  std::unique_ptr<filer::Filer> opened;
  TaskScope scope(scheduler);
  scope.spawn(open(opened, scheduler));
  return opened;
}

}  // namespace duet::server::test
