// The supervisor with real processes: kills, crashes, signals, and what clients see of them.

#include "supervisor/supervisor.h"

#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>

#include <memory>

#include "platform/linux/epoll_scheduler.h"
#include "platform/linux/tcp.h"
#include "processes.h"

namespace duet::supervisor {
namespace {

class Supervised : public testing::Test {
 protected:
  Supervised() {
    options_.listeners.push_back({.address = os::TcpAddress::loopback(port_)});
    options_.last_words = [this](const Death& death) {
      reports_.say("words " + std::to_string(death.incarnation) + " cause " +
                   std::to_string(static_cast<int>(death.cause)) + " restart " +
                   std::to_string(death.restart / 1ms) + " crashes " +
                   std::to_string(death.crashes));
    };
    options_.restart_deadline = 4s;
    options_.words_limit = 10s;
  }
  // Starts the supervisor with its first child.
  void start(const std::function<int(Inherited)>& serve) {
    parent_ = std::make_unique<Process>([&] { return supervise(options_, serve); });
  }
  void start() {
    start([this](Inherited inherited) { return serve_commands(std::move(inherited), reports_); });
    child_ = next_child();
  }
  pid_t next_child() {
    const std::string line = reports_.next();
    EXPECT_EQ(line.rfind("serving ", 0), 0U) << line;
    return line.size() > 8 ? std::stoi(line.substr(8)) : -1;
  }
  std::string ask(const std::string& command) {
    Connection client(port_);
    return client.ask(command).value_or("nothing");
  }

  const std::uint16_t port_ = free_port();
  Reports reports_;
  SupervisorOptions options_;
  std::unique_ptr<Process> parent_;
  pid_t child_ = -1;
};

// --------------------------------------------------------------------------- kill -9 of the child

TEST_F(Supervised, AClientOfAKilledChildHearsItAtOnceAndTheNextChildServesHim) {
  start();
  Connection before(port_);
  EXPECT_EQ(before.ask("who"), std::to_string(child_));
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  EXPECT_TRUE(before.ends());
  const pid_t next = next_child();
  EXPECT_NE(next, child_);
  EXPECT_EQ(ask("who"), std::to_string(next));
}

TEST_F(Supervised, WhoConnectsWhileThereIsNoChildIsServedByTheNext) {
  Reports gate;  // the second child serves when it is told to
  start([&](Inherited inherited) {
    if (inherited.crashes > 0) {
      reports_.say("waiting");
      gate.next();
    }
    return serve_commands(std::move(inherited), reports_);
  });
  child_ = next_child();
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(kill(child_, SIGKILL), 0);
    ASSERT_EQ(reports_.next(), "waiting");
    Connection in_the_gap(port_);
    ASSERT_TRUE(in_the_gap.connected()) << strerror(in_the_gap.error());
    gate.say("go");
    child_ = next_child();
    EXPECT_EQ(in_the_gap.ask("who"), std::to_string(child_));
  }
}

TEST_F(Supervised, NobodyIsRefusedWhileChildrenAreKilledAgainAndAgain) {
  options_.restarts_max = 20;
  start();
  Reports began;
  Reports stop;
  Process client([&] {
    for (int tried = 0;; ++tried) {
      const Connection each(port_);
      if (tried == 1) {
        began.say("began");
      }
      if (!each.connected() || !stop.next_within(0ms).empty()) {
        reports_.say(each.connected() ? "never refused" : strerror(each.error()));
        return 0;
      }
      usleep(200);  // each leaves its port in TIME_WAIT
    }
  });
  EXPECT_EQ(began.next(), "began");
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(kill(child_, SIGKILL), 0);
    child_ = next_child();
  }
  stop.say("stop");
  EXPECT_EQ(reports_.next(), "never refused");
  EXPECT_EQ(client.wait(), 0);
}

// -------------------------------------------------------------------------- kill -9 of the parent

TEST_F(Supervised, NobodyServesUnsupervised) {
  start();
  Watched child(child_);
  Connection before(port_);
  ASSERT_TRUE(before.connected());
  parent_->send(SIGKILL);
  EXPECT_TRUE(child.ends());
  EXPECT_TRUE(before.ends());
  EXPECT_EQ(parent_->wait(), -SIGKILL);
  EXPECT_EQ(Connection(port_).error(), ECONNREFUSED);
}

