#include "reply_cache.h"

#include "world.h"

namespace duet::filer::testing {
namespace {

ReplyKey key(std::uint32_t n) { return {{1, 2, 3}, n, 8, n * 7}; }

MutationReply reply_of(std::uint32_t n) {
  MutationReply reply;
  reply.object = {wafl::VolumeId{1}, wafl::kLive, wafl::InodeNumber{n}, wafl::Generation{2}};
  reply.first.before = {n, wafl::Timestamp{3}, wafl::Timestamp{4}};
  return reply;
}

TEST(ReplyCache, KeepsTheNewestOfItsSlots) {
  sim::SimScheduler scheduler(1);
  ReplyCache cache(scheduler, 16);
  for (std::uint32_t n = 0; n < 100; ++n) {
    cache.put(key(n), reply_of(n), nvlog::Sequence{n});
  }
  for (std::uint32_t n = 0; n < 100; ++n) {
    const auto known = cache.find(key(n));
    EXPECT_EQ(known.has_value(), n >= 84) << n;
    if (known.has_value()) {
      EXPECT_EQ(known->reply.object->inode, wafl::InodeNumber{n});
      EXPECT_EQ(known->reply.first.before->size_bytes, n);
      EXPECT_EQ(known->sequence, nvlog::Sequence{n});
    }
  }
}

TEST(ReplyCache, EveryPartOfTheKeyCounts) {
  sim::SimScheduler scheduler(1);
  ReplyCache cache(scheduler, 16);
  cache.put(key(1), reply_of(1), nvlog::Sequence{1});
  for (int part = 0; part < 4; ++part) {
    ReplyKey other = key(1);
    other.address[15] ^= part == 0 ? 1 : 0;
    other.xid ^= part == 1 ? 1U : 0U;
    other.procedure ^= part == 2 ? 1U : 0U;
    other.checksum ^= part == 3 ? 1U : 0U;
    EXPECT_FALSE(cache.find(other).has_value()) << part;
  }
}

std::vector<ReplySlot> file_of(const ReplyCache& cache) {
  std::vector<ReplySlot> slots(cache.block_count() * ReplyCache::kSlotsPerBlock);
  for (std::size_t i = 0; i < cache.block_count(); ++i) {
    std::memcpy(slots.data() + i * ReplyCache::kSlotsPerBlock, cache.block(i).data(), kBlockBytes);
  }
  return slots;
}

TEST(ReplyCache, ComesBackFromItsFileAlsoWithAnotherNumberOfSlots) {
  sim::SimScheduler scheduler(1);
  ReplyCache cache(scheduler, 32);
  for (std::uint32_t n = 0; n < 50; ++n) {
    cache.put(key(n), reply_of(n), nvlog::Sequence{n});
  }
  for (const std::uint32_t slots : {32U, 16U, 64U}) {
    ReplyCache other(scheduler, slots);
    other.restore(file_of(cache));
    const std::uint32_t kept = std::min(slots, 32U);
    for (std::uint32_t n = 0; n < 50; ++n) {
      EXPECT_EQ(other.find(key(n)).has_value(), n >= 50 - kept) << slots << " " << n;
    }
    other.put(key(1'000), reply_of(1), nvlog::Sequence{60});
    EXPECT_TRUE(other.find(key(1'000)).has_value());
    EXPECT_TRUE(other.find(key(49)).has_value());
  }
}

TEST(ReplyCache, SlotsThatMakeNoSenseAreLeftOut) {
  sim::SimScheduler scheduler(1);
  ReplyCache cache(scheduler, 16);
  cache.put(key(1), reply_of(1), nvlog::Sequence{1});
  std::vector<ReplySlot> slots = file_of(cache);
  slots[0].flags |= kReplyAttributes;  // of type 0: of no file
  ReplyCache other(scheduler, 16);
  other.restore(slots);
  EXPECT_FALSE(other.find(key(1)).has_value());
}

// --- With a filer: I7.

struct Retry {
  Caller from;
  bool create_was_made = false;
};

TEST(Retries, OfACreateGetTheFirstReplyEvenAfterTheFileIsGone) {
  World world;
  const Handle root = world.root();
  CreateRequest request{root.bytes(), "f", CreateMode::kGuarded, {}, 0};
  const Caller from = world.caller();
  const CreateReply first = world.run(world.filer->create(from, request));
  ASSERT_FALSE(first.error.has_value());
  EXPECT_FALSE(world.remove(root, "f").error.has_value());
  const CreateReply again = world.run(world.filer->create(from, request));
  ASSERT_FALSE(again.error.has_value());
  EXPECT_EQ(again.handle->data, first.handle->data);
  EXPECT_EQ(again.directory.after->attributes, first.directory.after->attributes);
  EXPECT_EQ(world.lookup(root, "f").error, Errc::kNotFound) << "it was executed twice";
  EXPECT_EQ(world.filer->statistics().reply_cache_hits, 1U);
}

// One of each procedure that must not be executed twice, and its retry by the same caller.
class EachRetry {
 public:
  explicit EachRetry(World& world) : world_(world), root_(world.root()) {
    world.create(root_, "a");
    world.create(root_, "b");
    world.create(root_, "c");
    world.make_directory(root_, "d");
    for (Caller& from : from_) {
      from = world.caller();
    }
  }

  // Every reply as text.
  std::vector<std::string> all() {
    std::vector<std::string> replies;
    const auto directory = root_.bytes();
    replies.push_back(text(world_.run(world_.filer->create(from_[0], create_))));
    replies.push_back(text(world_.run(world_.filer->make(from_[1], make_))));
    const NameRequest remove{directory, "a"};
    replies.push_back(text(world_.run(world_.filer->remove(from_[2], remove))));
    const NameRequest rmdir{directory, "d"};
    replies.push_back(text(world_.run(world_.filer->rmdir(from_[3], rmdir))));
    const RenameRequest rename{directory, "b", directory, "b2"};
    replies.push_back(text(world_.run(world_.filer->rename(from_[4], rename))));
    if (!file_) {
      file_ = world_.lookup(root_, "c");
      guard_ = world_.getattr(file_->handle).attributes.attributes.ctime;
    }
    const LinkRequest link{file_->handle.bytes(), directory, "c2"};
    SetattrRequest set{file_->handle.bytes(), {}, guard_};
    set.changes.mode = 0600;
    replies.push_back(text(world_.run(world_.filer->setattr(from_[5], set))));
    replies.push_back(text(world_.run(world_.filer->link(from_[6], link))));
    replies.push_back(text(world_.run(world_.filer->create(from_[7], exclusive_))));
    return replies;
  }

 private:
  static std::string text(const Failure& error) {
    return error ? "error " + std::to_string(static_cast<int>(*error)) : "ok";
  }
  static std::string text(const PostAttributes& of) {
    if (!of) {
      return " -";
    }
    const wafl::Attributes& a = of->attributes;
    std::string all;
    for (const std::uint64_t field :
         {std::uint64_t{a.mode}, std::uint64_t{a.links}, a.size_bytes, a.used_bytes, of->fsid,
          of->fileid, static_cast<std::uint64_t>(a.mtime), static_cast<std::uint64_t>(a.ctime)}) {
      all += " " + std::to_string(field);
    }
    return all;
  }
  static std::string text(const WccData& wcc) {
    return (wcc.before ? " " + std::to_string(static_cast<std::int64_t>(wcc.before->ctime))
                       : " -") +
           text(wcc.after);
  }
  static std::string text(const WccReply& reply) { return text(reply.error) + text(reply.wcc); }
  static std::string text(const RenameReply& reply) {
    return text(reply.error) + text(reply.from) + text(reply.to);
  }
  static std::string text(const LinkReply& reply) {
    return text(reply.error) + text(reply.attributes) + text(reply.directory);
  }
  static std::string text(const CreateReply& reply) {
    std::string handle(reinterpret_cast<const char*>(reply.handle.value_or(Handle{}).data.data()),
                       kHandleBytesMax);
    return text(reply.error) + handle + text(reply.attributes) + text(reply.directory);
  }

  World& world_;
  Handle root_;
  std::optional<LookupReply> file_;
  std::optional<wafl::Timestamp> guard_;
  std::array<Caller, 8> from_;
  CreateRequest create_{root_.bytes(), "new", CreateMode::kGuarded, {}, 0};
  CreateRequest exclusive_{
      root_.bytes(), "mine", CreateMode::kExclusive, {}, 0x1234'5678'9ABC'DEF0};
  MakeRequest make_{root_.bytes(), "dir", wafl::FileType::kDirectory, {}, {}, {}};
};

TEST(Retries, OfEveryProcedureGetTheFirstReplyAcrossCrashesAndCps) {
  for (const bool power : {false, true}) {
    for (const int cp : {0, 1, 2}) {
      World world;
      EachRetry requests(world);
      const std::vector<std::string> first = requests.all();
      for (const std::string& reply : first) {
        EXPECT_EQ(reply.substr(0, 2), "ok");
      }
      EXPECT_EQ(requests.all(), first);
      if (cp >= 1) {
        ASSERT_TRUE(world.run(world.filer->consistency_point()).ok());
      }
      world.crash(power);
      EXPECT_EQ(requests.all(), first) << "after a crash";
      if (cp >= 2) {
        world.stop_and_open();
      }
      world.crash(power);
      EXPECT_EQ(requests.all(), first) << "after two";
    }
  }
}

TEST(Retries, WhileTheFirstRunsWaitForItAndGetItsReply) {
  World world;
  const Handle root = world.root();
  world.create(root, "f");
  world.stop_and_open();  // nothing is in memory: the first must load
  const NameRequest request{root.bytes(), "f"};
  const Caller from = world.caller();
  std::optional<WccReply> first;
  std::optional<WccReply> second;
  TaskScope scope(world.scheduler);
  scope.spawn(keep_result(world.filer->remove(from, request), first));
  scope.spawn(keep_result(world.filer->remove(from, request), second));
  EXPECT_FALSE(first.has_value()) << "the test needs a request that waits";
  ASSERT_TRUE(world.scheduler.run_until([&] { return first && second; }));
  EXPECT_FALSE(first->error.has_value());
  EXPECT_FALSE(second->error.has_value()) << "it was executed twice";
}

TEST(Retries, OfAnotherClientAreNoRetries) {
  World world;
  const Handle root = world.root();
  world.create(root, "f");
  const NameRequest request{root.bytes(), "f"};
  Caller from = world.caller();
  EXPECT_FALSE(world.run(world.filer->remove(from, request)).error.has_value());
  from.address[15] = 2;
  EXPECT_EQ(world.run(world.filer->remove(from, request)).error, Errc::kNotFound);
}

}  // namespace
}  // namespace duet::filer::testing
