#include "message.h"

#include <algorithm>

#include "raid/group.h"

namespace duet::raid {

bool is_later(const ScrubName& a, const ScrubName& b) {
  return a.number != b.number ? a.number > b.number : a.kind > b.kind;
}

LockBody encode_lock(const LockMessage& message) {
  return {.verb = static_cast<std::uint8_t>(message.verb),
          .mode = static_cast<std::uint8_t>(message.mode),
          .keep = static_cast<std::uint8_t>(message.keep),
          .flags = static_cast<std::uint8_t>((message.release_when_done ? 1 : 0) |
                                             (message.prefetched ? 2 : 0)),
          .extra = message.extra,
          .range = static_cast<std::uint64_t>(message.range)};
}

Result<LockMessage> decode_lock(ConstBytes bytes) {
  if (bytes.size() != sizeof(LockBody)) {
    return Error{Errc::kCorrupt, "a lock message of another size"};
  }
  const auto body = load<LockBody>(bytes, 0);
  if (body.verb < 1 || body.verb > 6 || body.mode > 2 || body.keep > 1 || body.flags > 3) {
    return Error{Errc::kCorrupt, "a lock message that says nothing"};
  }
  return LockMessage{.verb = static_cast<LockVerb>(body.verb),
                     .mode = static_cast<LockMode>(body.mode),
                     .keep = static_cast<LockMode>(body.keep),
                     .release_when_done = (body.flags & 1U) != 0,
                     .prefetched = (body.flags & 2U) != 0,
                     .extra = body.extra,
                     .range = LockRange{body.range}};
}

bool sane(const LockMessage& message, const GroupLabel& label) {
  return static_cast<std::uint64_t>(message.range) <= (label.stripes - 1) / label.range_stripes;
}

bool sane(const PrepareBody& body, const GroupLabel& label) {
  return ((body.members | body.owed) & ~label.nodes) == 0 && (body.joiners & ~body.members) == 0 &&
         (body.holders & ~body.members) == 0 && body.holders != 0;
}

std::vector<DiskId> ids_of(const Wish& wish) {
  std::vector<DiskId> ids;
  switch (static_cast<WishVerb>(wish.verb)) {
    case WishVerb::kAddSpare:
    case WishVerb::kReplace:
      ids.push_back(wish.id);
      break;
    case WishVerb::kExpand:
      ids.push_back(wish.id);
      ids.insert(ids.end(), wish.more.begin(), wish.more.begin() + wish.disk - 1);
      break;
    case WishVerb::kNone:
    case WishVerb::kRemoveSpare:
    case WishVerb::kAddVirtualDisk:
    case WishVerb::kReturn:
    case WishVerb::kReturnItself:
    case WishVerb::kKeepOut:
      break;
  }
  return ids;
}

std::string name_of(const Wish& wish) {
  return {wish.name.begin(), std::ranges::find(wish.name, '\0')};
}

bool sane(const ReportBody& body, const GroupLabel& label) {
  const Wish& wish = body.wish;
  const bool expands = wish.verb == static_cast<std::uint32_t>(WishVerb::kExpand);
  return wish.verb <= static_cast<std::uint32_t>(WishVerb::kKeepOut) &&
         (expands ? wish.disk > 0 && wish.disk <= kExpandMax : wish.disk < label.disks) &&
         wish.name.back() == '\0';
}

bool sane(const ScrubName& name) {
  return name.number != 0 && name.kind <= static_cast<std::uint32_t>(ScrubKind::kTrustData);
}

bool sane(const ScrubStepBody& body, const GroupLabel& label) {
  const auto is_row = [&label](const ScrubRow& row) {
    return row.stripe < label.stripes && row.row < label.chunk_blocks &&
           (row.column < label.disks || row.column == ScrubFinding::kUnknown);
  };
  return sane(body.of) && body.rows <= kScrubRowsMax &&
         std::all_of(body.first.begin(), body.first.begin() + body.rows, is_row);
}

bool for_each_message(ConstBytes packet,
                      const std::function<void(const MessageHead&, ConstBytes)>& visit) {
  if (packet.size() < sizeof(PacketHead)) {
    return false;
  }
  const auto head = load<PacketHead>(packet, 0);
  const ConstBytes rest = packet.subspan(sizeof(PacketHead));
  if (head.magic != PacketHead().magic || head.checksum != crc32c(rest)) {
    return false;
  }
  for (const bool visiting : {false, true}) {
    for (std::size_t at = 0; at < rest.size();) {
      if (rest.size() - at < sizeof(MessageHead)) {
        return false;
      }
      const auto message = load<MessageHead>(rest, at);
      at += sizeof(MessageHead);
      if (rest.size() - at < message.body_bytes) {
        return false;
      }
      if (visiting) {
        visit(message, rest.subspan(at, message.body_bytes));
      }
      at += message.body_bytes;
    }
  }
  return true;
}

void Outbox::add(NodeId to, MessageKind kind, Generation generation, ConstBytes body) {
  std::vector<std::byte>& packet = packets_to_[number(to)];
  if (packet.size() + sizeof(MessageHead) + body.size() > Peers::kPacketBytesMax) {
    flush(to);
  }
  if (packet.empty()) {
    packet.resize(sizeof(PacketHead));
  }
  const MessageHead head = {.kind = static_cast<std::uint16_t>(kind),
                            .body_bytes = static_cast<std::uint16_t>(body.size()),
                            .generation = static_cast<std::uint64_t>(generation)};
  const ConstBytes bytes = bytes_of(head);
  packet.insert(packet.end(), bytes.begin(), bytes.end());
  packet.insert(packet.end(), body.begin(), body.end());
  ++messages_;
  if (!linked()) {
    scheduler_.post_last(*this);
  }
}

void Outbox::flush() {
  for (std::uint8_t i = 0; i < kNodesMax; ++i) {
    flush(NodeId{i});
  }
}

void Outbox::flush(NodeId to) {
  std::vector<std::byte>& packet = packets_to_[number(to)];
  if (packet.empty()) {
    return;
  }
  PacketHead head;
  head.checksum = crc32c(ConstBytes(packet).subspan(sizeof(PacketHead)));
  store(packet, 0, head);
  peers_.send(to, packet);
  packet.clear();
  ++packets_;
}

}  // namespace duet::raid