// ------------------------------------------------------------------------------------ endings

TEST_F(Supervised, ACrashLoopEndsAndTheLastWordsLeaveNoTime) {
  options_.restarts_max = 2;
  start([&](Inherited inherited) {
    EXPECT_TRUE(ParentLink(inherited.channel).tell_incarnation(100 + inherited.crashes).ok());
    reports_.say("crash " + std::to_string(inherited.crashes));
    abort();
    return 0;
  });
  EXPECT_EQ(reports_.next(), "crash 0");
  EXPECT_EQ(reports_.next(), "words 100 cause 2 restart 4000 crashes 1");
  EXPECT_EQ(reports_.next(), "crash 1");
  EXPECT_EQ(reports_.next(), "words 101 cause 2 restart 4000 crashes 2");
  EXPECT_EQ(reports_.next(), "crash 2");
  EXPECT_EQ(reports_.next(), "words 102 cause 2 restart 0 crashes 3");
  EXPECT_EQ(parent_->wait(), kExitFailed);
  EXPECT_EQ(reports_.next_within(0ms), "");
  EXPECT_EQ(Connection(port_).error(), ECONNREFUSED);
}

TEST_F(Supervised, CrashesThatAreLongAgoAreForgotten) {
  options_.restarts_max = 1;
  options_.crash_window = 1ms;
  int rounds = 0;
  Reports counted;
  start([&](Inherited inherited) {
    counted.say("start");
    for (std::string line = reports_.next_within(0ms); !line.empty();
         line = reports_.next_within(0ms)) {
      rounds = std::stoi(line);
    }
    reports_.say(std::to_string(rounds + 1));
    usleep(5000);  // longer than the window
    return rounds < 6 && inherited.crashes <= 1 ? 77 : 0;
  });
  EXPECT_EQ(parent_->wait(), 0);
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(counted.next(), "start");
  }
}

TEST_F(Supervised, AChildThatEndsForGoodIsNotStartedAgain) {
  for (const int code : {0, 1, 2}) {
    start([&](Inherited inherited) {
      const Status told = ParentLink(inherited.channel).tell_incarnation(4);
      reports_.say(told.ok() ? "start" : "no parent");
      return code;
    });
    EXPECT_EQ(parent_->wait(), code);
    EXPECT_EQ(reports_.next(), "start");
    if (code != kExitFailed) {
      EXPECT_EQ(reports_.next_within(0ms), "") << "last words of one that ended in order";
    } else {
      EXPECT_EQ(reports_.next().rfind("words", 0), 0U);
    }
  }
}

TEST_F(Supervised, OneThatGivesUpIsKnownToBeDead) {
  start([&](Inherited inherited) {
    EXPECT_TRUE(ParentLink(inherited.channel).tell_incarnation(8).ok());
    return kExitFailed;
  });
  EXPECT_EQ(parent_->wait(), kExitFailed);
  EXPECT_EQ(reports_.next(), "words 8 cause 1 restart 0 crashes 0");
}

TEST_F(Supervised, OneThatAsksForItIsStartedAgainWithoutLastWords) {
  start([&](Inherited inherited) {
    EXPECT_TRUE(ParentLink(inherited.channel).tell_incarnation(5).ok());
    reports_.say("start " + std::to_string(inherited.crashes));
    return inherited.crashes < 2 ? 3 : 0;
  });
  EXPECT_EQ(parent_->wait(), 0);
  EXPECT_EQ(reports_.next(), "start 0");
  EXPECT_EQ(reports_.next(), "start 1");
  EXPECT_EQ(reports_.next(), "start 2");
}

TEST_F(Supervised, TheTermSignalIsHandedOnAndItsEndPassedOn) {
  start();
  parent_->send(SIGTERM);
  EXPECT_EQ(parent_->wait(), 0);
  EXPECT_EQ(Connection(port_).error(), ECONNREFUSED);
  EXPECT_EQ(reports_.next_within(0ms), "");
}

TEST_F(Supervised, TheHangupSignalIsHandedOnAndEndsNothing) {
  start();
  parent_->send(SIGHUP);
  EXPECT_EQ(reports_.next(), "hangup");
  EXPECT_EQ(ask("who"), std::to_string(child_));
}

