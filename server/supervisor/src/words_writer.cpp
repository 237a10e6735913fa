#include "supervisor/words_writer.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "mailbox/observer.h"
#include "platform/linux/epoll_scheduler.h"
#include "platform/task_scope.h"
#include "platform/wait.h"
#include "shelf/linux/open_disk.h"

namespace duet::supervisor {

namespace {

// One member of the mailbox, and what came of it.
struct Member {
  shelf::DiskUrl url;
  std::unique_ptr<shelf::SharedDisk> disk;
  std::optional<Status> result;
};

class WordsWriter {
 public:
  WordsWriter(const WordsPlace& place, const Death& death, Duration patience)
      : writer_{.pair = place.pair,
                .node = place.node,
                .incarnation = mailbox::Incarnation{death.incarnation}},
        death_(death),
        patience_(patience),
        scope_(scheduler_) {
    for (const shelf::DiskUrl& url : place.members) {
      members_.push_back({.url = url});
    }
  }

  // All members at once: one that hangs holds back no other.
  Status run() {
    for (Member& member : members_) {
      scope_.spawn(write(member));
    }
    scope_.spawn(give_up());
    if (!done()) {
      scheduler_.run();
    }
    scope_.cancel();
    return verdict();
  }

 private:
  Task<void> write(Member& member) {
    shelf::OpenOptions options{
        .key = shelf::make_key(mailbox::index_of(writer_.node), death_.incarnation),
        .fail_after = patience_,
        .silence_max = patience_};
    auto opened = co_await shelf::open_shared_disk(scheduler_, member.url, std::move(options));
    if (!opened.ok()) {
      finish(member, opened.error());
      co_return;
    }
    member.disk = std::move(opened.value());
    mailbox::MemberDisks disks;
    disks.push_back(member.disk.get());
    const Status written =
        co_await mailbox::write_words(writer_, std::move(disks), writer_.incarnation, death_.cause,
                                      death_.restart, death_.crashes);
    finish(member, written);
  }

  Task<void> give_up() {
    co_await sleep(scheduler_, patience_);
    scheduler_.stop();
  }

  void finish(Member& member, const Status& result) {
    member.result = result;
    if (done()) {
      scheduler_.stop();
    }
  }
  [[nodiscard]] bool done() const {
    return std::ranges::all_of(members_,
                               [](const Member& each) { return each.result.has_value(); });
  }
  [[nodiscard]] Status verdict() const {
    Status result = Error{Errc::kTryAgain, "no mailbox member answered in time"};
    for (const Member& member : members_) {
      if (member.result && member.result->ok()) {
        return Ok{};
      }
      if (member.result) {
        result = *member.result;
      }
    }
    return result;
  }

  const mailbox::Writer writer_;
  const Death death_;
  const Duration patience_;
  os::EpollScheduler scheduler_;
  std::vector<Member> members_;
  TaskScope scope_;
};

}  // namespace

Status write_last_words(const WordsPlace& place, const Death& death, Duration patience) {
  if (death.incarnation == 0 || death.incarnation > shelf::kIncarnationMax) {
    return Error{Errc::kInvalid, "the process that ended had no incarnation"};
  }
  WordsWriter writer(place, death, patience);
  return writer.run();
}

}  // namespace duet::supervisor
