// The seams of one simulated node: its own drifting clock, and a process that can be frozen.
//
// All nodes share one SimScheduler.  A NodeScheduler runs its node's work in turns of it, and no
// work while the node is frozen; NodeDisk and NodeLink bring what completes elsewhere into such
// turns.

#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "interconnect/partner_link.h"
#include "platform/clock.h"
#include "platform/timers.h"
#include "shelf/shared_disk.h"
#include "sim/sim_scheduler.h"

namespace duet::pair {

class NodeScheduler final : public Scheduler {
 public:
  // The node's clock goes `ppm` millionths faster than true time, and began elsewhere.
  NodeScheduler(sim::SimScheduler& base, std::int64_t ppm, Duration offset)
      : base_(base), ppm_(ppm), offset_(offset), runner_(*this), alarm_(*this) {}

  [[nodiscard]] Instant now() const override { return here(base_.now()); }
  void post(Continuation& c) override {
    ready_[base_.random().below(kLists)].push_back(c);
    arm();
  }
  void post_last(Continuation& c) override { post(c); }
  void post_at(Continuation& c, Instant due) override {
    timers_.add(c, due);
    arm_alarm();
  }
  void post_all(ContinuationList& list) override {
    while (!list.empty()) {
      post(list.pop_front());
    }
  }

  void freeze() { frozen_ = true; }
  void thaw() {
    frozen_ = false;
    arm();
    arm_alarm();
  }
  [[nodiscard]] bool frozen() const { return frozen_; }
  [[nodiscard]] Instant here(Instant there) const {
    const auto ns = there.since_start.count();
    return Instant{Duration(ns + ns / 1'000'000 * ppm_) + offset_};
  }

 private:
  static constexpr std::size_t kLists = 4;
  struct Runner final : Continuation {
    explicit Runner(NodeScheduler& owner) : scheduler(owner) {}
    void run() override { scheduler.run_one(); }
    NodeScheduler& scheduler;
  };
  struct Alarm final : Continuation {
    explicit Alarm(NodeScheduler& owner) : scheduler(owner) {}
    void run() override { scheduler.arm(); }
    NodeScheduler& scheduler;
  };

  void arm() {
    if (!frozen_ && !runner_.linked()) {
      base_.post(runner_);
    }
  }
  void arm_alarm() {
    const std::optional<Instant> due = timers_.next_due();
    if (!due || frozen_) {
      return;
    }
    alarm_.unlink();
    const Duration ahead = std::max(Duration(0), *due - now());
    base_.post_at(alarm_, base_.now() + ahead + ahead / 1000 + std::chrono::microseconds(1));
  }
  void run_one() {
    if (frozen_) {
      return;
    }
    ContinuationList expired;
    timers_.expire(now(), expired);
    while (!expired.empty()) {
      ready_[base_.random().below(kLists)].push_back(expired.pop_front());
    }
    arm_alarm();
    const std::size_t first = base_.random().below(kLists);
    for (std::size_t i = 0; i < kLists; ++i) {
      ContinuationList& list = ready_[(first + i) % kLists];
      if (!list.empty()) {
        base_.post(runner_);
        (base_.random().one_in(2) ? list.pop_front() : list.pop_back()).run();
        return;
      }
    }
  }

  sim::SimScheduler& base_;
  const std::int64_t ppm_;
  const Duration offset_;
  bool frozen_ = false;
  std::array<ContinuationList, kLists> ready_;
  Timers timers_;
  Runner runner_;
  Alarm alarm_;
};

class NodeBootClock final : public BootClock {
 public:
  explicit NodeBootClock(const NodeScheduler& scheduler) : scheduler_(scheduler) {}
  [[nodiscard]] Instant now() const override { return scheduler_.now(); }

 private:
  const NodeScheduler& scheduler_;
};

// A disk whose completions wait for the node.
class NodeDisk final : public shelf::SharedDisk {
 public:
  NodeDisk(NodeScheduler& scheduler, std::unique_ptr<shelf::SharedDisk> disk)
      : scheduler_(scheduler), disk_(std::move(disk)) {}
  ~NodeDisk() override { disk_.reset(); }

  [[nodiscard]] std::uint64_t block_count() const override { return disk_->block_count(); }
  [[nodiscard]] std::string_view name() const override { return disk_->name(); }
  void start(BlockOperation& operation) override {
    Io& io = io_.emplace_back(*this, operation);
    io.self = std::prev(io_.end());
    disk_->start(io);
  }
  [[nodiscard]] shelf::DiskKey key() const override { return disk_->key(); }
  [[nodiscard]] shelf::DiskFeatures features() const override { return disk_->features(); }
  [[nodiscard]] shelf::DiskHealth health() const override { return disk_->health(); }
  void use_epoch(std::uint64_t epoch) override { disk_->use_epoch(epoch); }
  void begin_anew() override { disk_->begin_anew(); }
  void start_command(shelf::DiskCommand& command) override {
    Command& mine = commands_.emplace_back(*this, command);
    mine.self = std::prev(commands_.end());
    disk_->start_command(mine);
  }

