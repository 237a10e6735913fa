#include <gtest/gtest.h>

#include <set>
#include <string>

#include "small_filer.h"

namespace duet::wafl {
namespace {

class Names : public SmallFiler {};

constexpr InodeNumber kTop = kRootInode;

TEST_F(Names, ThatAreNoneAreRefusedEverywhere) {
  const std::string long_name(256, 'a');
  const std::string with_nul("a\0b", 3);
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("/"), with_nul}) {
    EXPECT_EQ(code(make(kTop, name)), Errc::kInvalid);
    EXPECT_EQ(code(make_directory(kTop, name)), Errc::kInvalid);
    EXPECT_EQ(code(remove_name(kTop, name)), Errc::kInvalid);
    EXPECT_EQ(code(remove_dir(kTop, name)), Errc::kInvalid);
    EXPECT_EQ(code(move(kTop, name, kTop, "b")), Errc::kInvalid);
    EXPECT_EQ(code(move(kTop, "b", kTop, name)), Errc::kInvalid);
    EXPECT_EQ(code(look(kTop, name)), Errc::kNotFound);
  }
  EXPECT_EQ(code(make(kTop, long_name)), Errc::kNameTooLong);
  EXPECT_EQ(code(look(kTop, long_name)), Errc::kNameTooLong);
  const std::string longest(255, 'a');
  ASSERT_TRUE(make(kTop, longest).ok());
  EXPECT_TRUE(look(kTop, longest).ok());
}

TEST_F(Names, OfANewFileGiveItsAttributesAndTheParentItsTimes) {
  NewNode node;
  node.mode = 0100644;
  node.uid = 7;
  node.gid = 8;
  now = 500;
  const auto file = make(kTop, "file", node);
  ASSERT_TRUE(file.ok());
  const Attributes made = attributes(file.value()).value();
  EXPECT_EQ(made.type, FileType::kRegular);
  EXPECT_EQ(made.mode, 0644U);
  EXPECT_EQ(made.uid, 7U);
  EXPECT_EQ(made.gid, 8U);
  EXPECT_EQ(made.links, 1U);
  EXPECT_EQ(made.size_bytes, 0U);
  EXPECT_EQ(made.used_bytes, 0U);
  EXPECT_EQ(made.atime, Timestamp{500});
  EXPECT_EQ(made.mtime, Timestamp{500});
  EXPECT_EQ(made.ctime, Timestamp{500});
  const Attributes parent = attributes(kTop).value();
  EXPECT_EQ(parent.mtime, Timestamp{500});
  EXPECT_EQ(parent.ctime, Timestamp{500});
  EXPECT_EQ(parent.used_bytes, counted_bytes(kTop));
  EXPECT_EQ(code(make(kTop, "file")), Errc::kExists);
  EXPECT_EQ(code(make(file.value(), "x")), Errc::kNotDirectory);
  EXPECT_EQ(code(look(file.value(), "x")), Errc::kNotDirectory);
}

TEST_F(Names, OfAllTypesSurviveARestart) {
  NewNode node;
  node.type = FileType::kSymlink;
  node.target = "some/where";
  const auto link = make(kTop, "link", node);
  ASSERT_TRUE(link.ok());
  node = {};
  node.type = FileType::kBlockDevice;
  node.device = {3, 4};
  const auto device = make(kTop, "device", node);
  ASSERT_TRUE(device.ok());
  node = {};
  node.type = FileType::kSocket;
  ASSERT_TRUE(make(kTop, "socket", node).ok());
  ASSERT_TRUE(make_directory(kTop, "directory").ok());
  restart();
  EXPECT_EQ(look(kTop, "socket").value().type, FileType::kSocket);
  EXPECT_EQ(look(kTop, "directory").value().type, FileType::kDirectory);
  EXPECT_EQ(attributes(device.value()).value().device, (Device{3, 4}));
  const auto target =
      with([](Attempt& at, Inode& inode) { return read_link(at, inode); }, link.value());
  EXPECT_EQ(target.value(), "some/where");
  EXPECT_EQ(attributes(link.value()).value().size_bytes, 10U);
  EXPECT_EQ(attributes(link.value()).value().used_bytes, counted_bytes(link.value()));
  EXPECT_EQ(
      code(with([](Attempt& at, Inode& inode) { return read_link(at, inode); }, device.value())),
      Errc::kBadType);
}

