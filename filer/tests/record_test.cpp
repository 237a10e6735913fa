#include "record.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/random.h"

namespace duet::filer {
namespace {

std::vector<std::byte> body_of(const Record& record) {
  const RecordBytes fixed = encode_record(record);
  std::vector<std::byte> body;
  const auto add = [&body](ConstBytes part) { body.insert(body.end(), part.begin(), part.end()); };
  add(bytes_of(fixed));
  add(std::as_bytes(std::span(record.name)));
  add(std::as_bytes(std::span(record.second_name)));
  for (const ConstBytes piece : record.data) {
    add(piece);
  }
  return body;
}

std::string hex(ConstBytes bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += kDigits[static_cast<unsigned>(byte) >> 4U];
    text += kDigits[static_cast<unsigned>(byte) & 15U];
  }
  return text;
}

Record base(Operation operation) {
  Record record;
  record.operation = operation;
  record.client = {
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 1, 2, 3}, 0x11223344, 8, 0xAABBCCDD};
  record.now = wafl::Timestamp{1'700'000'000'000'000'001};
  record.volume = wafl::VolumeId{1};
  record.object = {wafl::InodeNumber{2}, wafl::Generation{1}};
  return record;
}

Record create_record() {
  Record record = base(Operation::kCreate);
  record.reply_cached = true;
  record.type = wafl::FileType::kRegular;
  record.second = {wafl::InodeNumber{9}, wafl::Generation{4}};
  record.changes.mode = 0644;
  record.changes.uid = 1000;
  record.changes.gid = 100;
  record.name = "hello";
  return record;
}

// One of each, with `data` for those that have some.
std::vector<Record> one_of_each(std::span<const ConstBytes> data) {
  std::vector<Record> records{create_record()};
  Record write = base(Operation::kWrite);
  write.offset = 4096;
  write.drop_privileges = true;
  write.data = data;
  records.push_back(write);
  Record set = base(Operation::kSetAttributes);
  set.changes.size_bytes = 0;
  set.changes.atime = wafl::Timestamp{5};
  set.changes.mtime = wafl::Timestamp{-5};
  records.push_back(set);
  Record link = create_record();
  link.type = wafl::FileType::kSymlink;
  link.data = data;
  records.push_back(link);
  Record device = create_record();
  device.type = wafl::FileType::kBlockDevice;
  device.device = {8, 1};
  records.push_back(device);
  for (const Operation operation :
       {Operation::kRemove, Operation::kRemoveDirectory, Operation::kRename, Operation::kLink,
        Operation::kCreateExisting}) {
    Record record = base(operation);
    record.reply_cached = true;
    record.name = "from";
    if (operation != Operation::kRemove && operation != Operation::kRemoveDirectory) {
      record.second = {wafl::InodeNumber{7}, wafl::Generation{2}};
    }
    if (operation == Operation::kRename) {
      record.second_name = "to";
    }
    records.push_back(record);
  }
  return records;
}

TEST(Record, CreateHasTheBytesThatTheFormatSays) {
  // The worked example of FORMAT.md.
  EXPECT_EQ(hex(body_of(create_record())),
            "0103010107000000"                  // version, kCreate, regular, cached; changes
            "00000000000000000000ffff0a010203"  // address
            "4433221108000000ddccbbaa01000000"  // xid, procedure, checksum, volume
            "02000000000000000900000000000000"  // directory, new inode
            "0100000004000000"                  // generations
            "01002a36fe9c9717"                  // now
            "a4010000e803000064000000"          // mode, uid, gid
            "000000000000000000000000"          // device, data bytes
            "00000000000000000000000000000000"  // size, atime
            "00000000000000000000000000000000"  // mtime, offset
            "0500000000000000"                  // names
            "68656c6c6f");
}

TEST(Record, ComesBackAsItWas) {
  const std::string text = "some data";
  const ConstBytes pieces[] = {std::as_bytes(std::span(text)).first(4),
                               std::as_bytes(std::span(text)).subspan(4)};
  for (const Record& record : one_of_each(pieces)) {
    const std::vector<std::byte> body = body_of(record);
    ConstBytes data;
    const Result<Record> back = decode_record(body, data);
    ASSERT_TRUE(back.ok()) << static_cast<int>(record.operation);
    EXPECT_EQ(body_of(back.value()), body);
    EXPECT_EQ(data.size(), data_bytes(record.data));
  }
}

TEST(Record, OtherBytesAreRefusedOrMeanExactlyWhatTheySay) {
  const std::string text = "some data";
  const ConstBytes pieces[] = {std::as_bytes(std::span(text))};
  sim::Random random(7);
  for (const Record& record : one_of_each(pieces)) {
    const std::vector<std::byte> good = body_of(record);
    for (int round = 0; round < 5'000; ++round) {
      std::vector<std::byte> bad = good;
      for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
        bad[random.below(bad.size())] = static_cast<std::byte>(random.next());
      }
      if (random.one_in(8)) {
        bad.resize(random.below(bad.size()));
      }
      ConstBytes data;
      const Result<Record> back = decode_record(bad, data);
      if (back.ok()) {
        EXPECT_EQ(body_of(back.value()), bad);
      }
    }
  }
}

TEST(Record, NamesThatNoEntryMayHaveAreRefused) {
  for (const std::string_view name : {"", ".", "..", "a/b"}) {
    Record record = create_record();
    record.name = name;
    const std::vector<std::byte> body = body_of(record);
    ConstBytes data;
    EXPECT_FALSE(decode_record(body, data).ok()) << name;
  }
}

}  // namespace
}  // namespace duet::filer
