#include "world/history.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace duet::world {

History::RequestRef History::begin(Operation operation, std::uint32_t client, std::uint32_t xid) {
  Request& request = running_.emplace_back();
  request.operation = std::move(operation);
  request.client = client;
  request.xid = xid;
  request.begin = newest_;
  return std::prev(running_.end());
}

Complaint History::logged(std::uint64_t sequence, std::int64_t now, std::uint32_t client,
                          std::uint32_t xid) {
  if (now <= newest_) {
    return "a record whose time is not later than those before it";
  }
  for (Request& request : running_) {
    if (request.client == client && request.xid == xid) {
      if (reply_is_kept(request.operation) && !request.records.empty()) {
        return "I7: done twice: " + describe(request, "");
      }
      request.records.push_back(now);
      journal_[now] = {sequence, &request, {}};
      newest_ = now;
      ++changes_;
      return {};
    }
  }
  return "a record of a request that nobody has asked";
}

Complaint History::recovered(std::uint64_t last) {
  for (auto event = journal_.begin(); event != journal_.end();) {
    if (event->second.request == nullptr || event->second.sequence <= last) {
      ++event;
      continue;
    }
    Request& request = *event->second.request;
    if (request.answer.has_value()) {
      return "I5: acknowledged and lost: " + describe(request, "");
    }
    std::erase(request.records, event->first);
    event = journal_.erase(event);
  }
  newest_ = journal_.empty() ? position_ : journal_.rbegin()->first;
  for (Request& request : ended_) {
    if (request.begin > newest_) {
      return "I5: an answer showed what is lost: " + describe(request, "");
    }
    request.end = std::min(*request.end, newest_);
  }
  for (Request& request : running_) {
    request.begin = std::min(request.begin, newest_);
  }
  return {};
}

Complaint History::end(RequestRef request, Answer answer) {
  request->answer = std::move(answer);
  request->end = newest_;
  ended_.splice(ended_.end(), running_, request);
  return advance();
}

History::RequestRef History::pin() { return begin({}, 0, 0); }

Complaint History::unpin(RequestRef pin) {
  running_.erase(pin);
  return advance();
}

void History::snapshot_taken(std::int64_t now, std::string name) {
  DUET_CHECK(now > position_);
  journal_[now] = {0, nullptr, std::move(name)};
  newest_ = std::max(newest_, now);
}

void History::snapshot_renamed(const std::string& from, const std::string& to) {
  auto node = snapshots_.extract(from);
  if (!node.empty()) {
    node.key() = to;
    snapshots_.insert(std::move(node));
  }
}

Complaint History::restored(const std::string& name) {
  DUET_CHECK(running_.empty());
  Complaint complaint = advance();
  DUET_CHECK(journal_.empty() || !complaint.empty());
  tree_.restore(snapshots_.at(name));
  return complaint;
}

Tree* History::snapshot(const std::string& name) {
  const auto found = snapshots_.find(name);
  return found == snapshots_.end() ? nullptr : &found->second;
}

Complaint History::match() {
  for (auto request = ended_.begin(); request != ended_.end();) {
    // What has records is held to the last one; or, if they are of earlier tries, comes after.
    if (!request->records.empty() || request->begin > position_) {
      ++request;
      continue;
    }
    Complaint complaint = tree_.check(request->operation, *request->answer);
    if (complaint.empty()) {
      request = ended_.erase(request);
      continue;
    }
    // No later state is allowed: it is wrong.
    if (*request->end <= position_) {
      return describe(*request, complaint);
    }
    ++request;
  }
  return {};
}

Complaint History::apply(std::int64_t now, const Event& event) {
  if (event.request == nullptr) {
    snapshots_.emplace(event.snapshot, tree_.as_snapshot());
    return {};
  }
  Request& request = *event.request;
  const bool last = request.records.back() == now;
  const bool holds = last && request.answer.has_value() && !request.answer->error.has_value();
  const Complaint complaint =
      tree_.apply(request.operation, now, holds ? &*request.answer : nullptr);
  if (!complaint.empty()) {
    return describe(request, complaint);
  }
  if (reply_is_kept(request.operation) && request.answer.has_value() && !holds) {
    return describe(request, "I7: it was done, and got " + text_of(request.answer->error));
  }
  if (holds) {
    std::erase_if(ended_, [&](const Request& other) { return &other == &request; });
  } else {
    std::erase(request.records, now);
  }
  return {};
}

Complaint History::advance() {
  std::int64_t horizon = newest_;
  for (const Request& request : running_) {
    horizon = std::min(horizon, request.begin);
  }
  for (;;) {
    if (Complaint complaint = match(); !complaint.empty()) {
      return complaint;
    }
    if (journal_.empty() || journal_.begin()->first > horizon) {
      return {};
    }
    const auto first = journal_.begin();
    const std::int64_t now = first->first;
    const Event event = first->second;
    journal_.erase(first);
    position_ = now;
    if (Complaint complaint = apply(now, event); !complaint.empty()) {
      return complaint;
    }
  }
}

Tree History::present() const {
  Tree tree = tree_;
  const auto learn = [&](std::int64_t position) {
    for (const Request& request : ended_) {
      if (request.records.empty() && request.begin <= position && position <= *request.end) {
        (void)tree.check(request.operation, *request.answer);
      }
    }
  };
  learn(position_);
  for (const auto& [now, event] : journal_) {
    if (event.request == nullptr) {
      continue;
    }
    const Request& request = *event.request;
    const bool holds = request.records.back() == now && request.answer.has_value() &&
                       !request.answer->error.has_value();
    (void)tree.apply(request.operation, now, holds ? &*request.answer : nullptr);
    learn(now);
  }
  return tree;
}

Complaint History::describe(const Request& request, const Complaint& what) {
  return "client " + std::to_string(request.client) + " xid " + std::to_string(request.xid) + " " +
         text_of(request.operation) + ": " + what;
}

}  // namespace duet::world
