// io_uring: submissions of one turn in one call, completions through epoll, which
// watches the ring's own descriptor (readable when there are completions).

#include <liburing.h>

#include <cerrno>

#include "base/check.h"
#include "io_engine.h"

namespace duet::os {

namespace {

class RingEngine final : public IoEngine, private SocketEvents {
 public:
  // Takes ownership of `ring`, which nobody has used.
  RingEngine(EpollScheduler& scheduler, const io_uring& ring) : IoEngine(scheduler), ring_(ring) {}
  ~RingEngine() override {
    DUET_CHECK(at_kernel_ == 0);
    scheduler_.unwatch(ring_.ring_fd);
    io_uring_queue_exit(&ring_);
  }

  [[nodiscard]] bool watch() { return scheduler_.watch(ring_.ring_fd, *this).ok(); }

 private:
  void submit() override {
    fill();
    while (io_uring_sq_ready(&ring_) > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted == -EAGAIN || submitted == -EBUSY) {
        submit_later();  // the kernel is short of memory for the moment
        break;
      }
      DUET_CHECK(submitted > 0 || submitted == -EINTR);
    }
    reap();  // what the page cache answered at once
  }

  void wait_for_one() override {
    if (at_kernel_ == 0) {
      return;  // all came back at once, and more is queued
    }
    const int outcome = io_uring_submit_and_wait(&ring_, 1);
    DUET_CHECK(outcome >= 0 || outcome == -EINTR || outcome == -EAGAIN || outcome == -EBUSY);
    reap();
  }

  void on_events(std::uint32_t /*events*/) override { reap(); }

  void fill() {
    while (!queued_.empty() && at_kernel_ < kQueueDepth) {
      io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
      if (entry == nullptr) {
        return;
      }
      prepare(*entry, *queued_.front());
      queued_.pop_front();
      ++at_kernel_;
    }
  }

  static void prepare(io_uring_sqe& entry, Transfer& transfer) {
    const int disk = transfer.client->descriptor;
    const auto count = static_cast<unsigned>(transfer.vectors.size());
    switch (transfer.operation->kind) {
      case BlockOperation::Kind::kRead:
        io_uring_prep_readv(&entry, disk, transfer.vectors.data(), count, transfer.offset);
        break;
      case BlockOperation::Kind::kWrite:
        io_uring_prep_writev(&entry, disk, transfer.vectors.data(), count, transfer.offset);
        break;
      case BlockOperation::Kind::kFlush:
        io_uring_prep_fsync(&entry, disk, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(&entry, &transfer);
  }

  void reap() {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* completion = nullptr;
    io_uring_for_each_cqe(&ring_, head, completion) {
      ++count;
      --at_kernel_;
      take_outcome(*static_cast<Transfer*>(io_uring_cqe_get_data(completion)), completion->res);
    }
    io_uring_cq_advance(&ring_, count);
    if (count > 0 && !queued_.empty()) {
      submit_later();
    }
  }

  io_uring ring_;
  unsigned at_kernel_ = 0;
};

}  // namespace

std::shared_ptr<IoEngine> make_ring_engine(EpollScheduler& scheduler) {
  // The first flags save interrupts to a thread that looks at epoll anyway; older
  // kernels do not know them.
  for (const unsigned flags : {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL, 0U}) {
    io_uring ring{};
    if (io_uring_queue_init(kQueueDepth, &ring, flags) == 0) {
      auto engine = std::make_shared<RingEngine>(scheduler, ring);
      return engine->watch() ? engine : nullptr;
    }
  }
  return nullptr;
}

}  // namespace duet::os
