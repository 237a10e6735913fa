// Streams: what was received is what was sent, over random histories; and what is no stream is
// refused and leaves what was there.

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "history.h"
#include "wafl/receive.h"
#include "wafl/send.h"

namespace duet::wafl {
namespace {

using testing::History;
using testing::problems_of;
using testing::World;

using Stream = std::vector<std::byte>;

// One object, in all that a client could see of it but a directory's size.
struct Seen {
  std::uint64_t inode = 0;
  std::uint32_t generation = 0;
  Attributes attributes;
  std::map<std::string, std::uint64_t> names;  // of a directory
  std::string target;
  std::map<std::uint64_t, std::string> blocks;  // what is not here is a hole
  friend bool operator==(const Seen&, const Seen&) = default;
};
using Tree = std::map<std::uint64_t, Seen>;

Status look(Attempt& attempt, Inode& inode, Seen& seen) {
  seen.inode = static_cast<std::uint64_t>(inode.id().inode);
  seen.generation = static_cast<std::uint32_t>(inode.id().generation);
  seen.attributes = inode.attributes();
  bool missed = false;
  if (seen.attributes.type == FileType::kDirectory) {
    seen.attributes.size_bytes = seen.attributes.used_bytes = 0;
    const Result<bool> listed = list(attempt, inode, Cookie{0}, [&seen](const ListedEntry& entry) {
      seen.names[std::string(entry.name)] = static_cast<std::uint64_t>(entry.inode);
      return true;
    });
    return listed.ok() ? Status(Ok{}) : Status(listed.error());
  }
  if (seen.attributes.type == FileType::kSymlink) {
    const Result<std::string> target = read_link(attempt, inode);
    seen.target = target.ok() ? target.value() : "";
    return target.ok() ? Status(Ok{}) : Status(target.error());
  }
  for (std::uint64_t i = 0; i * kBlockBytes < seen.attributes.size_bytes; ++i) {
    const Result<BufferRef> block = inode.block(attempt, i);
    missed = missed || !block.ok();
    if (block.ok() && block.value()) {
      const ConstBytes bytes = block.value().bytes();
      seen.blocks[i].assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  }
  return missed ? Status(Error{Errc::kMiss, "test"}) : Status(Ok{});
}

Tree tree_of(World& world, const std::string& volume, SnapshotId snapshot) {
  Tree tree;
  std::deque<std::uint64_t> queue{static_cast<std::uint64_t>(kRootInode)};
  for (; !queue.empty(); queue.pop_front()) {
    Seen seen;
    const Status looked = world.attempt([&](Attempt& attempt) -> Status {
      seen = Seen{};
      Result<InodeRef> inode =
          world.volume(volume).find_inode(attempt, snapshot, InodeNumber{queue.front()});
      return inode.ok() ? look(attempt, *inode.value(), seen) : Status(inode.error());
    });
    EXPECT_TRUE(looked.ok()) << looked.error().context;
    for (const auto& [name, inode] : seen.names) {
      if (name != "." && name != ".." && !tree.contains(inode)) {
        queue.push_back(inode);
      }
    }
    tree[queue.front()] = std::move(seen);
  }
  return tree;
}

struct Sent {
  Stream bytes;
  SnapshotSender::Statistics statistics;
};

Sent send(World& world, const std::string& volume, const std::string& snapshot,
          const std::string& from = "") {
  Volume& owner = world.volume(volume);
  const auto base = from.empty() ? std::nullopt : std::optional(owner.find_snapshot(from)->id);
  auto sender =
      SnapshotSender::make(*world.aggregate, owner.id(), owner.find_snapshot(snapshot)->id, base);
  EXPECT_TRUE(sender.ok());
  Sent sent;
  while (!sender.value()->done()) {
    Stream chunk;
    const Status next = world.run(sender.value()->next(chunk, 100'000));
    EXPECT_TRUE(next.ok()) << next.error().context;
    EXPECT_LT(chunk.size(), 100'000 + 4 * kFrameBodyMax);
    sent.bytes.insert(sent.bytes.end(), chunk.begin(), chunk.end());
    if (!next.ok()) {
      break;
    }
  }
  sent.statistics = sender.value()->statistics();
  return sent;
}

// What filer does with a stream, one frame after the other.
class Receiving {
 public:
  Receiving(World& world, std::string volume) : world_(world), volume_(std::move(volume)) {}

  // Error: what refused it; the volume is as it was.
  Status receive(const Stream& stream, std::size_t frames_max = ~std::size_t{0}) {
    Status done = begin(stream);
    if (!done.ok()) {
      return done;
    }
    done = frames(stream, frames_max);
    if (done.ok() && !receiver_->complete()) {
      done = Error{Errc::kInvalid, "a stream that ends too early"};
    }
    if (frames_max == ~std::size_t{0}) {
      end(done);
    }
    return done;
  }

  void cancel() {
    if (world_.aggregate->find_volume(volume_)->snapshots().empty()) {
      EXPECT_TRUE(world_.aggregate->destroy_volume(volume_).ok());
    } else {
      EXPECT_TRUE(world_.volume(volume_).cancel_receive().ok());
    }
    world_.cp();
  }

 private:
  Status begin(const Stream& stream) {
    const Result<StreamHeader> header = read_stream_header(stream);
    if (!header.ok()) {
      return header.error();
    }
    header_ = header.value();
    if (header_.incremental == 0) {
      EXPECT_TRUE(world_.aggregate->create_volume(volume_, 0, world_.now()).ok());
    } else {
      EXPECT_TRUE(world_.volume(volume_).unchanged());
    }
    Volume& volume = *world_.aggregate->find_volume(volume_);
    volume.begin_receive();
    world_.cp();
    receiver_.emplace(volume, header_);
    return Ok{};
  }

  Status frames(const Stream& stream, std::size_t frames_max) {
    std::size_t at = sizeof(StreamHeader);
    for (std::size_t frame = 0; frame < frames_max && at < stream.size(); ++frame) {
      const ConstBytes rest = ConstBytes(stream).subspan(at);
      const Result<std::size_t> bytes = frame_bytes(rest);
      if (!bytes.ok()) {
        return bytes.error();
      }
      if (bytes.value() == 0 || bytes.value() > rest.size()) {
        return Error{Errc::kInvalid, "a stream that ends too early"};
      }
      Status taken = take(rest.first(bytes.value()));
      for (int i = 0; i < 3 && !taken.ok() && taken.error().code == Errc::kTryAgain; ++i) {
        world_.cp();
        taken = take(rest.first(bytes.value()));
      }
      if (!taken.ok()) {
        return taken;
      }
      at += bytes.value();
      if (frame % 200 == 199) {
        world_.cp();
        if (frame % 1000 == 999) {
          const CheckReport report = world_.run(check(world_.pointers(), {}));
          EXPECT_TRUE(report.clean()) << problems_of(report);
        }
      }
    }
    return Ok{};
  }

  Status take(ConstBytes frame) {
    return world_.attempt([&](Attempt& attempt) { return receiver_->take(attempt, frame); });
  }

  void end(const Status& done) {
    if (!done.ok()) {
      cancel();
      return;
    }
    const Status ended = world_.volume(volume_).end_receive(
        snapshot_name(header_), header_.snapshot, Timestamp{header_.created_ns});
    EXPECT_TRUE(ended.ok()) << ended.error().context;
    world_.cp();
  }

  World& world_;
  const std::string volume_;
  StreamHeader header_;
  std::optional<SnapshotReceiver> receiver_;
};

void expect_clean(World& world) {
  CheckOptions options;
  options.names_of_snapshots = true;
  const CheckReport report = world.run(check(world.pointers(), options));
  EXPECT_TRUE(report.clean()) << problems_of(report);
}

void expect_same(World& a, const std::string& volume_a, World& b, const std::string& volume_b,
                 const std::string& snapshot) {
  const SnapshotInfo of_a = *a.volume(volume_a).find_snapshot(snapshot);
  const SnapshotInfo of_b = *b.volume(volume_b).find_snapshot(snapshot);
  const Tree sent = tree_of(a, volume_a, of_a.id);
  const Tree received = tree_of(b, volume_b, of_b.id);
  EXPECT_EQ(sent.size(), received.size());
  for (const auto& [inode, seen] : sent) {
    ASSERT_TRUE(received.contains(inode)) << inode;
    ASSERT_TRUE(received.at(inode) == seen) << "inode " << inode;
  }
  EXPECT_EQ(of_a.created, of_b.created);
  EXPECT_TRUE(*a.volume(volume_a).identity(of_a.id) == *b.volume(volume_b).identity(of_b.id));
}

TEST(Streams, OfARandomHistoryMakeTheSameTrees) {
  int increments = 0;
  for (std::uint64_t seed = 11; seed <= 13; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(seed, 1, seed % 2 == 0 ? 12 : 100);
    World& source = history.world();
    World target(seed + 100, 24'576, 2, 1U << 20U);
    std::string before;
    std::string copy;
    for (int round = 0; round < 10; ++round) {
      SCOPED_TRACE("round " + std::to_string(round));
      history.run(40 + 20 * round);
      if (::testing::Test::HasFailure()) {
        return;
      }
      const std::string name = "sent" + std::to_string(round);
      ASSERT_TRUE(source.volume().create_snapshot(name, source.now()).ok());
      source.cp();
      const bool incremental = !before.empty() && source.volume().find_snapshot(before);
      if (!incremental) {
        copy = "copy" + std::to_string(round);
        before.clear();
      }
      increments += incremental ? 1 : 0;
      const Sent sent = send(source, "vol0", name, before);
      const Status received = Receiving(target, copy).receive(sent.bytes);
      ASSERT_TRUE(received.ok()) << received.error().context;
      expect_same(source, "vol0", target, copy, name);
      if (incremental) {
        expect_same(source, "vol0", target, copy, before);
      }
      expect_clean(target);
      if (::testing::Test::HasFailure()) {
        return;
      }
      before = name;
    }
  }
  EXPECT_GT(increments, 10);
}

class SmallStream : public ::testing::Test {
 protected:
  SmallStream() {
    for (int i = 0; i < 200; ++i) {
      put("f" + std::to_string(i), 0, std::string(50'000, 'x'));
    }
    snapshot("one");
  }
  Status with_root(const std::function<Status(Attempt&, Inode&)>& change) {
    return source.attempt([&](Attempt& attempt) -> Status {
      Result<InodeRef> root = source.volume().find_inode(attempt, kLive, kRootInode);
      return root.ok() ? change(attempt, *root.value()) : Status(root.error());
    });
  }
  void put(const std::string& name, std::uint64_t offset, const std::string& data) {
    const Status done = with_root([&](Attempt& attempt, Inode& root) -> Status {
      const Result<Entry> entry = lookup(attempt, root, name);
      if (!entry.ok() && entry.error().code != Errc::kNotFound) {
        return entry.error();
      }
      Result<InodeRef> inode = entry.ok()
                                   ? source.volume().find_inode(attempt, kLive, entry.value().inode)
                                   : create(attempt, root, name, {.mode = 0644}, source.now());
      const std::array<ConstBytes, 1> parts{std::as_bytes(std::span(data))};
      return inode.ok() ? write(attempt, *inode.value(), offset, parts, false, source.now())
                        : Status(inode.error());
    });
    ASSERT_TRUE(done.ok()) << done.error().context;
  }
  void snapshot(const std::string& name) {
    ASSERT_TRUE(source.volume().create_snapshot(name, source.now()).ok());
    source.cp();
  }
  // One block, one name, one file that is gone, one that is new.
  void change_a_little() {
    put("f7", 8192, std::string(100, 'y'));
    ASSERT_TRUE(with_root([&](Attempt& attempt, Inode& root) {
                  return rename(attempt, root, "f8", root, "moved", source.now());
                }).ok());
    ASSERT_TRUE(with_root([&](Attempt& attempt, Inode& root) {
                  return remove(attempt, root, "f9", source.now());
                }).ok());
    put("new", 0, "new");
    snapshot("two");
  }

  World source{1, 24'576, 1};
  World target{2, 24'576, 1};
};

TEST_F(SmallStream, AnIncrementIsAsLargeAsTheChange) {
  const Sent full = send(source, "vol0", "one");
  EXPECT_EQ(full.statistics.blocks, 200U * 13U);
  EXPECT_EQ(full.statistics.names, 200U);
  change_a_little();
  const std::uint64_t reads = source.devices[0]->reads;
  source.reopen();
  const Sent sent = send(source, "vol0", "two", "one");
  EXPECT_EQ(sent.statistics.blocks, 2U);
  EXPECT_EQ(sent.statistics.names, 4U);  // f8 and f9 gone, moved and new there
  EXPECT_LE(sent.statistics.inodes, 4U);
  EXPECT_LT(sent.bytes.size(), 2 * kBlockBytes + 2000);
  EXPECT_LT(source.devices[0]->reads - reads, 100U);
  ASSERT_TRUE(Receiving(target, "copy").receive(full.bytes).ok());
  ASSERT_TRUE(Receiving(target, "copy").receive(sent.bytes).ok());
  expect_same(source, "vol0", target, "copy", "two");
  // What was received can be sent on: it is known everywhere as what it is.
  const Sent again = send(target, "copy", "two", "one");
  EXPECT_TRUE(read_stream_header(again.bytes).value().base ==
              read_stream_header(sent.bytes).value().base);
}

TEST_F(SmallStream, AFileThatWasCutAndGrewAgainKeepsItsHoles) {
  ASSERT_TRUE(Receiving(target, "copy").receive(send(source, "vol0", "one").bytes).ok());
  const auto resize = [&](const std::string& name, std::uint64_t size) {
    const Status done = with_root([&](Attempt& attempt, Inode& root) -> Status {
      const Result<Entry> entry = lookup(attempt, root, name);
      Result<InodeRef> inode = entry.ok()
                                   ? source.volume().find_inode(attempt, kLive, entry.value().inode)
                                   : Result<InodeRef>(entry.error());
      return inode.ok()
                 ? set_attributes(attempt, *inode.value(), {.size_bytes = size}, source.now())
                 : Status(inode.error());
    });
    ASSERT_TRUE(done.ok());
  };
  resize("f1", 9000);  // cut within a block, and grown
  resize("f1", 50'000);
  resize("f2", 0);
  resize("f2", 40'000);
  put("f2", 16'384, std::string(5000, 'z'));
  resize("f3", 100);
  resize("f4", 3'000'000);
  put("f4", 2'900'000, "far");
  snapshot("two");
  const Sent sent = send(source, "vol0", "two", "one");
  EXPECT_LT(sent.statistics.blocks, 8U);
  const Status received = Receiving(target, "copy").receive(sent.bytes);
  ASSERT_TRUE(received.ok()) << received.error().context;
  expect_same(source, "vol0", target, "copy", "two");
}

TEST_F(SmallStream, AnInodeNumberThatIsAnotherFileUnderTheSameNameIsSentAnew) {
  ASSERT_TRUE(Receiving(target, "copy").receive(send(source, "vol0", "one").bytes).ok());
  for (const char* name : {"f5", "f6"}) {
    ASSERT_TRUE(with_root([&](Attempt& attempt, Inode& root) {
                  return remove(attempt, root, name, source.now());
                }).ok());
  }
  put("f5", 0, "another file");  // the number that f5 had
  ASSERT_TRUE(with_root([&](Attempt& attempt, Inode& root) -> Status {
                const auto made =
                    create(attempt, root, "f6", {.type = FileType::kDirectory, .mode = 0755},
                           source.now());
                return made.ok() ? Status(Ok{}) : Status(made.error());
              }).ok());
  snapshot("two");
  const Status received =
      Receiving(target, "copy").receive(send(source, "vol0", "two", "one").bytes);
  ASSERT_TRUE(received.ok()) << received.error().context;
  expect_same(source, "vol0", target, "copy", "two");
}

// A stream made by hand.
class Forged {
 public:
  explicit Forged(std::uint64_t inodes_used) {
    StreamHeader header;
    header.snapshot = {{1, 2}, 1, 1, 1, 0};
    header.inodes_used = inodes_used;
    header.name_bytes = 1;
    header.name[0] = 's';
    header.checksum = crc32c(bytes_of(header));
    add(bytes_of(header));
  }
  void inode(std::uint64_t number, FileType type, std::uint64_t size = 0,
             std::uint64_t blocks = 0) {
    FrameInode made;
    made.inode = number;
    made.generation = 1;
    made.type = static_cast<std::uint8_t>(type);
    made.size_bytes = size;
    made.used_blocks = blocks;
    frame(FrameType::kInode, bytes_of(made), {});
  }
  void entry(std::uint64_t directory, std::uint64_t number, FileType type, const char* name) {
    FrameName made;
    made.directory = directory;
    made.inode = number;
    made.type = static_cast<std::uint8_t>(type);
    made.name_bytes = static_cast<std::uint8_t>(std::strlen(name));
    frame(FrameType::kEntry, bytes_of(made), std::as_bytes(std::span(name, std::strlen(name))));
  }
  void block(std::uint64_t number, std::uint64_t first, std::size_t filled) {
    std::string content(filled, 'b');
    content.resize(kBlockBytes);
    const FrameBlocks made{number, first};
    frame(FrameType::kBlocks, bytes_of(made), std::as_bytes(std::span(content)));
  }
  Stream end() {
    const FrameEnd made{frames_};
    frame(FrameType::kEnd, bytes_of(made), {});
    return bytes_;
  }

 private:
  void add(ConstBytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void frame(FrameType type, ConstBytes body, ConstBytes more) {
    FrameHeader header;
    header.type = static_cast<std::uint32_t>(type);
    header.body_bytes = static_cast<std::uint32_t>(body.size() + more.size());
    header.number = ++frames_;
    header.checksum = crc32c(more, crc32c(body, crc32c(bytes_of(header))));
    add(bytes_of(header));
    add(body);
    add(more);
  }
  Stream bytes_;
  std::uint32_t frames_ = 0;
};

TEST_F(SmallStream, WhatIsForgedIsRefusedForWhatItIs) {
  using Type = FileType;
  const auto refuse = [&](const Stream& stream) {
    const Status received = Receiving(target, "copy").receive(stream);
    EXPECT_EQ(target.aggregate->find_volume("copy"), nullptr);
    return received.ok() ? Errc{} : received.error().code;
  };
  Forged circle(3);  // two directories in each other
  circle.inode(3, Type::kDirectory);
  circle.inode(4, Type::kDirectory);
  circle.entry(3, 4, Type::kDirectory, "a");
  circle.entry(4, 3, Type::kDirectory, "b");
  EXPECT_EQ(refuse(circle.end()), Errc::kInvalid);
  Forged twice(2);  // a directory with two names
  twice.inode(3, Type::kDirectory);
  twice.entry(2, 3, Type::kDirectory, "a");
  twice.entry(2, 3, Type::kDirectory, "b");
  EXPECT_EQ(refuse(twice.end()), Errc::kInvalid);
  Forged nameless(2);
  nameless.inode(3, Type::kRegular);
  EXPECT_EQ(refuse(nameless.end()), Errc::kInvalid);
  Forged miscounted(7);
  miscounted.inode(3, Type::kFifo);
  miscounted.entry(2, 3, Type::kFifo, "a");
  EXPECT_EQ(refuse(miscounted.end()), Errc::kInvalid);
  Forged tail(2);  // bytes behind the end would show when the file grows
  tail.inode(3, Type::kRegular, 100, 1);
  tail.block(3, 0, 101);
  tail.entry(2, 3, Type::kRegular, "a");
  EXPECT_EQ(refuse(tail.end()), Errc::kInvalid);
  Forged missing(2);  // a block that does not come
  missing.inode(3, Type::kRegular, 8192, 2);
  missing.block(3, 0, 4096);
  missing.entry(2, 3, Type::kRegular, "a");
  EXPECT_EQ(refuse(missing.end()), Errc::kInvalid);
  Forged behind(2);
  behind.inode(3, Type::kRegular, 4096, 1);
  behind.block(3, 1, 4096);
  EXPECT_EQ(refuse(behind.end()), Errc::kInvalid);
  Forged typed(2);
  typed.inode(3, Type::kRegular);
  typed.entry(2, 3, Type::kFifo, "a");
  EXPECT_EQ(refuse(typed.end()), Errc::kInvalid);

  Forged right(4);  // and nothing of this is refused for another reason
  right.inode(3, Type::kDirectory);
  right.inode(4, Type::kRegular, 100, 1);
  right.block(4, 0, 100);
  right.inode(5, Type::kFifo);
  right.entry(2, 3, Type::kDirectory, "a");
  right.entry(3, 4, Type::kRegular, "b");
  right.entry(2, 4, Type::kRegular, "c");
  right.entry(3, 5, Type::kFifo, "d");
  ASSERT_TRUE(Receiving(target, "copy").receive(right.end()).ok());
  expect_clean(target);
}

TEST_F(SmallStream, ACloneIsSentWholeWithWhatItShares) {
  ASSERT_TRUE(source.aggregate->clone_volume("vol0", "one", "clone", 0, source.now()).ok());
  source.cp();
  ASSERT_TRUE(source.volume("clone").create_snapshot("own", source.now()).ok());
  source.cp();
  const Sent sent = send(source, "clone", "own");
  EXPECT_EQ(sent.statistics.blocks, 200U * 13U);
  ASSERT_TRUE(Receiving(target, "copy").receive(sent.bytes).ok());
  expect_same(source, "clone", target, "copy", "own");
}

TEST_F(SmallStream, AnInterruptedReceiveLeavesTheLastCommonSnapshot) {
  const Sent full = send(source, "vol0", "one");
  change_a_little();
  const Sent sent = send(source, "vol0", "two", "one");
  for (const std::size_t frames : {std::size_t{0}, std::size_t{3}, std::size_t{100}}) {
    // A volume that is not there yet is not there then.
    (void)Receiving(target, "copy").receive(full.bytes, frames);
    target.cp();
    EXPECT_EQ(target.aggregate->root().readonly_compatible, kFeatureReceiving);
    expect_clean(target);
    target.reopen();
    ASSERT_TRUE(target.volume("copy").receiving());
    Receiving(target, "copy").cancel();
    EXPECT_EQ(target.aggregate->find_volume("copy"), nullptr);
    expect_clean(target);
  }
  ASSERT_TRUE(Receiving(target, "copy").receive(full.bytes).ok());
  for (const std::size_t frames : {0U, 1U, 2U, 3U, 5U}) {
    (void)Receiving(target, "copy").receive(sent.bytes, frames);
    if (frames % 2 == 0) {
      target.cp();
      expect_clean(target);
    }
    target.reopen();
    Receiving(target, "copy").cancel();
    EXPECT_TRUE(target.volume("copy").unchanged());
    EXPECT_EQ(target.volume("copy").snapshots().size(), 1U);
    expect_same(source, "vol0", target, "copy", "one");
    expect_clean(target);
  }
  ASSERT_TRUE(Receiving(target, "copy").receive(sent.bytes).ok());
  expect_same(source, "vol0", target, "copy", "two");
}

// Streams whose checksums are right and whose contents are not.
TEST_F(SmallStream, AHostileStreamIsRefusedOrLeavesASoundTree) {
  const Sent full = send(source, "vol0", "one");
  change_a_little();
  const Sent sent = send(source, "vol0", "two", "one");
  ASSERT_TRUE(Receiving(target, "copy").receive(full.bytes).ok());
  sim::Random random(5);
  int refused = 0;
  for (int i = 0; i < 400 && !HasFailure(); ++i) {
    Stream hostile = sent.bytes;
    std::vector<std::size_t> starts;
    for (std::size_t at = sizeof(StreamHeader); at < hostile.size();
         at += frame_bytes(ConstBytes(hostile).subspan(at)).value()) {
      starts.push_back(at);
    }
    for (std::uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
      const std::size_t at = starts[random.below(starts.size())];
      auto header = load<FrameHeader>(hostile, at);
      const std::size_t body = at + sizeof(header);
      const std::size_t where = body + random.below(std::min<std::size_t>(header.body_bytes, 90));
      hostile[where] = std::byte(random.one_in(2) ? random.below(256) : random.below(12));
      if (random.one_in(10)) {
        header.type = static_cast<std::uint32_t>(random.below(8));
      }
      header.checksum = 0;
      header.checksum =
          crc32c(ConstBytes(hostile).subspan(body, header.body_bytes), crc32c(bytes_of(header)));
      store(MutableBytes(hostile), at, header);
    }
    const Status received = Receiving(target, "copy").receive(hostile);
    expect_clean(target);
    refused += received.ok() ? 0 : 1;
    if (received.ok()) {
      ASSERT_TRUE(target.volume("copy").delete_snapshot("two").ok());
      target.cp();
      ASSERT_TRUE(target.volume("copy").restore_snapshot("one").ok());
      target.cp();
    } else {
      EXPECT_NE(received.error().code, Errc::kCorrupt) << received.error().context;
      EXPECT_TRUE(target.volume("copy").unchanged());
    }
  }
  EXPECT_GT(refused, 200);
  expect_same(source, "vol0", target, "copy", "one");
}

TEST_F(SmallStream, AnyBytesAreRefusedAsAHeaderAndAFrame) {
  const Sent full = send(source, "vol0", "one");
  for (std::size_t at = 0; at < sizeof(StreamHeader); ++at) {
    Stream bad(full.bytes.begin(), full.bytes.begin() + sizeof(StreamHeader));
    bad[at] ^= std::byte{1};
    EXPECT_FALSE(read_stream_header(bad).ok()) << at;
    bad.resize(at);
    EXPECT_FALSE(read_stream_header(bad).ok()) << at;
  }
  for (std::size_t at = 0; at < 3000; at += 7) {
    Stream bad = full.bytes;
    bad[sizeof(StreamHeader) + at] ^= std::byte{0x40};
    EXPECT_FALSE(Receiving(target, "copy").receive(bad).ok()) << at;
    EXPECT_EQ(target.aggregate->find_volume("copy"), nullptr);
  }
  Stream shorter = full.bytes;
  shorter.resize(shorter.size() - 1);
  EXPECT_FALSE(Receiving(target, "copy").receive(shorter).ok());
}

TEST_F(SmallStream, ASnapshotThatIsDeletedMeanwhileEndsTheSending) {
  change_a_little();
  Volume& volume = source.volume();
  auto sender = SnapshotSender::make(*source.aggregate, volume.id(),
                                     volume.find_snapshot("one")->id, std::nullopt);
  Stream out;
  ASSERT_TRUE(source.run(sender.value()->next(out, 1000)).ok());
  ASSERT_TRUE(volume.delete_snapshot("one").ok());
  source.cp();
  EXPECT_EQ(source.run(sender.value()->next(out, 1000)).error().code, Errc::kNotFound);
  EXPECT_EQ(SnapshotSender::make(*source.aggregate, volume.id(), SnapshotId{9}, std::nullopt)
                .error()
                .code,
            Errc::kNotFound);
  const SnapshotId two = volume.find_snapshot("two")->id;
  EXPECT_EQ(SnapshotSender::make(*source.aggregate, volume.id(), two, two).error().code,
            Errc::kInvalid);
}

}  // namespace
}  // namespace duet::wafl