TEST_F(Supervised, OneThatCrashesWhileItIsToldToStopIsNotStartedAgain) {
  start([&](Inherited inherited) {
    EXPECT_TRUE(ParentLink(inherited.channel).tell_incarnation(9).ok());
    signal(SIGTERM, [](int) { _exit(70); });
    reports_.say("serving " + std::to_string(getpid()));
    for (;;) {
      pause();
    }
    return 0;
  });
  next_child();
  parent_->send(SIGTERM);
  EXPECT_EQ(parent_->wait(), kExitFailed);
  EXPECT_EQ(reports_.next(), "words 9 cause 2 restart 0 crashes 1");
}

TEST_F(Supervised, ToldToStopWhileItsLastWordsPromiseARestartItTakesThemBack) {
  Reports gate;
  options_.last_words = [&](const Death& death) {
    reports_.say("restart " + std::to_string(death.restart / 1ms));
    if (death.restart > Duration{}) {
      gate.next();
    }
  };
  start();
  ASSERT_EQ(ask("tell 7"), "ok");
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  EXPECT_EQ(reports_.next(), "restart 4000");
  parent_->send(SIGTERM);
  gate.say("go");
  EXPECT_EQ(reports_.next(), "restart 0");
  EXPECT_EQ(parent_->wait(), kExitFailed);
}

TEST_F(Supervised, AnAddressThatIsTakenIsRefusedAtTheStart) {
  os::EpollScheduler scheduler;
  const auto taken = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(port_));
  ASSERT_TRUE(taken.ok());
  options_.say = [this](std::string_view line) { reports_.say(std::string(line)); };
  start([&](Inherited) { return 0; });
  EXPECT_EQ(parent_->wait(), kExitRefused);
  EXPECT_EQ(reports_.next(),
            "cannot listen on 127.0.0.1:" + std::to_string(port_) + ": Address already in use");
}

// -------------------------------------------------------------------------------- takeover-first

TEST_F(Supervised, TakeoverFirstFreesTheAddressBeforeTheLastWordsAreSpoken) {
  options_.on_crash = OnCrash::kTakeoverFirst;
  options_.let_go = [&] {
    reports_.say(Connection(port_).connected() ? "let go while listening" : "let go too late");
  };
  options_.last_words = [&](const Death& death) {
    os::EpollScheduler scheduler;
    const bool free = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(port_)).ok();
    reports_.say("words of " + std::to_string(death.incarnation) + " restart " +
                 std::to_string(death.restart / 1ms) + (free ? " free" : " taken"));
  };
  start();
  EXPECT_EQ(ask("tell 5"), "ok");
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  EXPECT_EQ(reports_.next(), "let go while listening");
  EXPECT_EQ(reports_.next(), "words of 5 restart 0 free");
  next_child();
  EXPECT_EQ(Connection(port_).error(), ECONNREFUSED) << "a standby listens";
}

TEST_F(Supervised, AStandbyAsksForItsListenersWhenItServesAgain) {
  options_.on_crash = OnCrash::kTakeoverFirst;
  start([&](Inherited inherited) {
    if (inherited.crashes > 0) {
      ParentLink link(dup(inherited.channel));
      const Result<int> opened = link.open_listener(0);
      if (inherited.listeners != std::vector<int>{-1} || !opened.ok()) {
        return kExitRefused;
      }
      inherited.listeners[0] = opened.value();
    }
    return serve_commands(std::move(inherited), reports_);
  });
  child_ = next_child();
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  const pid_t next = next_child();
  EXPECT_EQ(ask("who"), std::to_string(next));
}

// ------------------------------------------------------------------------ what the child asks for

TEST_F(Supervised, AListenerThatIsClosedIsFreeForOthersAndComesBackWhenItIsFree) {
  const std::uint16_t second = free_port();
  options_.listeners.push_back(
      {.address = os::TcpAddress::loopback(second), .open_at_start = false});
  start();
  Connection control(port_);
  EXPECT_EQ(Connection(second).error(), ECONNREFUSED);
  EXPECT_EQ(control.ask("open 1"), "ok");
  EXPECT_EQ(Connection(second).ask("who"), std::to_string(child_));
  EXPECT_EQ(control.ask("close 1"), "ok");
  EXPECT_EQ(Connection(second).error(), ECONNREFUSED);
  {
    os::EpollScheduler scheduler;
    const auto partner = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(second));
    ASSERT_TRUE(partner.ok()) << partner.error().context;
    EXPECT_EQ(control.ask("open 1"), std::to_string(static_cast<int>(Errc::kExists)));
  }
  EXPECT_EQ(control.ask("open 1"), "ok");
  EXPECT_EQ(Connection(second).ask("who"), std::to_string(child_));
}

