// A few threads that make blocking calls, where io_uring is not permitted (seccomp,
// kernel.io_uring_disabled).

#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "io_engine.h"

namespace duet::os {

namespace {

constexpr std::size_t kThreads = 8;  // a disk that needs more at once has io_uring

// bytes, or -errno.
std::int64_t call(const Transfer& transfer) {
  const int disk = transfer.client->descriptor;
  const auto count = static_cast<int>(transfer.vectors.size());
  const auto offset = static_cast<off_t>(transfer.offset);
  std::int64_t outcome = 0;
  switch (transfer.operation->kind) {
    case BlockOperation::Kind::kRead:
      outcome = preadv(disk, transfer.vectors.data(), count, offset);
      break;
    case BlockOperation::Kind::kWrite:
      outcome = pwritev(disk, transfer.vectors.data(), count, offset);
      break;
    case BlockOperation::Kind::kFlush:
      outcome = fdatasync(disk);
      break;
  }
  return outcome < 0 ? -errno : outcome;
}

class PoolEngine final : public IoEngine {
 public:
  explicit PoolEngine(EpollScheduler& scheduler) : IoEngine(scheduler), reaper_(*this) {
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this] { work(); });
    }
  }
  ~PoolEngine() override {
    {
      const std::lock_guard lock(mutex_);
      DUET_CHECK(to_do_.empty() && done_.empty());
      ending_ = true;
    }
    wake_workers_.notify_all();
    threads_.clear();
    scheduler_.collect_remote();  // reaper_ may be on its way
  }

 private:
  struct Reaper final : Continuation {
    explicit Reaper(PoolEngine& owner) : engine(owner) {}
    void run() override {
      {
        const std::lock_guard lock(engine.mutex_);
        engine.reaper_posted_ = false;
      }
      engine.reap();
    }
    PoolEngine& engine;
  };

  void submit() override {
    const std::size_t count = queued_.size();
    {
      const std::lock_guard lock(mutex_);
      to_do_.insert(to_do_.end(), queued_.begin(), queued_.end());
    }
    queued_.clear();
    count == 1 ? wake_workers_.notify_one() : wake_workers_.notify_all();
  }

  void wait_for_one() override {
    {
      std::unique_lock lock(mutex_);
      wake_drain_.wait(lock, [this] { return !done_.empty(); });
    }
    reap();
  }

  void reap() {
    {
      const std::lock_guard lock(mutex_);
      reaped_.swap(done_);
    }
    for (Transfer* transfer : reaped_) {
      finish(*transfer);
    }
    reaped_.clear();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_workers_.wait(lock, [this] { return ending_ || !to_do_.empty(); });
      if (to_do_.empty()) {
        return;
      }
      Transfer& transfer = *to_do_.front();
      to_do_.pop_front();
      lock.unlock();
      while (!transfer.advance(call(transfer))) {
      }
      lock.lock();
      done_.push_back(&transfer);
      if (!reaper_posted_) {
        reaper_posted_ = true;
        scheduler_.post_remote(reaper_);
      }
      wake_drain_.notify_one();
    }
  }

  std::mutex mutex_;  // of what stands up to the blank line
  std::condition_variable wake_workers_;
  std::condition_variable wake_drain_;
  std::deque<Transfer*> to_do_;
  std::vector<Transfer*> done_;  // results are set
  bool reaper_posted_ = false;
  bool ending_ = false;

  std::vector<Transfer*> reaped_;  // empty between calls; keeps its memory
  Reaper reaper_;
  std::vector<std::jthread> threads_;
};

}  // namespace

std::shared_ptr<IoEngine> make_pool_engine(EpollScheduler& scheduler) {
  return std::make_shared<PoolEngine>(scheduler);
}

}  // namespace duet::os