TEST_F(Names, OfSymbolicLinksNeedATargetThatFits) {
  NewNode node;
  node.type = FileType::kSymlink;
  EXPECT_EQ(code(make(kTop, "link", node)), Errc::kInvalid);
  const std::string longest(kSymlinkBytesMax, 't');
  node.target = longest;
  EXPECT_TRUE(make(kTop, "longest", node).ok());
  const std::string longer(kSymlinkBytesMax + 1, 't');
  node.target = longer;
  EXPECT_EQ(code(make(kTop, "longer", node)), Errc::kNameTooLong);
}

TEST_F(Names, OfDirectoriesCountAsLinksOfTheParent) {
  const auto a = make_directory(kTop, "a");
  ASSERT_TRUE(a.ok());
  const auto b = make_directory(a.value(), "b");
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(attributes(kTop).value().links, 3U);
  EXPECT_EQ(attributes(a.value()).value().links, 3U);
  EXPECT_EQ(attributes(b.value()).value().links, 2U);
  EXPECT_EQ(attributes(b.value()).value().size_bytes, 4096U);
  EXPECT_EQ(attributes(b.value()).value().used_bytes, counted_bytes(b.value()));
  EXPECT_EQ(code(remove_dir(kTop, "a")), Errc::kNotEmpty);
  EXPECT_EQ(code(remove_name(kTop, "a")), Errc::kIsDirectory);
  now = 900;
  ASSERT_TRUE(remove_dir(a.value(), "b").ok());
  EXPECT_EQ(attributes(a.value()).value().links, 2U);
  EXPECT_EQ(attributes(a.value()).value().mtime, Timestamp{900});
  EXPECT_EQ(code(attributes(b.value())), Errc::kStaleHandle);
  ASSERT_TRUE(remove_dir(kTop, "a").ok());
  EXPECT_EQ(attributes(kTop).value().links, 2U);
  EXPECT_EQ(code(remove_dir(kTop, "a")), Errc::kNotFound);
}

TEST_F(Names, OfOneFileAreCountedAndTheLastTakesItAway) {
  const auto file = make(kTop, "one");
  ASSERT_TRUE(file.ok());
  const auto directory = make_directory(kTop, "d");
  now = 200;
  ASSERT_TRUE(add_link(directory.value(), "two", file.value()).ok());
  EXPECT_EQ(code(add_link(kTop, "one", file.value())), Errc::kExists);
  EXPECT_EQ(code(add_link(kTop, "dd", directory.value())), Errc::kIsDirectory);
  EXPECT_EQ(attributes(file.value()).value().links, 2U);
  EXPECT_EQ(attributes(file.value()).value().ctime, Timestamp{200});
  EXPECT_EQ(attributes(file.value()).value().mtime, Timestamp{100});
  EXPECT_EQ(attributes(directory.value()).value().mtime, Timestamp{200});
  EXPECT_EQ(code(remove_dir(kTop, "one")), Errc::kNotDirectory);
  now = 300;
  ASSERT_TRUE(remove_name(kTop, "one").ok());
  EXPECT_EQ(attributes(file.value()).value().links, 1U);
  EXPECT_EQ(attributes(file.value()).value().ctime, Timestamp{300});
  EXPECT_EQ(look(directory.value(), "two").value().inode, file.value());
  const std::uint64_t used = volume().inodes_used();
  ASSERT_TRUE(remove_name(directory.value(), "two").ok());
  EXPECT_EQ(code(attributes(file.value())), Errc::kStaleHandle);
  EXPECT_EQ(volume().inodes_used(), used - 1);
}

TEST_F(Names, OfOneFileHaveABound) {
  const auto file = make(kTop, "one");
  const auto full = with(
      [](Attempt&, Inode& inode) -> Status {
        inode.change_attributes().links = kLinksMax;
        return Ok{};
      },
      file.value());
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(code(add_link(kTop, "two", file.value())), Errc::kTooManyLinks);
  EXPECT_EQ(code(look(kTop, "two")), Errc::kNotFound);
}

