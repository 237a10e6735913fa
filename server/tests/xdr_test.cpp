#include "server/xdr.h"

#include <gtest/gtest.h>

#include <string>

#include "wire.h"

namespace duet::server::test {
namespace {

// Reads what a whole message holds, cut into pieces of `cut` bytes.
struct Cut {
  Cut(const Wire& message, std::size_t cut) {
    const ConstBytes all(message.bytes());
    for (std::size_t at = 0; at < all.size(); at += cut) {
      pieces.push_back(all.subspan(at, std::min(cut, all.size() - at)));
    }
  }
  XdrReader reader() { return {pieces, scratch}; }
  std::vector<ConstBytes> pieces;
  XdrScratch scratch;
};

std::string text_of(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(XdrReader, ReadsTheSameWhereverTheMessageIsCut) {
  Wire message;
  message.u32(7).u64(0x0102030405060708).text("name").text("12345").u32(1).text("written").u32(9);
  for (std::size_t cut = 1; cut <= message.size(); ++cut) {
    Cut input(message, cut);
    XdrReader in = input.reader();
    EXPECT_EQ(in.u32(), 7U);
    EXPECT_EQ(in.u64(), 0x0102030405060708U);
    EXPECT_EQ(text_of(in.opaque(4)), "name");
    EXPECT_EQ(in.string_prefix(3), "123");
    EXPECT_TRUE(in.boolean());
    std::vector<ConstBytes> pieces;
    EXPECT_EQ(in.data(pieces), 7U);
    std::string data;
    for (const ConstBytes piece : pieces) {
      data += text_of(piece);
    }
    EXPECT_EQ(data, "written");
    EXPECT_EQ(in.remaining(), 4U);
    EXPECT_EQ(in.last_u32(), 9U);
    EXPECT_EQ(in.u32(), 9U);
    EXPECT_TRUE(in.ok());
    EXPECT_EQ(in.remaining(), 0U);
  }
}

TEST(XdrReader, FailsForGoodAtTheFirstThingThatDoesNotFit) {
  XdrReader in(ConstBytes(Wire().u32(1).bytes()));
  const Wire message = Wire().u32(5);
  in = XdrReader(message.bytes());
  EXPECT_EQ(in.u64(), std::uint64_t{5} << 32U);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.u32(), 0U);
  EXPECT_TRUE(in.opaque(100).empty());
  EXPECT_EQ(in.remaining(), 0U);
}

TEST(XdrReader, BelievesNoLengthBeyondTheBytesThatAreThere) {
  for (const std::uint32_t claimed : {5U, 8U, 0x7FFF'FFFEU, 0xFFFF'FFFFU}) {
    const Wire message = Wire().u32(claimed).raw("abcd");
    Cut input(message, 3);
    XdrReader in = input.reader();
    EXPECT_TRUE(in.opaque_prefix(1'000'000).empty()) << claimed;
    EXPECT_FALSE(in.ok());
    std::vector<ConstBytes> pieces;
    XdrReader again = input.reader();
    EXPECT_EQ(again.data(pieces), 0U);
    EXPECT_TRUE(pieces.empty());
    EXPECT_FALSE(again.ok());
  }
}

TEST(XdrReader, RefusesAnOpaqueWhosePaddingIsMissing) {
  const Wire message = Wire().u32(3).raw("abc");
  XdrReader in(message.bytes());
  in.opaque(64);
  EXPECT_FALSE(in.ok());
}

TEST(XdrReader, RefusesAnOpaqueLongerThanItsTypeAllows) {
  const Wire message = Wire().text("12345");
  XdrReader in(message.bytes());
  in.opaque(4);
  EXPECT_FALSE(in.ok());
}

TEST(XdrReader, RefusesBooleansAndEnumerationsThatAreNone) {
  const Wire message = Wire().u32(2);
  XdrReader boolean(message.bytes());
  EXPECT_FALSE(boolean.boolean());
  EXPECT_FALSE(boolean.ok());
  XdrReader enumeration(message.bytes());
  EXPECT_EQ(enumeration.enumeration(2), 0U);
  EXPECT_FALSE(enumeration.ok());
}

TEST(XdrReader, ChecksumDoesNotDependOnTheCuts) {
  const Wire message = Wire().text("some arguments of a call").u64(77);
  const std::uint32_t whole = XdrReader(message.bytes()).checksum();
  for (std::size_t cut = 1; cut < message.size(); ++cut) {
    Cut input(message, cut);
    EXPECT_EQ(input.reader().checksum(), whole);
  }
}

std::vector<std::byte> flat(XdrWriter& out) {
  std::vector<std::byte> all;
  for (const ConstBytes part : out.parts()) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

TEST(XdrWriter, WritesBigEndianNumbersAndZeroPadding) {
  XdrWriter out;
  out.u32(0x01020304);
  out.boolean(true);
  out.u64(0x05060708090A0B0C);
  out.string("abcde");
  const Wire expected =
      Wire().u32(0x01020304).u32(1).u64(0x05060708090A0B0C).u32(5).raw("abcde").raw({"\0\0\0", 3});
  EXPECT_EQ(flat(out), expected.bytes());
  EXPECT_EQ(out.size(), expected.size());
}

TEST(XdrWriter, GrowsWithoutLosingOrRepeatingAByte) {
  XdrWriter out;
  Wire expected;
  const std::string big(40'000, 'x');
  for (std::uint32_t i = 0; i < 5000; ++i) {
    out.u32(i);
    out.u64(i);
    expected.u32(i).u64(i);
  }
  out.string(big);
  expected.text(big);
  EXPECT_EQ(out.size(), expected.size());
  EXPECT_EQ(flat(out), expected.bytes());
  out.reset();
  out.u32(3);
  EXPECT_EQ(flat(out), Wire().u32(3).bytes());
}

TEST(XdrWriter, GathersWithoutCopying) {
  const std::string data = "lies elsewhere";
  XdrWriter out;
  out.u32(1);
  out.gather(std::as_bytes(std::span(data)));
  out.pad(data.size());
  const std::span<ConstBytes> parts = out.parts();
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(static_cast<const void*>(parts[1].data()), data.data());
  EXPECT_EQ(out.size(), 4 + 16U);
}

}  // namespace
}  // namespace duet::server::test
