// A redundancy group whose labels and intents anybody may have changed, and another node that says
// anything.  In most inputs the checksums are made right again.

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/check.h"
#include "input.h"
#include "message.h"
#include "platform/task_scope.h"
#include "raid/group.h"
#include "raid/intent_format.h"
#include "sim/sim_block_device.h"
#include "sim/sim_persistent_memory.h"
#include "sim/sim_scheduler.h"

namespace duet::raid {
namespace {

constexpr GroupId kGroup = {0x11, 0x22};
constexpr NodeId kSelf{0};
constexpr NodeId kOther{1};
constexpr Geometry kGeometry = {
    .level = Level::kDoubleParity, .disks = 5, .chunk_blocks = 4, .stripes = 8};
constexpr std::uint32_t kSlots = 8;
constexpr std::uint32_t kPages = 24;
constexpr std::size_t kDisks = 7;  // a spare, and one without a label
const std::uint64_t kBlocks = kGeometry.disk_blocks();
constexpr std::uint64_t kTurns = 3'000'000;

// The other node: what it says is the fuzzer's; it takes every store.
class OtherNode final : public Peers, private Continuation {
 public:
  explicit OtherNode(Scheduler& scheduler) : scheduler_(scheduler) {}
  void attach(PeersUser* user) override { user_ = user; }
  [[nodiscard]] std::uint64_t session(NodeId node) const override {
    return node == kOther ? session_ : 0;
  }
  void send(NodeId /*to*/, ConstBytes /*packet*/) override {}
  std::uint64_t store(NodeId to, std::uint64_t /*offset*/,
                      std::span<const ConstBytes> /*parts*/) override {
    if (session(to) == 0) {
      return 0;
    }
    if (!linked()) {
      scheduler_.post(*this);
    }
    return ++stores_;
  }
  [[nodiscard]] std::uint64_t stored(NodeId node) const override {
    return session(node) != 0 ? stored_ : 0;
  }

  void say(ConstBytes packet) {
    if (user_ != nullptr && session_ != 0) {
      user_->on_packet(kOther, packet);
    }
  }
  void connect(bool connected) {
    session_ = connected ? ++last_session_ : 0;
    stores_ = stored_ = 0;
    if (user_ != nullptr) {
      user_->on_session(kOther);
    }
  }

 private:
  void run() override {
    stored_ = stores_;
    if (user_ != nullptr && session_ != 0) {
      user_->on_stored(kOther);
    }
  }