TEST_F(Supervised, AnOpenedListenerIsTheNextChildsToo) {
  const std::uint16_t second = free_port();
  options_.listeners.push_back(
      {.address = os::TcpAddress::loopback(second), .open_at_start = false});
  start();
  EXPECT_EQ(ask("open 1"), "ok");
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  const pid_t next = next_child();
  EXPECT_EQ(Connection(second).ask("who"), std::to_string(next));
}

// The partner of the same host is next in line for the address.
TEST_F(Supervised, AListenerInLineHandsItsClientsToThePartnerWithoutRefusingAny) {
  options_.on_crash = OnCrash::kTakeoverFirst;
  options_.listeners[0].options.in_line = true;
  start();
  os::EpollScheduler scheduler;
  const auto partner =
      os::TcpListener::listen(scheduler, os::TcpAddress::loopback(port_), {.in_line = true});
  ASSERT_TRUE(partner.ok());
  EXPECT_EQ(ask("who"), std::to_string(child_));
  EXPECT_EQ(partner.value()->try_accept(), nullptr);
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  next_child();
  for (int i = 0; i < 20; ++i) {
    const Connection client(port_);
    EXPECT_TRUE(client.connected());
    EXPECT_NE(partner.value()->try_accept(), nullptr);
  }
}

TEST_F(Supervised, WhoWaitsInTheQueueOfADeadChildIsResetWhenThePartnerServes) {
  options_.on_crash = OnCrash::kTakeoverFirst;
  options_.listeners[0].options.reset_on_close = true;
  options_.reset_within = 1h;
  start();
  EXPECT_EQ(ask("tell 5"), "ok");
  freeze(child_);
  Connection queued(port_);
  ASSERT_TRUE(queued.connected());
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  EXPECT_EQ(reports_.next().rfind("words", 0), 0U);
  child_ = next_child();
  EXPECT_FALSE(queued.ended()) << "before the partner serves";
  os::EpollScheduler scheduler;
  const auto partner = os::TcpListener::listen(scheduler, os::TcpAddress::loopback(port_));
  ASSERT_TRUE(partner.ok());
  EXPECT_TRUE(queued.ends());
}

TEST_F(Supervised, AChildThatAsksNonsenseHarmsNobody) {
  start();
  Connection control(port_);
  EXPECT_EQ(control.ask("open 1"), std::to_string(static_cast<int>(Errc::kInvalid)));
  EXPECT_EQ(control.ask("close 4000000000"), std::to_string(static_cast<int>(Errc::kInvalid)));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(control.ask("garbage"), "ok");
  }
  EXPECT_EQ(control.ask("tell 6"), "ok") << "the parent answers no more";
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  EXPECT_EQ(reports_.next(), "words 6 cause 3 restart 4000 crashes 1");
  EXPECT_EQ(ask("who"), std::to_string(next_child()));
}

// ------------------------------------------------------------------------ what may fail or hang

TEST_F(Supervised, LastWordsThatHangOrCrashHoldNothingUp) {
  options_.words_limit = 500ms;
  options_.last_words = [&](const Death& death) {
    reports_.say("words");
    if (death.crashes == 1) {
      for (;;) {
        pause();
      }
    }
    abort();
  };
  start();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(ask("tell 1"), "ok");
    ASSERT_EQ(kill(child_, SIGKILL), 0);
    EXPECT_EQ(reports_.next(), "words");
    child_ = next_child();
    EXPECT_EQ(ask("who"), std::to_string(child_));
  }
}

TEST_F(Supervised, AChildWithoutAnIncarnationNeedsNoLastWords) {
  start();
  ASSERT_EQ(kill(child_, SIGKILL), 0);
  next_child();  // the next report: there were no words
}

}  // namespace
}  // namespace duet::supervisor
