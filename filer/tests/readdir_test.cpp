#include <set>

#include "world.h"

namespace duet::filer::testing {
namespace {

std::uint32_t padded(std::size_t bytes) { return static_cast<std::uint32_t>((bytes + 3) / 4 * 4); }

// READDIR3resok and READDIRPLUS3resok in XDR (RFC 1813, 3.3.16 and 3.3.17).
std::uint32_t reply_bytes(const ReaddirReply& reply, bool plus) {
  std::uint32_t bytes = (4 + 84) + 8;
  for (const ReaddirEntry& entry : reply.entries) {
    bytes += 4 + 8 + 4 + padded(entry.name.size()) + 8;
    bytes += plus ? (4 + 84) + (4 + 4 + padded(entry.handle->size)) : 0;
  }
  return bytes + 4 + 4;
}

class Listing : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 40; ++i) {
      world.create(root, std::string(static_cast<std::size_t>(1 + i), 'x'));
    }
  }
  World world;
  Handle root = world.root();
};

TEST_F(Listing, GivesAsManyEntriesAsFitAndNoMore) {
  for (const bool plus : {false, true}) {
    std::size_t previous = 0;
    for (std::uint32_t bytes = 300; bytes < 3'000; bytes += 4) {
      const ReaddirReply reply = world.readdir(root, plus, 0, bytes);
      ASSERT_FALSE(reply.error.has_value()) << bytes;
      EXPECT_LE(reply_bytes(reply, plus), bytes);
      EXPECT_GE(reply.entries.size(), previous);
      previous = reply.entries.size();
      const ReaddirReply next = world.readdir(root, plus, reply.entries.back().cookie);
      if (!next.entries.empty()) {
        ReaddirReply longer = reply;
        longer.entries.push_back(next.entries.front());
        EXPECT_GT(reply_bytes(longer, plus), bytes) << "one more would have fitted";
      }
    }
  }
}

TEST_F(Listing, DircountBoundsNamesAndMaxcountTheReply) {
  ReaddirRequest request{root.bytes(), 0, 0, 100, 65'536, true};
  const Caller from = world.caller();
  const ReaddirReply reply = world.run(world.filer->readdir(from, request));
  const ReaddirReply all = world.readdir(root);
  std::uint32_t bytes = 0;
  std::size_t fit = 0;
  for (; fit < all.entries.size(); ++fit) {
    bytes += 8 + 4 + padded(all.entries[fit].name.size()) + 8;
    if (bytes > 100) {
      break;
    }
  }
  EXPECT_EQ(reply.entries.size(), fit);
}

TEST_F(Listing, TooSmallForOneEntryIsAnError) {
  for (const bool plus : {false, true}) {
    for (const std::uint32_t bytes : {0U, 1U, 100U, 103U, 127U}) {
      EXPECT_EQ(world.readdir(root, plus, 0, bytes).error, Errc::kTooSmall) << bytes;
    }
  }
  EXPECT_FALSE(world.readdir(root, false, 0, 132).error.has_value());
  EXPECT_FALSE(
      world.readdir(root, false, world.readdir(root).entries.back().cookie, 104).error.has_value())
      << "the end fits";
}

TEST_F(Listing, GoesOnBehindAnyCookieWhateverChangesMeanwhile) {
  std::set<std::string> seen;
  std::uint64_t cookie = 0;
  for (int round = 0;; ++round) {
    const ReaddirReply reply = world.readdir(root, false, cookie, 300);
    ASSERT_FALSE(reply.error.has_value());
    for (const ReaddirEntry& entry : reply.entries) {
      EXPECT_TRUE(seen.insert(entry.name).second) << "twice: " << entry.name;
      cookie = entry.cookie;
    }
    if (reply.end) {
      break;
    }
    world.create(root, "new" + std::to_string(round));
    (void)world.remove(root, reply.entries.back().name);
    if (round == 2) {
      world.crash();
    }
  }
  for (std::size_t i = 1; i <= 40; ++i) {
    EXPECT_TRUE(seen.contains(std::string(i, 'x'))) << i;
  }
}

TEST_F(Listing, KnowsTheVerifierOfItsDirectoryOnly) {
  const ReaddirReply first = world.readdir(root);
  const auto again = [&](std::uint64_t cookie, std::uint64_t verifier) {
    const ReaddirRequest request{root.bytes(), cookie, verifier, 4'096, 0, false};
    const Caller from = world.caller();
    return world.run(world.filer->readdir(from, request)).error;
  };
  const std::uint64_t cookie = first.entries[3].cookie;
  EXPECT_FALSE(again(cookie, first.verifier).has_value());
  EXPECT_FALSE(again(cookie, 0).has_value());
  EXPECT_FALSE(again(0, 77).has_value()) << "from the start there is nothing to verify";
  EXPECT_EQ(again(cookie, first.verifier ^ 1U), Errc::kBadCookie);
  world.crash();
  EXPECT_EQ(world.readdir(root).verifier, first.verifier);
}

TEST_F(Listing, PlusGivesWhatLookupGives) {
  const Handle directory = world.make_directory(root, "d");
  world.stop_and_open();  // attributes must be read from disk
  const ReaddirReply list = world.readdir(directory, true);
  ASSERT_EQ(list.entries.size(), 2U);
  EXPECT_EQ(list.entries[1].handle->data, root.data);
  for (const ReaddirEntry& entry : world.readdir(root, true).entries) {
    const LookupReply found = world.lookup(root, entry.name);
    EXPECT_EQ(found.handle.data, entry.handle->data);
    EXPECT_TRUE(same_but_atime(*found.attributes, *entry.attributes)) << entry.name;
  }
}

}  // namespace
}  // namespace duet::filer::testing
