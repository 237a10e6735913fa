#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "command_runner.h"

namespace duet::shelf {

namespace {

// Commands are few: reads and writes take their own way.  A preemption that waits for the unit must
// not hold up the beats.
constexpr std::size_t kThreads = 4;

class KernelTransport final : public ScsiTransport {
 public:
  KernelTransport(os::EpollScheduler& scheduler, std::string name,
                  std::unique_ptr<CommandRunner> runner)
      : scheduler_(scheduler), name_(std::move(name)), runner_(std::move(runner)) {
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this] { work(); });
    }
  }
  ~KernelTransport() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      jobs_.clear();
    }
    wake_.notify_all();
    threads_.clear();
    scheduler_.collect_remote();  // commands that have ended may be on their way
  }

  void start(ScsiCommand& command) override {
    command.status = ScsiStatus::kLost;
    command.received = 0;
    give({.command = &command, .reset = nullptr});
  }
  void start_reset(ScsiReset& reset) override {
    reset.done = false;
    give({.command = nullptr, .reset = &reset});
  }
  [[nodiscard]] bool aborts_are_believed() const override { return runner_->aborts_are_believed(); }
  [[nodiscard]] bool connected() const override { return true; }
  [[nodiscard]] std::string_view name() const override { return name_; }

 private:
  struct Job {
    ScsiCommand* command;
    ScsiReset* reset;
  };

  void give(Job job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(job);
    }
    wake_.notify_one();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) {
        return;
      }
      const Job job = jobs_.front();
      jobs_.pop_front();
      lock.unlock();
      if (job.command != nullptr) {
        runner_->run(*job.command);
        scheduler_.post_remote(*job.command);
      } else {
        job.reset->done = runner_->reset();
        scheduler_.post_remote(*job.reset);
      }
      lock.lock();
    }
  }

  os::EpollScheduler& scheduler_;
  const std::string name_;
  const std::unique_ptr<CommandRunner> runner_;
  std::mutex mutex_;  // of what stands up to the blank line
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool ending_ = false;

  std::vector<std::jthread> threads_;
};

}  // namespace

std::unique_ptr<ScsiTransport> kernel_transport(os::EpollScheduler& scheduler, std::string name,
                                                std::unique_ptr<CommandRunner> runner) {
  return std::make_unique<KernelTransport>(scheduler, std::move(name), std::move(runner));
}

}  // namespace duet::shelf
