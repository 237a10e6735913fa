// fuzz_corpus DIRECTORY: writes the inputs that each fuzzer starts from.

#include <filesystem>
#include <fstream>
#include <string>

#include "filer/exports.h"
#include "image.h"
#include "mutation_reply.h"
#include "record.h"
#include "shelf/wire_format.h"
#include "wafl/directory_format.h"

namespace {

using namespace duet;  // NOLINT: one small file

class Corpus {
 public:
  Corpus(std::filesystem::path root, const std::string& name) : path_(root / name) {
    std::filesystem::create_directories(path_);
  }
  void add(const std::string& bytes) {
    std::ofstream(path_ / ("seed" + std::to_string(++count_)), std::ios::binary) << bytes;
  }

 private:
  std::filesystem::path path_;
  int count_ = 0;
};

template <typename T>
std::string text(const T& value) {
  const ConstBytes bytes = bytes_of(value);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void images(Corpus check, Corpus open) {
  const std::size_t blocks = fuzz::Image::valid().used().size();
  check.add(std::string(1, '\1'));
  open.add(std::string(1, '\1'));
  for (std::size_t i = 0; i < blocks; i += 3) {
    for (const std::uint16_t at : {0, 8, 32, 60, 100, 512}) {
      std::string input(1, '\1');
      input += text(static_cast<std::uint16_t>(i)) + text(at) + '\7' + std::string(8, '\1');
      (i % 2 == 0 ? check : open).add(input);
    }
  }
}

void directories(Corpus corpus) {
  for (const std::uint64_t number : fuzz::Image::valid().used()) {
    const sim::SimDisk::Block& block = fuzz::Image::valid().disk().block(number);
    if (load<std::uint32_t>(block, 0) == wafl::kDirectoryMagic) {
      corpus.add(text(block));
    }
  }
}

void logs(Corpus corpus) {
  for (char mode = 0; mode < 32; ++mode) {
    std::string input{mode, '\3'};
    const std::uint16_t record = 4096 + 4096 + 64;
    input += text(record) + std::string("\x0F") + std::string(16, '\2');
    corpus.add(input);
  }
}

void records(Corpus corpus) {
  for (int operation = 1; operation <= 8; ++operation) {
    filer::Record record;
    record.operation = static_cast<filer::Operation>(operation);
    record.object = {wafl::InodeNumber{2}, wafl::Generation{1}};
    record.type = wafl::FileType::kRegular;
    record.changes.mode = 0644;
    record.changes.uid = record.changes.gid = 0;
    record.name = "name";
    record.second_name = operation == 7 ? "second" : "";
    corpus.add(std::string(1, '\0') + text(filer::encode_record(record)) + "name" +
               std::string(record.second_name));
  }
  filer::MutationReply reply;
  reply.attributes.emplace().attributes.type = wafl::FileType::kRegular;
  corpus.add(std::string(1, '\1') + text(filer::encode_reply(reply)));
  filer::ExportTable table;
  table.exports.push_back({"/vol0", {filer::parse_client("10.0.0.0/8").value()}});
  corpus.add(std::string(1, '\2') + filer::encode(table));
  corpus.add(std::string(1, '\3') + text(filer::HandleBytes{}));
}

// Two inodes and their names: as fuzz_stream.cpp takes them.
void streams(Corpus corpus) {
  const std::string directory{2, 3, 0, 2, 0};
  const std::string file{2, 4, 0, 1, 0, 0x20, 0, 0, 0, 1, 0, 0};
  const std::string block{3, 4, 0, 0, 0, 0};
  const std::string entries{4, 2, 3, 2, 0, 1, 0, 4, 3, 4, 1, 0, 2, 0};
  corpus.add(std::string(1, '\2') + directory + file + block + entries + std::string{5, 5, 0});
  corpus.add(std::string(1, '\1') + directory + entries);
}

// As fuzz_input.h says.  Arguments: a handle, a name, numbers.
void calls(Corpus corpus) {
  std::string arguments{0, 0, 0, 40};
  arguments += std::string(40, 'h') + std::string{0, 0, 0, 4} + "name" + std::string(100, '\0');
  for (char program = 0; program < 4; ++program) {
    for (char procedure = 0; procedure < 22; ++procedure) {
      corpus.add(std::string{1, 1, program, procedure, '\7'} + arguments);
    }
  }
  corpus.add(std::string{1, 0} + std::string("\x80\0\0\x28", 4) + std::string(40, '\0'));
}

// As server/nbd/tests/fuzz_input.h says: whole conversations, and requests of every kind.
void hosts(Corpus corpus) {
  using namespace std::string_literals;
  const std::string name = "\0\0\0\x09tank/host"s;
  const auto option = [](char number, const std::string& data) {
    return "IHAVEOPT\0\0\0"s + number + "\0\0\0"s + static_cast<char>(data.size()) + data;
  };
  const auto request = [](char command, char bytes) {  // of 256
    return "\x25\x60\x95\x13\0\0\0"s + command + "cookie12"s + std::string(8, '\0') + "\0\0"s +
           bytes + "\0"s;
  };
  const std::string flags = "\0\0\0\3"s;
  const std::string go = option(7, name + "\0\1\0\3"s);
  corpus.add("\1\0"s + flags + option(3, "") + option(6, name + "\0\0"s) + option(2, ""));
  corpus.add("\1\0"s + flags + option(8, "") + go + request(0, '\x10') + request(3, 0) +
             request(1, '\x10') + std::string(4096, 'x') + request(6, '\x10') + request(2, 0));
  corpus.add("\1\0"s + flags + option(1, "tank/host") + request(0, '\x20') + request(4, '\x10'));
  for (char command = 0; command < 8; ++command) {
    corpus.add("\1\1"s + command + "\3\0\0\5\0\0\0"s + "\0\1\0\0\5\0\0\0"s);
  }
}

// As fuzz_shelf.cpp says: 129 is a server, 130 a client, 128 a label, all with right checksums.
void shelves(Corpus corpus) {
  for (const int kind : {2, 3, 4, 5, 6, 16, 17, 18, 19, 20, 21, 22, 23, 24, 99}) {
    shelf::RequestHeader header{.kind = static_cast<std::uint8_t>(kind),
                                .reservation = 1,
                                .tag = 1,
                                .block = 1,
                                .victim = 2};
    header.block_count = kind == 3 || kind == 4 || kind == 6 ? 1 : 0;
    header.payload_bytes = kind == 4 || kind == 6 ? 4096 : kind == 24 ? 8192 : 0;
    const std::string payload(header.payload_bytes == 0 ? 0 : 16, 'p');
    corpus.add(std::string("\x81\0", 2) + text(header) + payload);
    const shelf::RequestHeader first{.kind = static_cast<std::uint8_t>(shelf::WireKind::kRegister)};
    corpus.add(std::string("\x81\0", 2) + text(first) + text(header) + payload);
    shelf::ReplyHeader reply{.kind = header.kind, .reserved0 = 1};
    reply.payload_bytes = kind == 3 ? 16384 : kind == 22 ? 544 : 0;
    corpus.add("\x82" + text(reply) + std::string(reply.payload_bytes == 0 ? 0 : 64, 'p'));
  }
  corpus.add(std::string("\x80\0", 2));
  corpus.add(std::string("\x80\1\x0c\0\1", 5));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    return 2;
  }
  const std::filesystem::path root = argv[1];
  images(Corpus(root, "check"), Corpus(root, "open"));
  directories(Corpus(root, "directory"));
  logs(Corpus(root, "log"));
  records(Corpus(root, "record"));
  streams(Corpus(root, "stream"));
  calls(Corpus(root, "rpc"));
  hosts(Corpus(root, "nbd"));
  shelves(Corpus(root, "shelf"));
  return 0;
}
