// Haggling: the handshake: greeting, options, and which export it is to be.
//
// Ownership: borrows everything; lives as long as run().  Thread-safety: the scheduler's thread.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub.h"
#include "nbd/nbd_format.h"
#include "receiver.h"

namespace duet::nbd {

struct Choice {
  std::size_t index = 0;  // of the hub's exports
  bool read_only = false;
};

class Haggling {
 public:
  Haggling(Hub& hub, ByteStream& stream, Receiver& receiver, const filer::Address& client)
      : hub_(hub), stream_(stream), receiver_(receiver), client_(client) {}
  Haggling(const Haggling&) = delete;
  Haggling& operator=(const Haggling&) = delete;

  // None: the connection ends.
  Task<std::optional<Choice>> run();

 private:
  enum class Next : std::uint8_t { kGoOn, kServe, kEnd };

  Task<Next> answer(std::uint32_t option, std::uint32_t bytes);
  Task<Next> list();
  Task<Next> info(bool go);
  Task<Next> export_name();
  // The export of that name if this client may have it.
  [[nodiscard]] std::optional<Choice> find(const std::string& name) const;
  [[nodiscard]] std::uint16_t flags_of(const Choice& choice) const;

  Task<bool> send(ConstBytes bytes);
  Task<bool> reply(OptionReply type, ConstBytes data);
  Task<Next> refuse(OptionReply type, std::string_view why);

  Hub& hub_;
  ByteStream& stream_;
  Receiver& receiver_;
  const filer::Address& client_;
  bool no_zeroes_ = false;
  std::uint32_t option_ = 0;     // being answered
  std::vector<std::byte> data_;  // its
  std::optional<Choice> choice_;
};

}  // namespace duet::nbd
