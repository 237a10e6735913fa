#include "image.h"

#include <algorithm>
#include <functional>

#include "wafl/tree_format.h"
#include "world/node.h"
#include "world/service.h"

namespace duet::fuzz {

namespace {

using world::Kind;
using world::Operation;

constexpr std::uint64_t kBlocks = 4096;

struct Author {
  world::Node& node;
  world::DirectService service;
  std::uint32_t xid = 0;

  std::string ask(const Operation& operation) {
    const filer::Caller caller = world::caller_of(1, ++xid, operation);
    const auto answer = node.run(service.call(caller, operation));
    return answer.has_value() && answer->handle.has_value() ? *answer->handle : std::string();
  }
  std::string make(const std::string& directory, const std::string& name, Kind kind,
                   wafl::FileType type = wafl::FileType::kDirectory) {
    Operation operation;
    operation.kind = kind;
    operation.handle = directory;
    operation.name = name;
    operation.type = type;
    operation.name2 = type == wafl::FileType::kSymlink ? "target" : "";
    return ask(operation);
  }
  void write(const std::string& file, std::uint64_t offset, std::size_t bytes) {
    Operation operation;
    operation.kind = Kind::kWrite;
    operation.handle = file;
    operation.offset = offset;
    operation.data.assign(bytes, 'w');
    (void)ask(operation);
  }
};

void fill(world::Node& node) {
  Author author{node, world::DirectService(node.filer())};
  const filer::Caller caller = world::caller_of(1, 0, {});
  const auto mounted = node.run(node.filer().mount(caller, "/vol0"));
  const std::string root(reinterpret_cast<const char*>(mounted->handle.data.data()),
                         mounted->handle.size);
  const std::string file = author.make(root, "file", Kind::kCreate);
  author.write(file, 0, 20'000);
  author.write(file, 3'000'000, 5000);
  (void)node.run(node.filer().create_snapshot("vol0", "one"));
  author.write(file, 0, 9000);
  const std::string directory = author.make(root, "directory", Kind::kMake);
  for (char c = 'a'; c < 'a' + 25; ++c) {
    author.make(directory, std::string(200, c), Kind::kCreate);
  }
  author.make(root, "link", Kind::kMake, wafl::FileType::kSymlink);
  (void)node.run(node.filer().create_snapshot("vol0", "two"));
  author.write(file, 4096, 4096);
  (void)node.run(node.filer().stop());
}

bool is_zero(const sim::SimDisk::Block& block) {
  return std::ranges::all_of(block, [](std::byte b) { return b == std::byte{0}; });
}

// The checksum of a root or a label is in itself.
void seal_root(sim::SimDisk& disk, std::uint64_t number) {
  sim::SimDisk::Block block = disk.block(number);
  if (number == wafl::kLabelBlock) {
    auto label = load<wafl::DiskLabel>(block, 0);
    label.checksum = 0;
    label.checksum = crc32c(bytes_of(label));
    store(block, 0, label);
  } else {
    auto root = load<wafl::DiskRoot>(block, 0);
    root.checksum = 0;
    root.checksum = crc32c(bytes_of(root));
    store(block, 0, root);
  }
  disk.put(number, block);
}

}  // namespace

const Image& Image::valid() {
  static const Image kImage = [] {
    sim::SimScheduler scheduler(1);
    world::NodeOptions options;
    options.blocks = kBlocks;
    world::Node node(scheduler, options);
    DUET_CHECK(node.format().empty());
    fill(node);
    node.cut_connections();
    node.die(world::Node::Death::kKilled);
    sim::Random random(1);
    node.disks().front()->lose_power(random, sim::SimDisk::Keep::kEverything);
    return Image(sim::SimDisk(*node.disks().front()));
  }();
  return kImage;
}

Image::Image(sim::SimDisk disk) : disk_(std::move(disk)) {
  std::vector<std::uint64_t> present;
  for (std::uint64_t number = 0; number < kBlocks; ++number) {
    if (!is_zero(disk_.block(number))) {
      present.push_back(number);
    }
  }
  // Whatever looks like a pointer with the right checksum is one.
  std::map<std::uint64_t, std::vector<std::uint64_t>> children;
  for (const std::uint64_t number : present) {
    for (std::size_t at = 0; at + sizeof(wafl::BlockPointer) <= kBlockBytes; at += 8) {
      const auto pointer = load<wafl::BlockPointer>(disk_.block(number), at);
      if (pointer.hole() || pointer.word >= kBlocks || is_zero(disk_.block(pointer.block())) ||
          crc32c(disk_.block(pointer.block())) != pointer.checksum) {
        continue;
      }
      parents_[pointer.block()].push_back({number, at});
      children[number].push_back(pointer.block());
    }
  }
  std::map<std::uint64_t, bool> done;
  const std::function<void(std::uint64_t)> visit = [&](std::uint64_t number) {
    if (std::exchange(done[number], true)) {
      return;
    }
    for (const std::uint64_t child : children[number]) {
      visit(child);
    }
    used_.push_back(number);
  };
  for (const std::uint64_t number : present) {
    visit(number);
  }
}

std::unique_ptr<sim::SimDisk> Image::changed(Input& input) const {
  auto disk = std::make_unique<sim::SimDisk>(disk_);
  const bool sealed = (input.take<std::uint8_t>() & 3U) != 0;
  std::map<std::uint64_t, bool> touched;
  while (!input.empty()) {
    const std::uint64_t number = used_[input.take<std::uint16_t>() % used_.size()];
    const std::size_t at = input.take<std::uint16_t>() % kBlockBytes;
    const ConstBytes bytes = input.take(input.take<std::uint8_t>() % 32 + 1);
    sim::SimDisk::Block block = disk->block(number);
    std::copy_n(bytes.begin(), std::min(bytes.size(), kBlockBytes - at), block.begin() +
                                   static_cast<std::ptrdiff_t>(at));
    disk->put(number, block);
    touched[number] = true;
  }
  if (sealed) {
    seal(*disk, touched);
  }
  return disk;
}

void Image::seal(sim::SimDisk& disk, std::map<std::uint64_t, bool>& touched) const {
  for (const std::uint64_t number : used_) {
    if (!touched[number]) {
      continue;
    }
    if (number == wafl::kLabelBlock || number == wafl::kRootBlockA ||
        number == wafl::kRootBlockB) {
      seal_root(disk, number);
      continue;
    }
    const auto parents = parents_.find(number);
    for (std::size_t i = 0; parents != parents_.end() && i < parents->second.size(); ++i) {
      const Parent& parent = parents->second[i];
      sim::SimDisk::Block block = disk.block(parent.block);
      store(block, parent.offset + offsetof(wafl::BlockPointer, checksum),
            crc32c(disk.block(number)));
      disk.put(parent.block, block);
      touched[parent.block] = true;
    }
  }
}

}  // namespace duet::fuzz
