#include "platform/linux/signal_source.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

namespace duet::os {

namespace {

int block_and_open() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, number);
  }
  DUET_CHECK(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

}  // namespace

SignalSource::SignalSource(EpollScheduler& scheduler)
    : scheduler_(scheduler), descriptor_(block_and_open()), arrived_(scheduler) {
  DUET_CHECK(descriptor_ >= 0);
  DUET_CHECK(scheduler_.watch(descriptor_, *this).ok());
}

SignalSource::~SignalSource() {
  scheduler_.unwatch(descriptor_);
  ::close(descriptor_);
}

std::optional<int> SignalSource::try_take() {
  signalfd_siginfo signal;
  if (::read(descriptor_, &signal, sizeof(signal)) != sizeof(signal)) {
    return std::nullopt;
  }
  return static_cast<int>(signal.ssi_signo);
}

Task<int> SignalSource::next() {
  for (;;) {
    const std::optional<int> number = try_take();
    if (number) {
      co_return *number;
    }
    co_await arrived_.wait();
  }
}

}  // namespace duet::os