TEST_F(Names, OfASnapshotCannotBeChanged) {
  const auto file = make(kTop, "file");
  const auto directory = make_directory(kTop, "d");
  ASSERT_TRUE(volume().create_snapshot("s", Timestamp{1}).ok());
  cp();
  const SnapshotId id = volume().find_snapshot("s")->id;
  ASSERT_TRUE(remove_name(kTop, "file").ok());
  const auto in_snapshot = [&](auto operation) {
    return attempt([&](Attempt& at) -> Status {
      Result<InodeRef> top = find(at, kTop, id);
      Result<InodeRef> old = find(at, file.value(), id);
      Result<InodeRef> live = find(at, directory.value());
      for (const auto* ref : {&top, &old, &live}) {
        if (!ref->ok()) {
          return ref->error();
        }
      }
      return operation(at, *top.value(), *old.value(), *live.value());
    });
  };
  constexpr Timestamp t{5};
  EXPECT_FALSE(code(in_snapshot([](Attempt& at, Inode& top, Inode&, Inode&) -> Status {
    const Result<Entry> entry = lookup(at, top, "file");
    return entry.ok() ? Status(Ok{}) : Status(entry.error());
  })));
  const auto refused = [&](auto operation, Errc expected) {
    EXPECT_EQ(code(in_snapshot(operation)), expected);
  };
  refused(
      [](Attempt& at, Inode& top, Inode&, Inode&) -> Status {
        const Result<InodeRef> made = create(at, top, "new", NewNode{}, t);
        return made.ok() ? Status(Ok{}) : Status(made.error());
      },
      Errc::kReadOnly);
  refused([](Attempt& at, Inode& top, Inode&, Inode&) { return remove(at, top, "file", t); },
          Errc::kReadOnly);
  refused([](Attempt& at, Inode& top, Inode&,
             Inode& live) { return rename(at, top, "file", live, "file", t); },
          Errc::kReadOnly);
  refused(
      [](Attempt& at, Inode&, Inode& old, Inode& live) { return link(at, live, "file", old, t); },
      Errc::kCrossVolume);
  refused(
      [](Attempt& at, Inode&, Inode& old, Inode&) {
        AttributeChanges changes;
        changes.mode = 0;
        return set_attributes(at, old, changes, t);
      },
      Errc::kReadOnly);
  refused(
      [](Attempt& at, Inode&, Inode& old, Inode&) {
        const std::array piece = {std::byte{1}};
        const std::array<ConstBytes, 1> pieces = {ConstBytes(piece)};
        return write(at, old, 0, pieces, false, t);
      },
      Errc::kReadOnly);
}

TEST_F(Names, AreListedWithSelfAndParentFirst) {
  const auto a = make_directory(kTop, "a");
  ASSERT_TRUE(make(a.value(), "x").ok());
  std::vector<std::pair<std::string, std::uint64_t>> seen;
  const auto listed = with(
      [&](Attempt& at, Inode& d) {
        seen.clear();
        return list(at, d, Cookie{0}, [&](const ListedEntry& entry) {
          seen.emplace_back(entry.name, static_cast<std::uint64_t>(entry.inode));
          return true;
        });
      },
      a.value());
  EXPECT_TRUE(listed.value());
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0], (std::pair<std::string, std::uint64_t>(".", std::uint64_t(a.value()))));
  EXPECT_EQ(seen[1], (std::pair<std::string, std::uint64_t>("..", std::uint64_t(kTop))));
  EXPECT_EQ(seen[2].first, "x");
}

