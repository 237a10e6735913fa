#include "world/survey.h"

#include <algorithm>
#include <deque>

namespace duet::world {

namespace {

constexpr std::uint32_t kSurveyor = 1000;

class Surveyor {
 public:
  Surveyor(Service& service, Tree& tree, std::function<bool(const Answer&)> excused)
      : service_(service), tree_(tree), excused_(std::move(excused)) {}

  Task<Complaint> run() {
    std::deque<ObjectId> queue{Tree::kRoot};
    for (; !queue.empty() && complaint_.empty() && !over_; queue.pop_front()) {
      const ObjectId id = queue.front();
      const std::optional<std::string> handle = tree_.handle_of(id);
      if (!handle.has_value()) {
        co_return "survey: an object that no directory lists";
      }
      Operation getattr;
      getattr.handle = *handle;
      co_await ask(std::move(getattr));
      if (failed()) {
        break;
      }
      const wafl::FileType type = tree_.find(id)->type;
      if (type == wafl::FileType::kDirectory) {
        co_await list(*handle);
        if (failed()) {
          break;
        }
        for (const auto& [name, entry] : tree_.find(id)->names) {
          queue.push_back(entry.node);
        }
      } else if (type == wafl::FileType::kRegular) {
        co_await read_all(id, *handle);
      } else if (type == wafl::FileType::kSymlink) {
        Operation readlink;
        readlink.kind = Kind::kReadlink;
        readlink.handle = *handle;
        co_await ask(std::move(readlink));
      }
    }
    co_return complaint_;
  }

 private:
  [[nodiscard]] bool failed() const { return over_ || !complaint_.empty(); }

  Task<void> ask(Operation operation) {
    const filer::Caller caller = caller_of(kSurveyor, ++xid_, operation);
    answer_ = co_await service_.call(caller, operation);
    if (excused_(answer_)) {
      over_ = true;
      co_return;
    }
    Complaint complaint = tree_.check(operation, answer_);
    if (!complaint.empty()) {
      complaint_ = "survey: " + text_of(operation) + ": " + complaint;
    }
  }

  Task<void> list(std::string handle) {
    Operation operation;
    operation.kind = Kind::kReaddir;
    operation.handle = std::move(handle);
    operation.plus = true;
    operation.bytes_max = 8192;
    operation.reply_bytes_max = 16'384;
    do {
      co_await ask(operation);
      if (failed()) {
        co_return;
      }
      if (!answer_.entries.empty()) {
        operation.cookie = answer_.entries.back().cookie;
        operation.verifier = answer_.verifier;
      }
    } while (!answer_.end && !answer_.entries.empty());
    if (!answer_.end) {
      complaint_ = "survey: READDIR without end";
    }
  }

  // All blocks that there are, and a little of the hole or end behind each run of them.
  Task<void> read_all(ObjectId id, std::string handle) {
    constexpr std::uint64_t kBlock = 4096;
    constexpr std::uint64_t kRunBlocks = 64;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
    for (const auto& [index, block] : tree_.find(id)->blocks) {
      if (!runs.empty() && runs.back().second == index && index - runs.back().first < kRunBlocks) {
        ++runs.back().second;
      } else {
        runs.emplace_back(index, index + 1);
      }
    }
    const std::uint64_t size = tree_.find(id)->size;
    runs.emplace_back(size / kBlock, size / kBlock + 1);
    for (const auto& [first, last] : runs) {
      Operation operation;
      operation.kind = Kind::kRead;
      operation.handle = handle;
      operation.offset = first * kBlock;
      operation.count = static_cast<std::uint32_t>((last - first) * kBlock + 100);
      co_await ask(std::move(operation));
      if (failed()) {
        co_return;
      }
    }
  }

  Service& service_;
  Tree& tree_;
  std::function<bool(const Answer&)> excused_;
  Complaint complaint_;
  Answer answer_;
  bool over_ = false;
  std::uint32_t xid_ = 0;
};

}  // namespace

Task<Complaint> survey(Service& service, Tree& tree, std::function<bool(const Answer&)> excused) {
  Surveyor surveyor(service, tree, std::move(excused));
  Complaint complaint = co_await surveyor.run();
  co_return complaint;
}

Task<std::string> snapshot_root(Service& service, std::string root, std::string name) {
  Operation lookup;
  lookup.kind = Kind::kLookup;
  lookup.handle = std::move(root);
  lookup.name = ".snapshot";
  const filer::Caller first = caller_of(kSurveyor, 1, lookup);
  const Answer directory = co_await service.call(first, lookup);
  if (!directory.handle.has_value()) {
    co_return std::string();
  }
  lookup.handle = *directory.handle;
  lookup.name = std::move(name);
  const filer::Caller second = caller_of(kSurveyor, 2, lookup);
  const Answer found = co_await service.call(second, lookup);
  co_return found.handle.value_or(std::string());
}

}  // namespace duet::world
