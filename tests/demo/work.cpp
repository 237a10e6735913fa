// Work: clients that change, read back and compare all the time, and know what must be there.

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include "call.h"
#include "jobs.h"

namespace demo {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kFilesMax = 64;  // of one client
constexpr std::size_t kFileBytesMax = 256U << 10U;
constexpr std::size_t kPieceBytesMax = 32U << 10U;
constexpr double kStallSeconds = 0.1;  // a wait that is told

// What a file must hold: `bytes` of a pattern that its number gives.
struct File {
  std::uint64_t number = 0;
  std::size_t bytes = 0;
};

char pattern(std::uint64_t number, std::size_t at) {
  return static_cast<char>((number * 0x9E3779B97F4A7C15U + at * 31 + (at >> 8U) * 17) >> 5U);
}

std::string piece(const File& file, std::size_t from, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) {
    text[i] = pattern(file.number, from + i);
  }
  return text;
}

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

double since_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// One client: its directory, what is in it, and how long it ever waited.
class Worker {
 public:
  Worker(const Server& server, int number, std::uint64_t seed)
      : connection_(mount(server)),
        nfs_(connection_.get()),
        directory_(fmt::format("/client-{}-{}", seed, number)),
        random_(seed * 1000 + static_cast<std::uint64_t>(number)) {
    Call call(nfs_);
    if (call.wait(nfs_mkdir_async(nfs_, directory_.c_str(), Call::done, &call)) != 0) {
      fail(nfs_, "mkdir", directory_);
    }
  }

  void step() {
    const Clock::time_point begin = Clock::now();
    const double began_at = since_epoch();
    const std::uint64_t dice = random_() % 100;
    if (files_.empty() || (dice < 25 && files_.size() < kFilesMax)) {
      create();
    } else if (dice < 55) {
      append();
    } else if (dice < 80) {
      read_back();
    } else if (dice < 90) {
      rename();
    } else {
      remove();
    }
    ++operations_;
    const Clock::time_point end = Clock::now();
    const double took = seconds_between(begin, end);
    if (took > longest_) {
      longest_ = took;
    }
    if (took > kStallSeconds) {
      stalls_.emplace_back(began_at, took);
    }
  }

  // One line per file; then the directory's own.
  void write_manifest(std::ostream& out) const {
    out << "D " << directory_ << '\n';
    for (const auto& [name, file] : files_) {
      out << "F " << directory_ << '/' << name << ' ' << file.number << ' ' << file.bytes << '\n';
    }
  }

  [[nodiscard]] std::uint64_t operations() const { return operations_; }
  [[nodiscard]] double longest() const { return longest_; }
  [[nodiscard]] const auto& stalls() const { return stalls_; }

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
  auto pick() {
    auto at = files_.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_() % files_.size()));
    return at;
  }

  void create() {
    const std::string name = fmt::format("f{}", next_);
    File file{.number = random_(), .bytes = 0};
    ++next_;
    Call call(nfs_);
    if (call.wait(nfs_create_async(nfs_, path(name).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644,
                                   Call::done, &call)) != 0) {
      fail(nfs_, "create", path(name));
    }
    write_more(call.file(), file, name);
    close(call.file(), name);
    files_[name] = file;
  }

  void append() {
    const auto at = pick();
    if (at->second.bytes > kFileBytesMax) {
      return remove();
    }
    Call call(nfs_);
    if (call.wait(nfs_open_async(nfs_, path(at->first).c_str(), O_WRONLY, Call::done, &call)) !=
        0) {
      fail(nfs_, "open", path(at->first));
    }
    write_more(call.file(), at->second, at->first);
    close(call.file(), at->first);
  }

  void write_more(nfsfh* handle, File& file, const std::string& name) {
    const std::string text = piece(file, file.bytes, 1 + random_() % kPieceBytesMax);
    for (std::size_t done = 0; done < text.size();) {
      Call call(nfs_);
      const int written =
          call.wait(nfs_pwrite_async(nfs_, handle, file.bytes + done, text.size() - done,
                                     text.data() + done, Call::done, &call));
      if (written <= 0) {
        fail(nfs_, "write", path(name));
      }
      done += static_cast<std::size_t>(written);
    }
    file.bytes += text.size();
  }

  void close(nfsfh* handle, const std::string& name) {
    Call fsync(nfs_);
    Call close(nfs_);
    if (fsync.wait(nfs_fsync_async(nfs_, handle, Call::done, &fsync)) != 0 ||
        close.wait(nfs_close_async(nfs_, handle, Call::done, &close)) != 0) {
      fail(nfs_, "commit", path(name));
    }
  }

  void read_back() {
    const auto at = pick();
    if (!holds(nfs_, path(at->first), at->second)) {
      fail(nfs_, "read back: other bytes than were acknowledged:", path(at->first));
    }
  }

  void rename() {
    const auto at = pick();
    const std::string name = fmt::format("r{}", next_);
    ++next_;
    Call call(nfs_);
    if (call.wait(nfs_rename_async(nfs_, path(at->first).c_str(), path(name).c_str(), Call::done,
                                   &call)) != 0) {
      fail(nfs_, "rename", path(at->first));
    }
    files_[name] = at->second;
    files_.erase(at);
  }

  void remove() {
    const auto at = pick();
    Call call(nfs_);
    if (call.wait(nfs_unlink_async(nfs_, path(at->first).c_str(), Call::done, &call)) != 0) {
      fail(nfs_, "remove", path(at->first));
    }
    files_.erase(at);
  }

 public:
  static bool holds(nfs_context* nfs, const std::string& path, const File& file) {
    Call open(nfs);
    if (open.wait(nfs_open_async(nfs, path.c_str(), O_RDONLY, Call::done, &open)) != 0) {
      return false;
    }
    std::string bytes(file.bytes + 1, '\0');  // one more: the file must end there
    std::size_t got = 0;
    for (;;) {
      Call call(nfs, bytes.data() + got);
      const int read =
          call.wait(nfs_pread_async(nfs, open.file(), got, bytes.size() - got, Call::done, &call));
      if (read <= 0) {
        break;
      }
      got += static_cast<std::size_t>(read);
    }
    Call close(nfs);
    close.wait(nfs_close_async(nfs, open.file(), Call::done, &close));
    bytes.resize(got);
    return got == file.bytes && bytes == piece(file, 0, file.bytes);
  }

 private:
  Mount connection_;
  nfs_context* nfs_;
  const std::string directory_;
  std::mt19937_64 random_;
  std::map<std::string, File> files_;
  std::uint64_t next_ = 0;
  std::uint64_t operations_ = 0;
  double longest_ = 0;
  std::vector<std::pair<double, double>> stalls_;  // when, since 1970, and how long; seconds
};

}  // namespace

