// Holders: the nodes of a view whose memories have the intents of all its nodes; and which of them
// takes over.  With GroupOptions::copies 0, or no more nodes than that, all nodes are holders.
//
// Whoever carries out what the dead had begun reads it in his own memory, so a holder leads.  Two
// sets of holders may count for a while: those of the view that this node is in, and those of the
// next one, if its leader died between label and COMMIT.  The label alone says which; it cannot
// change any more, as that leader is fenced.  So whoever might take over looks at it first, where
// the two sets would not name the same leader.

#include <algorithm>
#include <tuple>

#include "core.h"

namespace duet::raid {

// Of these members; this node, which leads, is one of them if it is a member.  In as many
// replication groups as can be, then those that are holders by now, then by number.
NodeSet Core::choose_holders(NodeSet members) const {
  const auto all = static_cast<std::uint32_t>(std::popcount(members));
  const std::uint32_t wanted = options_.copies == 0 ? all : std::min(options_.copies, all);
  std::array<std::uint32_t, 256> in_group{};  // holders that were chosen, by replication group
  NodeSet chosen = 0;
  const auto group = [this](NodeId node) { return options_.replication_groups[number(node)]; };
  const auto rank = [&](NodeId node) {
    return std::tuple(node != self_, in_group[group(node)], !contains(holders_, node), node);
  };
  for (std::uint32_t count = 0; count < wanted; ++count) {
    std::optional<NodeId> best;
    for_each_node(members & ~chosen, [&](NodeId node) {
      best = !best.has_value() || rank(node) < rank(*best) ? node : *best;
    });
    chosen |= only(*best);
    ++in_group[group(*best)];
  }
  return chosen;
}

// Who gets all that is live before the view counts.
NodeSet Core::new_holders(const PrepareBody& body) const {
  return body.holders & (body.joiners | ~holders_);
}

// The view that this node is prepared for, whose leader is gone, counts all the same.
bool Core::next_view_is_in_label() const {
  const NodeId leader{static_cast<std::uint8_t>(static_cast<std::uint64_t>(prepared_) % kNodesMax)};
  return prepared_ != view_ && gone(leader) && Generation{disks_.label().generation} == prepared_;
}

// Members that may lead, by what this node knows of the label.
NodeSet Core::heirs() const {
  const NodeSet here = members_ & ~gone_members();
  if (!next_view_is_in_label()) {
    return holders_ & here;
  }
  const GroupLabel& label = disks_.label();
  // Those who join cannot lead yet.  Where nothing is owed anybody can tell them that they may.
  const NodeSet heirs = label.holders & here;
  return heirs != 0 || label.owed != 0 ? heirs : label.managers & here;
}

// The lowest one, of those who stay if there are any; none: none.
NodeSet Core::leader_among(NodeSet nodes) const {
  const NodeSet stay = nodes & ~leaving_;
  const NodeSet from = stay != 0 ? stay : nodes;
  return from & (~from + 1);
}

// Whether the label may say that others lead than this node thinks.
bool Core::must_look_who_leads() const {
  const bool all_hold = holders_ == members_ && prepared_body_.holders == prepared_body_.members;
  const NodeSet here = members_ & ~gone_members();
  if (!active_ || stopped_.has_value() || all_hold || here == members_ ||
      looked_who_leads_ == changes_) {
    return false;
  }
  return contains(leaving_, self_) || (holders_ & here) == 0 ||
         (prepared_ != view_ &&
          leader_among(holders_ & here) != leader_among(prepared_body_.holders & here));
}

// Without a holder nobody knows what the dead had begun, and whether it is half done: that ends
// this manager.  A holder that comes back starts the group from cold, with the intents of all.
Task<void> Core::look_who_leads() {
  const std::uint64_t changes = changes_;
  co_await look_at_labels();
  if (stopped_.has_value() || changes != changes_) {
    co_return;
  }
  looked_who_leads_ = changes;
  const GroupLabel& label = disks_.label();
  if (contains(leaving_, self_) && !contains(label.managers, self_)) {
    stop({Errc::kClosed, "the redundancy group was closed"});  // and the message was lost
  } else if (heirs() == 0) {
    stop({Errc::kFenced, "all nodes that hold the redundancy group's intents are gone"});
  }
}

}  // namespace duet::raid
