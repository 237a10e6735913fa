// Nodes that share a group, and the views in which they do.

#pragma once

#include <bit>
#include <cstdint>

namespace duet::raid {

// A node, as the group's configuration numbers it.
enum class NodeId : std::uint8_t {};
inline constexpr std::uint32_t kNodesMax = 8;
constexpr std::uint32_t number(NodeId node) { return static_cast<std::uint32_t>(node); }

// A set of nodes; bit i is node i.
using NodeSet = std::uint32_t;
constexpr NodeSet only(NodeId node) { return NodeSet{1} << number(node); }
constexpr bool contains(NodeSet set, NodeId node) { return (set & only(node)) != 0; }

// Calls visit(NodeId) for each member, lowest first.
template <typename Visit>
void for_each_node(NodeSet set, Visit visit) {
  for (; set != 0; set &= set - 1) {
    visit(NodeId{static_cast<std::uint8_t>(std::countr_zero(set))});
  }
}

// Drawn when a manager starts; never zero.
enum class Incarnation : std::uint64_t {};

// Of a view: who manages the group, and which disks are in sync.  Grows with each change of
// either; two leaders never propose the same one.
enum class Generation : std::uint64_t {};
inline constexpr Generation kNoGeneration{0};
constexpr Generation next_generation(Generation after, NodeId leader) {
  return Generation{((static_cast<std::uint64_t>(after) / kNodesMax) + 1) * kNodesMax +
                    number(leader)};
}

}  // namespace duet::raid
