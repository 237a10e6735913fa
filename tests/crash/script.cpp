#include "script.h"

#include <utility>

namespace duet::crash {

namespace {

using world::Kind;
using world::Operation;
using Admin = Administration::Kind;

std::string bytes(std::size_t count, char first) {
  std::string data(count, '\0');
  for (std::size_t i = 0; i < count; ++i) {
    data[i] = static_cast<char>(first + static_cast<char>(i / 512 % 64));
  }
  return data;
}

// Builds the list; every function adds one step.
class Builder {
 public:
  std::vector<Step> steps;
  std::string volume = "vol0";  // of what is added

  void add(std::string handle, Kind kind, std::string name,
           const std::function<void(Operation&)>& more = {}, std::string remember = {},
           std::string handle2 = {}) {
    Step step;
    step.volume = volume;
    step.remember = std::move(remember);
    step.operation = [=](const Handles& handles) {
      Operation operation;
      operation.kind = kind;
      operation.handle = handles.at(handle);
      if (!handle2.empty()) {
        operation.handle2 = handles.at(handle2);
      }
      operation.name = name;
      if (more) {
        more(operation);
      }
      return operation;
    };
    steps.push_back(std::move(step));
  }
  void file(const std::string& directory, const std::string& name) {
    add(directory, Kind::kCreate, name, {}, name);
  }
  void directory(const std::string& parent, const std::string& name) {
    add(parent, Kind::kMake, name, {}, name);
  }
  void write(const std::string& file, std::uint64_t offset, std::size_t count, char first) {
    add(file, Kind::kWrite, "", [=](Operation& operation) {
      operation.offset = offset;
      operation.data = bytes(count, first);
    });
  }
  void size(const std::string& file, std::uint64_t size_bytes) {
    add(file, Kind::kSetattr, "",
        [=](Operation& operation) { operation.changes.size_bytes = size_bytes; });
  }
  void remove(const std::string& directory, const std::string& name) {
    add(directory, Kind::kRemove, name);
  }
  void rename(const std::string& from, const std::string& name, const std::string& to,
              const std::string& name2) {
    add(
        from, Kind::kRename, name, [=](Operation& operation) { operation.name2 = name2; }, {}, to);
  }
  void administer(Admin kind, std::string name = {}, std::string name2 = {}) {
    Step step;
    step.administration = {kind, volume, std::move(name), std::move(name2)};
    steps.push_back(std::move(step));
  }
};

void names(Builder& b) {
  b.directory("/", "d");
  b.file("/", "f");
  b.write("f", 0, 5000, 'a');
  b.add("d", Kind::kCreate, "x", [](Operation& operation) {
    operation.mode = filer::CreateMode::kExclusive;
    operation.verifier = 0x1234'5678'9ABC'DEF0U;
  }, "x");
  b.add("x", Kind::kSetattr, "", [](Operation& operation) {
    operation.changes.mode = 0640;
    operation.changes.set_mtime = filer::SetTime::kClientTime;
    operation.changes.mtime = wafl::Timestamp{1'000'000'007};
  });
  b.administer(Admin::kCp);
  b.add("d", Kind::kMake, "l", [](Operation& operation) {
    operation.type = wafl::FileType::kSymlink;
    operation.name2 = "../f";
  });
  b.add("d", Kind::kMake, "p", [](Operation& operation) {
    operation.type = wafl::FileType::kFifo;
  });
  b.add("/", Kind::kMake, "c", [](Operation& operation) {
    operation.type = wafl::FileType::kCharacterDevice;
    operation.device = {4, 64};
  });
  b.add("f", Kind::kLink, "g", {}, {}, "d");
  b.rename("/", "c", "d", "c");
  b.rename("d", "c", "d", "p");  // replaces
  b.directory("d", "e");
  b.rename("d", "e", "/", "e");
}

void contents(Builder& b) {
  b.write("x", 0, 20'000, 'b');
  b.administer(Admin::kCp);
  b.write("x", 3000, 2000, 'c');    // old blocks, in part
  b.write("x", 300'000, 100, 'd');  // behind a hole
  b.size("x", 9000);                // cuts in the middle of a block
  b.size("x", 30'000);              // and the cut bytes must read as zeros
  b.add("/", Kind::kCreate, "f", [](Operation& operation) { operation.changes.size_bytes = 100; });
  b.administer(Admin::kCreateSnapshot, "s1");
  b.write("f", 0, 9000, 'e');
  b.remove("d", "g");
  b.remove("/", "f");
  b.administer(Admin::kCp);
  b.file("/", "again");
  b.write("again", 0, 60'000, 'f');
  b.add("/", Kind::kRmdir, "e");
}

// A clone of "s1" is written to, has a snapshot and a clone of its own, and both are destroyed.
void clones(Builder& b) {
  b.administer(Admin::kSetExports, "c");
  b.administer(Admin::kSetExports, "cc");
  b.administer(Admin::kCloneVolume, "s1", "c");
  b.write("x", 0, 4096, 'j');  // of the origin
  b.volume = "c";
  b.add("c:/", Kind::kLookup, "d", {}, "c:d");
  b.add("c:d", Kind::kLookup, "x", {}, "c:x");
  b.write("c:x", 4096, 5000, 'k');
  b.file("c:/", "made");
  b.administer(Admin::kCp);
  b.remove("c:d", "g");
  b.write("made", 0, 30'000, 'l');
  b.administer(Admin::kCreateSnapshot, "t");
  b.write("c:x", 0, 12'000, 'm');
  b.remove("c:/", "made");
  b.administer(Admin::kCloneVolume, "t", "cc");
  b.volume = "cc";
  b.add(
      "cc:/", Kind::kRename, "f", [](Operation& operation) { operation.name2 = "moved"; }, {},
      "cc:/");
  b.administer(Admin::kDestroyVolume, "cc");
  b.volume = "c";
  b.administer(Admin::kRestoreSnapshot, "t");
  b.remove("c:d", "x");
  b.administer(Admin::kDeleteSnapshot, "t");
  b.administer(Admin::kDestroyVolume, "c");
  b.volume = "vol0";
  b.administer(Admin::kCp);
}

// The files of "r" are what was sent; what matters here is that it is there whole or not at all.
void streams(Builder& b) {
  b.administer(Admin::kReceive, "s1");
  b.write("x", 8192, 4096, 'n');
  b.file("/", "sent");
  b.administer(Admin::kCreateSnapshot, "n");
  b.administer(Admin::kReceive, "n", "s1");
  b.administer(Admin::kDeleteSnapshot, "n");
}

void administration(Builder& b) {
  b.administer(Admin::kRenameSnapshot, "s1", "s");
  b.write("x", 0, 4096, 'g');
  b.administer(Admin::kCreateSnapshot, "s2");
  b.write("x", 4096, 4096, 'h');
  b.remove("d", "l");
  b.administer(Admin::kDeleteSnapshot, "s");
  b.administer(Admin::kCreateVolume, "v");
  b.administer(Admin::kLimitVolume, "v");
  b.administer(Admin::kRenameVolume, "v", "w");
  b.administer(Admin::kSetExports, "v");
  b.administer(Admin::kDestroyVolume, "w");
  b.file("/", "late");
  b.administer(Admin::kRestoreSnapshot, "s2");
  b.file("/", "later");
  b.write("later", 0, 10'000, 'i');
  b.administer(Admin::kDeleteSnapshot, "s2");
  b.remove("/", "later");
}

// Enough long names to split a directory's blocks, and to empty them again.
void large_directory(Builder& b) {
  b.directory("/", "big");
  for (char c = 'a'; c < 'a' + 20; ++c) {
    b.file("big", std::string(220, c));
  }
  b.administer(Admin::kCp);
  for (char c = 'a'; c < 'a' + 18; ++c) {
    b.remove("big", std::string(220, c));
  }
  b.administer(Admin::kCp);
}

}  // namespace

std::vector<Step> script() {
  Builder builder;
  names(builder);
  contents(builder);
  clones(builder);
  streams(builder);
  administration(builder);
  large_directory(builder);
  return builder.steps;
}

}  // namespace duet::crash