  Scheduler& scheduler_;
  PeersUser* user_ = nullptr;
  std::uint64_t session_ = 0;
  std::uint64_t last_session_ = 0;
  std::uint64_t stores_ = 0;
  std::uint64_t stored_ = 0;
};

struct Image {
  std::vector<sim::SimDisk> disks;
  std::vector<std::byte> memory;
};

struct Connections {
  Connections(sim::SimScheduler& scheduler, std::vector<sim::SimDisk>& disks) {
    for (sim::SimDisk& disk : disks) {
      own.push_back(std::make_unique<sim::SimBlockDevice>(scheduler, disk));
      devices.push_back(own.back().get());
    }
  }
  std::vector<std::unique_ptr<sim::SimBlockDevice>> own;
  std::vector<BlockDevice*> devices;
};

GroupOptions options_of(std::uint64_t incarnation) {
  return {.group = kGroup,
          .self = kSelf,
          .incarnation = incarnation,
          .force = true,
          .patience = std::chrono::milliseconds(20)};
}

Task<void> open(sim::SimScheduler& scheduler, Connections& connections, PersistentMemory& memory,
                Peers& peers, std::uint64_t incarnation, std::unique_ptr<Group>& group,
                bool& done) {
  Result<std::unique_ptr<Group>> opened =
      co_await Group::open(scheduler, connections.devices, memory, peers, options_of(incarnation));
  if (opened.ok()) {
    group = std::move(opened.value());
  }
  done = true;
}

// One block, and how it went.
struct Io {
  alignas(kBlockBytes) std::array<std::byte, 6 * kBlockBytes> bytes{};
  MutableBytes part{bytes};
  bool done = false;
};

Task<void> touch(Group& group, std::uint64_t block, std::size_t blocks, bool writes, Io& io) {
  io.part = MutableBytes(io.bytes).first(blocks * kBlockBytes);
  const std::span<const MutableBytes> parts(&io.part, 1);
  if (writes) {
    const Status written = co_await group.write(block, parts, WriteKind::kInPlace);
    static_cast<void>(written);
  } else {
    const Status read = co_await group.read(block, parts);
    static_cast<void>(read);
  }
  io.done = true;
}

template <typename T>
Task<void> keep(Task<T> task, std::optional<T>& into) {
  into = co_await std::move(task);
}

// A group that was written to alone and crashed: its label has one holder, its memory intents.
Image make_valid() {
  sim::SimScheduler scheduler(1);
  Image image;
  for (std::size_t i = 0; i < kDisks; ++i) {
    image.disks.emplace_back("d" + std::to_string(i), kBlocks);
  }
  sim::SimPersistentMemory memory(MemoryLayout{kSlots, kPages}.memory_bytes(2));
  DUET_CHECK(format_intents(memory, kGroup, kSelf, kSlots, kPages).ok());
  {
    Connections connections(scheduler, image.disks);
    std::vector<DiskId> ids;
    for (std::uint64_t i = 0; i < kDisks; ++i) {
      ids.push_back({0xD15C, i});
    }
    const std::span<BlockDevice* const> devices = connections.devices;
    const FormatOptions options = {.spares = devices.subspan(kGeometry.disks, 1),
                                   .spare_ids = std::span(ids).subspan(kGeometry.disks, 1),
                                   .step_stripes = 2};
    std::optional<Status> formatted;
    TaskScope scope(scheduler);
    scope.spawn(
        keep(format_group(devices.first(kGeometry.disks), std::span(ids).first(kGeometry.disks),
                          kGroup, kGeometry, only(kSelf) | only(kOther), options),
             formatted));
    DUET_CHECK(scheduler.run() && formatted.has_value() && formatted->ok());
  }
  Connections connections(scheduler, image.disks);
  OtherNode nobody(scheduler);
  std::unique_ptr<Group> group;
  bool done = false;
  std::array<Io, 3> ios;
  TaskScope scope(scheduler);
  scope.spawn(open(scheduler, connections, memory, nobody, 1, group, done));
  DUET_CHECK(scheduler.run_until([&] { return done; }) && group != nullptr);
  group->node_fenced(kOther, 0);
  DUET_CHECK(scheduler.run_until([&] { return group->status().active; }));
  for (std::size_t i = 0; i < ios.size(); ++i) {
    std::ranges::fill(ios[i].bytes, std::byte{'a'});
    scope.spawn(touch(*group, i * 20, 3, true, ios[i]));
  }
  DUET_CHECK(scheduler.run_until([&] { return ios[0].done && ios[1].done && ios[2].done; }));
  DUET_CHECK(group->status().intents > 0);
  scope.cancel();
  group.reset();
  image.memory.assign(memory.bytes().begin(), memory.bytes().end());
  return image;
}

const Image& valid() {
  static const Image kImage = make_valid();
  return kImage;
}

// Changes bytes of what is at `at`; behind the end nothing.
template <typename T>
T changed(ConstBytes bytes, std::size_t at, fuzz::Input& input) {
  T value = load<T>(bytes, at);
  const std::size_t where = input.take<std::uint16_t>() % sizeof(T);
  const ConstBytes with = input.take(input.take<std::uint8_t>() % 8 + 1);
  std::copy_n(with.begin(), std::min(with.size(), sizeof(T) - where),
              reinterpret_cast<std::byte*>(&value) + where);
  return value;
}

template <typename T>
void seal(T& value) {
  value.checksum = 0;
  value.checksum = crc32c(bytes_of(value));
}

// A label on one disk, or on all of them.
void change_label(std::vector<sim::SimDisk>& disks, fuzz::Input& input, bool sealed) {
  const std::size_t first = input.take<std::uint8_t>() % (disks.size() + 1);
  const std::uint64_t block = label_block(input.take<std::uint8_t>());
  const std::size_t from = first == disks.size() ? 0 : first;
  auto label = changed<GroupLabel>(disks[from].block(block), 0, input);
  for (std::size_t disk = from; disk < (first == disks.size() ? disks.size() : from + 1); ++disk) {
    const auto before = load<GroupLabel>(disks[disk].block(block), 0);
    if (first == disks.size()) {
      label.own = before.own;
      label.own_id = before.own_id;
    }
    if (sealed) {
      seal(label);
    }
    disks[disk].put(block, bytes_of(label));
  }
}

template <typename T>
void change_memory(std::vector<std::byte>& memory, std::size_t at, fuzz::Input& input,
                   bool sealed) {
  T value = changed<T>(memory, at, input);
  if (sealed) {
    seal(value);
  }
  store(memory, at, value);
}

constexpr std::array<std::size_t, 12> kBodies = {0,
                                                 sizeof(LockBody),
                                                 sizeof(HelloBody),
                                                 sizeof(PrepareBody),
                                                 0,
                                                 sizeof(CommitBody),
                                                 sizeof(ReportBody),
                                                 sizeof(StepBody),
                                                 sizeof(ScrubBody),
                                                 sizeof(ScrubStepBody),
                                                 sizeof(MoveBody),
                                                 sizeof(KnowsBody)};

// A message of the right length whose first bytes are the input's; what a commit says is near the
// truth.
void say(OtherNode& other, const Group* group, fuzz::Input& input) {
  MessageHead head;
  head.kind = input.take<std::uint8_t>() % 13;
  const GroupStatus status = group != nullptr ? group->status() : GroupStatus();
  const auto near = [&](std::uint64_t present) {
    return present + input.take<std::uint8_t>() % 20U - 2;
  };
  head.generation = near(static_cast<std::uint64_t>(status.view));
  std::vector<std::byte> body(head.kind < kBodies.size() ? kBodies[head.kind] : 5);
  if (static_cast<MessageKind>(head.kind) == MessageKind::kCommit) {
    CommitBody commit;
    commit.label = changed<GroupLabel>(bytes_of(status.label), 0, input);
    commit.label.generation = head.generation;
    commit.label.sequence = near(commit.label.sequence);
    store(body, 0, commit);
  }
  const ConstBytes bytes = input.take(std::min<std::size_t>(body.size(), 88));
  if (static_cast<MessageKind>(head.kind) != MessageKind::kCommit) {
    std::ranges::copy(bytes, body.begin());
  }
  head.body_bytes = static_cast<std::uint16_t>(body.size() - input.take<std::uint8_t>() / 250U);
  std::vector<std::byte> packet(sizeof(PacketHead) + sizeof(MessageHead) + body.size());
  store(packet, sizeof(PacketHead), head);
  std::ranges::copy(body, packet.begin() + sizeof(PacketHead) + sizeof(MessageHead));
  PacketHead packet_head;
  packet_head.checksum = crc32c(ConstBytes(packet).subspan(sizeof(PacketHead)));
  store(packet, 0, packet_head);
  other.say(packet);
}

void one_input(fuzz::Input& input) {
  Image image = valid();
  const MemoryLayout layout{kSlots, kPages};
  const auto mode = input.take<std::uint8_t>();
  const bool sealed = (mode & 3U) != 0;
  for (std::uint32_t changes = (mode >> 2U) & 7U; changes > 0; --changes) {
    switch (input.take<std::uint8_t>() % 4) {
      case 0:
        change_memory<MemoryHeader>(
            image.memory, input.take<std::uint8_t>() % 2 * kMemoryHeaderCopy, input, sealed);
        break;
      case 1:
        change_memory<IntentHeader>(
            image.memory, layout.slot(kSelf, input.take<std::uint8_t>() % kSlots), input, sealed);
        break;
      default:
        change_label(image.disks, input, sealed);
        break;
    }
  }
  sim::SimScheduler scheduler(mode);
  sim::SimPersistentMemory memory(image.memory.size());
  memory.store(0, image.memory);
  DUET_CHECK(memory.persist().ok());
  Connections connections(scheduler, image.disks);
  OtherNode other(scheduler);
  std::array<Io, 4> ios;
  std::unique_ptr<Group> group;
  bool opened = false;
  TaskScope scope(scheduler);
  scope.spawn(open(scheduler, connections, memory, other, 2, group, opened));
  DUET_CHECK(scheduler.run_until([&] { return opened; }, kTurns));
  if (group == nullptr) {
    return;
  }
  const auto pass = [&scheduler] {
    DUET_CHECK(scheduler.run_for(std::chrono::milliseconds(30), kTurns));
  };
  if ((mode & 32U) != 0) {
    group->node_fenced(kOther, 7);
  } else {
    other.connect(true);
  }
  pass();
  std::size_t next = 0;
  const auto begin_io = [&](bool writes, std::uint64_t block) {
    const std::uint64_t count = group->geometry().block_count();
    if (next < ios.size() && count > 6) {
      scope.spawn(touch(*group, block % (count - 6), 1 + block % 6, writes, ios[next++]));
    }
  };
  while (!input.empty()) {
    switch (input.take<std::uint8_t>() % 12) {
      case 0:
        begin_io(true, input.take<std::uint8_t>());
        break;
      case 1:
        begin_io(false, input.take<std::uint8_t>());
        break;
      case 2:
        static_cast<void>(
            group->start_scrub(ScrubKind{static_cast<std::uint8_t>(input.take<std::uint8_t>() % 2)})
                .ok());
        break;
      case 3:
        other.connect((input.take<std::uint8_t>() & 3U) != 0);
        break;
      case 4:
        group->disk_failed(input.take<std::uint8_t>() % group->geometry().disks);
        break;
      case 5:
        pass();
        break;
      default:
        say(other, group.get(), input);
        break;
    }
  }
  pass();
  scope.cancel();
  group.reset();
}

}  // namespace
}  // namespace duet::raid

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duet::fuzz::Input input(data, size);
  duet::raid::one_input(input);
  return 0;
}