 private:
  struct Io final : BlockOperation {
    Io(NodeDisk& owner, BlockOperation& what) : disk(owner), original(what) {
      kind = what.kind;
      block = what.block;
      parts = what.parts;
      fresh = what.fresh;
    }
    void run() override {
      original.result = result;
      disk.scheduler_.post(original);
      disk.io_.erase(self);
    }
    NodeDisk& disk;
    BlockOperation& original;
    std::list<Io>::iterator self;
  };
  struct Command final : shelf::DiskCommand {
    Command(NodeDisk& owner, shelf::DiskCommand& what)
        : DiskCommand(what.request), disk(owner), original(what) {}
    void run() override {
      original.result = result;
      original.state = std::move(state);
      disk.scheduler_.post(original);
      disk.commands_.erase(self);
    }
    NodeDisk& disk;
    shelf::DiskCommand& original;
    std::list<Command>::iterator self;
  };

  NodeScheduler& scheduler_;
  std::unique_ptr<shelf::SharedDisk> disk_;
  std::list<Io> io_;
  std::list<Command> commands_;
};

// A link whose events wait for the node.
class NodeLink final : public interconnect::PartnerLink {
 public:
  NodeLink(NodeScheduler& scheduler, std::unique_ptr<interconnect::PartnerLink> link)
      : scheduler_(scheduler), link_(std::move(link)) {
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      channels_[i] = std::make_unique<ChannelEnd>(*this);
    }
  }
  ~NodeLink() override {
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      link_->attach(interconnect::Channel{static_cast<std::uint8_t>(i)}, nullptr);
    }
  }

  [[nodiscard]] interconnect::LinkStatus status() const override {
    interconnect::LinkStatus status = link_->status();
    status.since = scheduler_.here(status.since);
    if (status.beat_changed != Instant{}) {
      status.beat_changed = scheduler_.here(status.beat_changed);
    }
    return status;
  }
  [[nodiscard]] const interconnect::LinkCounters& counters() const override {
    return link_->counters();
  }
  void attach(interconnect::Channel channel, interconnect::ChannelUser* user) override {
    ChannelEnd& end = *channels_[static_cast<std::size_t>(channel)];
    end.user = user;
    end.events.clear();
    link_->attach(channel, user == nullptr ? nullptr : &end);
  }
  Status send(interconnect::Channel channel, ConstBytes message) override {
    return link_->send(channel, message);
  }
  void beat() override { link_->beat(); }
  void grant(interconnect::WindowId window, std::uint64_t offset, std::uint64_t bytes,
             std::uint64_t epoch) override {
    link_->grant(window, offset, bytes, epoch);
  }
  void revoke(interconnect::WindowId window) override { link_->revoke(window); }
  [[nodiscard]] bool revocable() const override { return link_->revocable(); }
  [[nodiscard]] bool one_sided() const override { return link_->one_sided(); }
  std::unique_ptr<interconnect::RemoteWindow> open_window(
      interconnect::WindowId window, std::uint64_t epoch,
      interconnect::RemoteWindowUser& user) override {
    return std::make_unique<Window>(*this, window, epoch, user);
  }

 private:
  struct Event {
    bool is_message = false;
    std::vector<std::byte> message;
    interconnect::LinkStatus status;
  };
  struct ChannelEnd final : interconnect::ChannelUser, Continuation {
    explicit ChannelEnd(NodeLink& owner) : link(owner) {}
    void on_message(ConstBytes bytes) override {
      events.push_back({true, {bytes.begin(), bytes.end()}, {}});
      later();
    }
    void on_link(const interconnect::LinkStatus& status) override {
      events.push_back({false, {}, status});
      later();
    }
    void later() {
      if (!linked()) {
        link.scheduler_.post(*this);
      }
    }
    void run() override {
      if (events.empty() || user == nullptr) {
        return;
      }
      const Event event = std::move(events.front());
      events.pop_front();
      if (!events.empty()) {
        later();
      }
      event.is_message ? user->on_message(event.message) : user->on_link(event.status);
    }
    NodeLink& link;
    interconnect::ChannelUser* user = nullptr;
    std::list<Event> events;
  };
  class Window final : public interconnect::RemoteWindow,
                       interconnect::RemoteWindowUser,
                       Continuation {
   public:
    Window(NodeLink& link, interconnect::WindowId window, std::uint64_t epoch,
           interconnect::RemoteWindowUser& user)
        : link_(link), user_(user), inner_(link.link_->open_window(window, epoch, *this)) {}
    ~Window() override { inner_.reset(); }
    [[nodiscard]] bool has_room(std::size_t bytes) override { return inner_->has_room(bytes); }
    std::uint64_t write(std::uint64_t offset, std::span<const ConstBytes> parts) override {
      return inner_->write(offset, parts);
    }
    [[nodiscard]] std::uint64_t durable() const override { return inner_->durable(); }
    [[nodiscard]] Status status() const override { return inner_->status(); }
    void on_window() override {
      if (!linked()) {
        link_.scheduler_.post(*this);
      }
    }
    void run() override { user_.on_window(); }

   private:
    NodeLink& link_;
    interconnect::RemoteWindowUser& user_;
    std::unique_ptr<interconnect::RemoteWindow> inner_;
  };

  NodeScheduler& scheduler_;
  std::unique_ptr<interconnect::PartnerLink> link_;
  std::array<std::unique_ptr<ChannelEnd>, interconnect::kChannels> channels_;
};

}  // namespace duet::pair
