#include <gtest/gtest.h>

#include <deque>

#include "rpc/record_assembler.h"
#include "sim/random.h"
#include "sim/sim_scheduler.h"
#include "wire.h"

namespace duet::server::test {
namespace {

using Next = RecordAssembler::Next;

class RecordAssemblerTest : public ::testing::Test {
 protected:
  // Hands over `bytes` in reads of at most `most`; collects the records.  False: a violation.
  bool feed(const Wire& wire, std::size_t most) {
    ConstBytes bytes(wire.bytes());
    while (!bytes.empty()) {
      const MutableBytes space = assembler_.space();
      const std::size_t count = std::min({most, space.size(), bytes.size()});
      std::memcpy(space.data(), bytes.data(), count);
      assembler_.received(count);
      bytes = bytes.subspan(count);
      for (;;) {
        Record& record = records_.emplace_back();
        const Next next = assembler_.next(record);
        if (next != Next::kRecord) {
          records_.pop_back();
        }
        if (next == Next::kViolation) {
          return false;
        }
        if (next == Next::kMore) {
          break;
        }
      }
      most_held_ = std::max(most_held_, assembler_.chunk_bytes());
    }
    return true;
  }
  static std::string text(const Record& record) {
    std::string all;
    for (const ConstBytes piece : record.pieces) {
      all.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    EXPECT_EQ(all.size(), record.bytes);
    return all;
  }

  sim::SimScheduler scheduler_{1};
  ChunkPool pool_{scheduler_, 64U << 20U};
  RecordAssembler assembler_{pool_};
  std::deque<Record> records_;
  std::size_t most_held_ = 0;
};

std::string pattern(std::size_t bytes, std::uint64_t seed) {
  sim::Random random(seed);
  std::string text(bytes, ' ');
  for (char& c : text) {
    c = static_cast<char>(random.next());
  }
  return text;
}

TEST_F(RecordAssemblerTest, FindsRecordsOfEverySizeHoweverTheyAreCutAndFragmented) {
  const std::vector<std::size_t> sizes{0,    1,      4,      511,    512,     513,      4096,
                                       5000, 65'535, 65'536, 70'000, 200'000, 1U << 20U};
  for (const std::size_t most : {1'000'000U, 65'536U, 4097U, 1448U, 512U, 77U}) {
    for (const std::size_t fragment : {2'000'000U, 70'000U, 1100U}) {
      Wire stream;
      for (const std::size_t size : sizes) {
        const Wire body = Wire().raw(pattern(size, size));
        stream.add(size == 0 ? record(body) : fragmented(body, fragment));
      }
      records_.clear();
      ASSERT_TRUE(feed(stream, most));
      ASSERT_EQ(records_.size(), sizes.size()) << most << " " << fragment;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        EXPECT_EQ(text(records_[i]), pattern(sizes[i], sizes[i]));
      }
    }
  }
}

TEST_F(RecordAssemblerTest, RefusesALongRecordAtItsMark) {
  EXPECT_FALSE(feed(Wire().u32(0x8000'0000U | (kRecordBytesMax + 1)), 100));
}

TEST_F(RecordAssemblerTest, RefusesFragmentsThatTogetherAreTooLong) {
  const Wire half = Wire().raw(std::string(kRecordBytesMax / 2 + 1, 'x'));
  Wire stream;
  stream.u32(static_cast<std::uint32_t>(half.size())).add(half);
  EXPECT_TRUE(feed(stream, 60'000));
  EXPECT_FALSE(feed(Wire().u32(static_cast<std::uint32_t>(half.size())), 4));
}

TEST_F(RecordAssemblerTest, RefusesEndlessEmptyFragments) {
  for (std::uint32_t i = 0; i < kFragmentsMax; ++i) {
    ASSERT_TRUE(feed(Wire().u32(0), 4));
  }
  EXPECT_FALSE(feed(Wire().u32(0), 4));
}

TEST_F(RecordAssemblerTest, AClaimedLengthCostsNothing) {
  EXPECT_TRUE(feed(Wire().u32(0x8000'0000U | kRecordBytesMax).raw(std::string(300, 'x')), 100));
  assembler_.space();
  EXPECT_EQ(assembler_.chunk_bytes(), 0U);
}

TEST_F(RecordAssemblerTest, ASenderThatPausesInASmallRecordHoldsASmallChunk) {
  ASSERT_TRUE(feed(Wire().u32(0x8000'0000U | 5000).raw(std::string(2000, 'x')), 700));
  assembler_.space();
  EXPECT_LE(assembler_.chunk_bytes(), ChunkPool::kSmallBytes);
}

TEST_F(RecordAssemblerTest, HoldsNothingWhenDrainedAndTheRecordsAreDone) {
  Wire stream;
  for (std::size_t i = 0; i < 40; ++i) {
    stream.add(record(Wire().raw(pattern(5000, i))));
  }
  ASSERT_TRUE(feed(stream, 50'000));
  EXPECT_GT(pool_.used_bytes(), 0U);
  records_.clear();
  assembler_.space();
  EXPECT_EQ(pool_.used_bytes(), 0U);
}

TEST_F(RecordAssemblerTest, BigRecordsAreNotCopied) {
  const std::string body = pattern(3000, 3);
  const MutableBytes first = assembler_.space();
  ASSERT_EQ(first.size(), Record::kSmall);
  ASSERT_TRUE(feed(record(Wire().raw(body)), 1'000'000));
  ASSERT_EQ(records_.size(), 1U);
  EXPECT_EQ(records_[0].pieces.size(), 1U);
  EXPECT_EQ(records_[0].chunks.size(), 1U);
  EXPECT_GE(records_[0].pieces[0].data(), records_[0].chunks[0]->data());
}

TEST_F(RecordAssemblerTest, ARecordInUseIsNotOverwrittenByWhatFollows) {
  const std::string body = pattern(60'000, 9);
  ASSERT_TRUE(feed(record(Wire().raw(body)), 1'000'000));
  for (std::size_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(feed(record(Wire().raw(pattern(9000, i))), 1'000'000));
  }
  EXPECT_EQ(text(records_[0]), body);
}

TEST_F(RecordAssemblerTest, HoldsLittleMoreThanWhatHasArrived) {
  Wire stream;
  stream.u32(0x8000'0000U | kRecordBytesMax).raw(std::string(kRecordBytesMax - 1, 'x'));
  ASSERT_TRUE(feed(stream, 1448));
  EXPECT_TRUE(records_.empty());
  EXPECT_LE(most_held_, kRecordBytesMax + 2 * ChunkPool::kLargeBytes);
}

}  // namespace
}  // namespace duet::server::test
