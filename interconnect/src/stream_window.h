// A RemoteWindow of a StreamLink; all of it happens in the link.

#pragma once

#include "interconnect/stream_link.h"

namespace duet::interconnect {

class StreamWindow final : public WindowBase {
 public:
  // `link` null: failed from the start.
  StreamWindow(Scheduler& scheduler, StreamLink* link, WindowId id, std::uint64_t epoch,
               std::uint32_t right, RemoteWindowUser& user);
  ~StreamWindow() override;

  [[nodiscard]] bool has_room(std::size_t bytes) override;
  std::uint64_t write(std::uint64_t offset, std::span<const ConstBytes> parts) override;

 private:
  friend class StreamLink;
  void session_ended();

  StreamLink* link_;
  const std::size_t id_;
  const std::uint64_t epoch_;
  const std::uint32_t right_;
  std::uint64_t written_ = 0;
  bool wants_room_ = false;
};

}  // namespace duet::interconnect