TEST_F(Names, ManyOfThemKeepTheirCookiesAcrossCpsAndRestarts) {
  const auto d = make_directory(kTop, "d");
  std::map<std::string, Cookie> cookies;
  for (int i = 0; i < 30'000; ++i) {
    const std::string name = "file-" + std::to_string(i);
    ASSERT_TRUE(make(d.value(), name).ok());
    if (i % 10'000 == 5'000) {
      cp();
    }
    if (i % 100 == 0) {
      cookies[name] = look(d.value(), name).value().cookie;
    }
  }
  restart();
  rounds = 0;
  std::set<std::string> seen;
  std::uint64_t last = 0;
  // As READDIR does it: some, then on from the last cookie.
  for (bool more = true; more;) {
    std::vector<std::pair<std::string, Cookie>> some;
    const auto listed = with(
        [&](Attempt& at, Inode& directory) {
          some.clear();
          return list(at, directory, Cookie{last}, [&](const ListedEntry& entry) {
            some.emplace_back(entry.name, entry.cookie);
            return some.size() < 1'000;
          });
        },
        d.value());
    ASSERT_TRUE(listed.ok());
    for (const auto& [name, cookie] : some) {
      ASSERT_GT(static_cast<std::uint64_t>(cookie), last);
      last = static_cast<std::uint64_t>(cookie);
      ASSERT_TRUE(seen.insert(name).second);
      if (const auto it = cookies.find(name); it != cookies.end()) {
        ASSERT_EQ(it->second, cookie);
      }
    }
    more = !listed.value();
  }
  EXPECT_EQ(seen.size(), 30'002U);
  const Attributes before = attributes(d.value()).value();
  EXPECT_EQ(before.used_bytes, before.size_bytes);
  EXPECT_EQ(before.used_bytes, counted_bytes(d.value()));
  EXPECT_LT(rounds, before.size_bytes / kBlockBytes / 4) << "misses are gathered";

  for (int i = 0; i < 30'000; ++i) {
    ASSERT_TRUE(remove_name(d.value(), "file-" + std::to_string(i)).ok()) << i;
  }
  EXPECT_EQ(attributes(d.value()).value().size_bytes, 4096U);
  EXPECT_EQ(counted_bytes(d.value()), 4096U);
  restart();
  EXPECT_TRUE(remove_dir(kTop, "d").ok());
}

// --- Rename.

class Rename : public SmallFiler {
 protected:
  void SetUp() override {
    SmallFiler::SetUp();
    a = make_directory(kTop, "a").value();
    b = make_directory(kTop, "b").value();
    file = make(a, "file").value();
    other = make(b, "other").value();
    sub = make_directory(a, "sub").value();
    now = 777;
  }
  InodeNumber parent(InodeNumber directory) {
    return with([](Attempt&, Inode& d) { return parent_of(d); }, directory).value();
  }
  InodeNumber a, b, file, other, sub;
};

TEST_F(Rename, MovesAFileAndItsTimes) {
  ASSERT_TRUE(move(a, "file", b, "new").ok());
  EXPECT_EQ(code(look(a, "file")), Errc::kNotFound);
  EXPECT_EQ(look(b, "new").value().inode, file);
  EXPECT_EQ(attributes(file).value().ctime, Timestamp{777});
  EXPECT_EQ(attributes(file).value().mtime, Timestamp{100});
  EXPECT_EQ(attributes(a).value().mtime, Timestamp{777});
  EXPECT_EQ(attributes(b).value().mtime, Timestamp{777});
  EXPECT_EQ(code(move(a, "file", b, "new")), Errc::kNotFound);
}

TEST_F(Rename, ReplacesAFileWhoseEntryKeepsItsCookie) {
  const Cookie cookie = look(b, "other").value().cookie;
  ASSERT_TRUE(move(a, "file", b, "other").ok());
  EXPECT_EQ(look(b, "other").value().inode, file);
  EXPECT_EQ(look(b, "other").value().cookie, cookie);
  EXPECT_EQ(code(attributes(other)), Errc::kStaleHandle);
}

TEST_F(Rename, ReplacesOneOfSeveralNamesOfAFile) {
  ASSERT_TRUE(add_link(a, "more", other).ok());
  ASSERT_TRUE(move(a, "file", b, "other").ok());
  EXPECT_EQ(attributes(other).value().links, 1U);
  EXPECT_EQ(attributes(other).value().ctime, Timestamp{777});
}

TEST_F(Rename, BetweenNamesOfOneFileDoesNothing) {
  ASSERT_TRUE(add_link(b, "same", file).ok());
  const Attributes before = attributes(a).value();
  now = 888;
  ASSERT_TRUE(move(a, "file", b, "same").ok());
  ASSERT_TRUE(move(a, "file", a, "file").ok());
  EXPECT_TRUE(look(a, "file").ok());
  EXPECT_TRUE(look(b, "same").ok());
  EXPECT_EQ(attributes(a).value(), before);
  EXPECT_EQ(attributes(file).value().links, 2U);
}

TEST_F(Rename, MovesADirectoryWithItsParent) {
  ASSERT_TRUE(move(a, "sub", b, "moved").ok());
  EXPECT_EQ(parent(sub), b);
  EXPECT_EQ(attributes(a).value().links, 2U);
  EXPECT_EQ(attributes(b).value().links, 3U);
  restart();
  EXPECT_EQ(parent(sub), b);
}

TEST_F(Rename, ReplacesAnEmptyDirectory) {
  const InodeNumber empty = make_directory(b, "empty").value();
  ASSERT_TRUE(move(a, "sub", b, "empty").ok());
  EXPECT_EQ(look(b, "empty").value().inode, sub);
  EXPECT_EQ(code(attributes(empty)), Errc::kStaleHandle);
  EXPECT_EQ(attributes(a).value().links, 2U);
  EXPECT_EQ(attributes(b).value().links, 3U);
}

TEST_F(Rename, WithinADirectoryReplacesAnEmptyDirectory) {
  const InodeNumber empty = make_directory(a, "empty").value();
  ASSERT_TRUE(move(a, "sub", a, "empty").ok());
  EXPECT_EQ(look(a, "empty").value().inode, sub);
  EXPECT_EQ(code(look(a, "sub")), Errc::kNotFound);
  EXPECT_EQ(code(attributes(empty)), Errc::kStaleHandle);
  EXPECT_EQ(attributes(a).value().links, 3U);
}

TEST_F(Rename, RefusesWhatDoesNotFit) {
  EXPECT_EQ(code(move(a, "sub", b, "other")), Errc::kNotDirectory);
  EXPECT_EQ(code(move(a, "file", kTop, "b")), Errc::kIsDirectory);
  EXPECT_EQ(code(move(kTop, "a", kTop, "b")), Errc::kNotEmpty);
  EXPECT_EQ(code(move(file, "x", a, "y")), Errc::kNotDirectory);
  EXPECT_EQ(look(a, "file").value().inode, file);
}

TEST_F(Rename, OfADirectoryBelowItselfIsRefused) {
  const InodeNumber deep = make_directory(sub, "deep").value();
  EXPECT_EQ(code(move(kTop, "a", a, "x")), Errc::kInvalid);
  EXPECT_EQ(code(move(kTop, "a", deep, "x")), Errc::kInvalid);
  EXPECT_EQ(code(move(sub, "deep", kTop, "a")), Errc::kNotEmpty);
  restart();
  EXPECT_EQ(code(move(kTop, "a", deep, "x")), Errc::kInvalid);
  EXPECT_TRUE(move(a, "sub", b, "sub").ok());
  EXPECT_TRUE(move(kTop, "a", deep, "x").ok());
}

TEST_F(Rename, ManyWithinOneDirectoryKeepAllOthers) {
  std::map<std::string, InodeNumber> model;
  for (int i = 0; i < 3'000; ++i) {
    const std::string name = "n" + std::to_string(i);
    model[name] = make(b, name).value();
  }
  for (int i = 0; i < 3'000; i += 2) {
    const std::string name = "n" + std::to_string(i);
    const std::string longer = name + std::string(200, 'z');
    ASSERT_TRUE(move(b, name, b, longer).ok());
    model[longer] = model[name];
    model.erase(name);
  }
  restart();
  for (const auto& [name, inode] : model) {
    ASSERT_EQ(look(b, name).value().inode, inode);
  }
  EXPECT_EQ(attributes(b).value().used_bytes, counted_bytes(b));
}

}  // namespace
}  // namespace duet::wafl