void work(const Server& server, int clients, const std::string& stop_file,
          const std::string& manifest) {
  const auto seed = static_cast<std::uint64_t>(getpid());
  std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(clients));
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      workers[static_cast<std::size_t>(i)] = std::make_unique<Worker>(server, i, seed);
      while (access(stop_file.c_str(), F_OK) != 0) {
        workers[static_cast<std::size_t>(i)]->step();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::ofstream out(manifest);
  std::uint64_t operations = 0;
  double longest = 0;
  for (const auto& worker : workers) {
    worker->write_manifest(out);
    operations += worker->operations();
    longest = std::max(longest, worker->longest());
  }
  fmt::print("{} operations of {} clients, no error; longest wait {:.0f} ms\n", operations, clients,
             longest * 1000);
  for (std::size_t i = 0; i < workers.size(); ++i) {
    for (const auto& [at, took] : workers[i]->stalls()) {
      fmt::print("stall client {} at {:.3f} ms {:.0f}\n", i, at, took * 1000);
    }
  }
}

std::uint64_t verify_work(const Server& server, const std::string& manifest) {
  const Mount connection = mount(server);
  nfs_context* const nfs = connection.get();
  std::ifstream in(manifest);
  std::uint64_t wrong = 0;
  std::uint64_t files = 0;
  std::map<std::string, std::set<std::string>> wanted;  // by directory
  std::string kind;
  std::string path;
  while (in >> kind >> path) {
    if (kind == "D") {
      wanted[path];
      continue;
    }
    File file;
    in >> file.number >> file.bytes;
    const std::size_t slash = path.rfind('/');
    wanted[path.substr(0, slash)].insert(path.substr(slash + 1));
    ++files;
    if (!Worker::holds(nfs, path, file)) {
      ++wrong;
      fmt::print(stderr, "{}: missing, or other bytes than were acknowledged\n", path);
    }
  }
  for (const auto& [directory, names] : wanted) {
    nfsdir* list = nullptr;
    if (nfs_opendir(nfs, directory.c_str(), &list) != 0) {
      fail(nfs, "opendir", directory);
    }
    for (const nfsdirent* entry = nfs_readdir(nfs, list); entry != nullptr;
         entry = nfs_readdir(nfs, list)) {
      const std::string name = entry->name;
      if (name != "." && name != ".." && name != ".snapshot" && !names.contains(name)) {
        ++wrong;
        fmt::print(stderr, "{}/{}: nobody left that there\n", directory, name);
      }
    }
    nfs_closedir(nfs, list);
  }
  fmt::print("{} files in {} directories, {} wrong\n", files, wanted.size(), wrong);
  return wrong;
}

}  // namespace demo
