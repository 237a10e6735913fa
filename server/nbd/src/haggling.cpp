#include "haggling.h"

#include <algorithm>
#include <array>

namespace duet::nbd {

namespace {

constexpr std::uint32_t kNameBytesMax = 4096;        // of the protocol
constexpr std::uint32_t kOptionDataMax = 8192;       // the longest name and a lot of questions
constexpr std::uint32_t kOptionSkipMax = 1U << 20U;  // longer ones end the connection
constexpr int kOptionsMax = 100;

std::vector<std::byte> bytes_of_text(std::string_view text) {
  const ConstBytes bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Task<bool> Haggling::send(ConstBytes bytes) {
  ConstBytes part = bytes;
  const Status sent = co_await stream_.write_all(std::span<ConstBytes>(&part, 1));
  co_return sent.ok();
}

Task<bool> Haggling::reply(OptionReply type, ConstBytes data) {
  std::vector<std::byte> bytes(kOptionReplyBytes + data.size());
  store_big(bytes, 0, kOptionReplyMagic);
  store_big(bytes, 8, option_);
  store_big(bytes, 12, static_cast<std::uint32_t>(type));
  store_big(bytes, 16, static_cast<std::uint32_t>(data.size()));
  std::ranges::copy(data, bytes.begin() + kOptionReplyBytes);
  co_return co_await send(bytes);
}

// The text is for the person at the client.
Task<Haggling::Next> Haggling::refuse(OptionReply type, std::string_view why) {
  const bool sent = co_await reply(type, std::as_bytes(std::span(why)));
  co_return sent ? Next::kGoOn : Next::kEnd;
}

std::optional<Choice> Haggling::find(const std::string& name) const {
  const filer::ExportRule* const rule = hub_.rule(name, client_);
  const auto found = std::ranges::find(hub_.exports, name, &Export::name);
  if (rule == nullptr || found == hub_.exports.end()) {
    return std::nullopt;
  }
  return Choice{static_cast<std::size_t>(found - hub_.exports.begin()), !rule->read_write};
}

// A flush through one connection covers what others have written, on both nodes (README.md).
std::uint16_t Haggling::flags_of(const Choice& choice) const {
  const bool multi = !hub_.exports[choice.index].volatile_answers;
  return static_cast<std::uint16_t>(kHasFlags | kSendFlush | kSendFua |
                                    (multi ? kCanMultiConn : 0) |
                                    (choice.read_only ? kReadOnly : kSendWriteZeroes));
}

Task<std::optional<Choice>> Haggling::run() {
  std::array<std::byte, kGreetingBytes> greeting{};
  store_big(greeting, 0, kInitMagic);
  store_big(greeting, 8, kOptionMagic);
  store_big(greeting, 16, static_cast<std::uint16_t>(kFixedNewstyle | kNoZeroes));
  const bool greeted = co_await send(greeting);
  if (!greeted) {
    co_return std::nullopt;
  }
  std::array<std::byte, kClientFlagsBytes> answered{};
  const bool flags_there = co_await receiver_.fill(answered);
  const auto flags = load_big<std::uint32_t>(answered, 0);
  if (!flags_there || (flags & ~std::uint32_t{kFixedNewstyle | kNoZeroes}) != 0) {
    hub_.totals.violations += flags_there ? 1 : 0;
    co_return std::nullopt;
  }
  no_zeroes_ = (flags & kNoZeroes) != 0;
  for (int options = 0; options < kOptionsMax; ++options) {
    std::array<std::byte, kOptionBytes> header{};
    const bool there = co_await receiver_.fill(header);
    if (!there) {
      co_return std::nullopt;
    }
    if (load_big<std::uint64_t>(header, 0) != kOptionMagic) {
      break;
    }
    const auto option = load_big<std::uint32_t>(header, 8);
    const auto bytes = load_big<std::uint32_t>(header, 12);
    const Next next = co_await answer(option, bytes);
    if (next == Next::kServe) {
      co_return choice_;
    }
    if (next == Next::kEnd) {
      co_return std::nullopt;
    }
  }
  ++hub_.totals.violations;
  co_return std::nullopt;
}

Task<Haggling::Next> Haggling::answer(std::uint32_t option, std::uint32_t bytes) {
  option_ = option;
  if (bytes > kOptionDataMax) {
    if (bytes > kOptionSkipMax || option == static_cast<std::uint32_t>(Option::kExportName)) {
      ++hub_.totals.violations;
      co_return Next::kEnd;
    }
    const bool skipped = co_await receiver_.skip(bytes);
    if (!skipped) {
      co_return Next::kEnd;
    }
    co_return co_await refuse(OptionReply::kTooBig, "the option's data are too long");
  }
  data_.resize(bytes);
  const bool there = co_await receiver_.fill(data_);
  if (!there) {
    co_return Next::kEnd;
  }
  switch (static_cast<Option>(option)) {
    case Option::kExportName:
      co_return co_await export_name();
    case Option::kAbort: {
      const bool sent = co_await reply(OptionReply::kAcknowledged, ConstBytes());
      static_cast<void>(sent);
      co_return Next::kEnd;
    }
    case Option::kList:
      co_return co_await list();
    case Option::kInfo:
      co_return co_await info(false);
    case Option::kGo:
      co_return co_await info(true);
  }
  co_return co_await refuse(OptionReply::kUnsupported, "the server does not know the option");
}

Task<Haggling::Next> Haggling::list() {
  if (!data_.empty()) {
    co_return co_await refuse(OptionReply::kInvalid, "LIST has no data");
  }
  for (const Export& each : hub_.exports) {
    if (hub_.rule(each.name, client_) == nullptr) {
      continue;
    }
    std::vector<std::byte> entry(sizeof(std::uint32_t));
    store_big(entry, 0, static_cast<std::uint32_t>(each.name.size()));
    const std::vector<std::byte> name = bytes_of_text(each.name);
    entry.insert(entry.end(), name.begin(), name.end());
    const bool sent = co_await reply(OptionReply::kServer, entry);
    if (!sent) {
      co_return Next::kEnd;
    }
  }
  const bool sent = co_await reply(OptionReply::kAcknowledged, ConstBytes());
  co_return sent ? Next::kGoOn : Next::kEnd;
}

// bytes32 name count16 {what16}*.  All that there is to know is told, asked for or not.
Task<Haggling::Next> Haggling::info(bool go) {
  constexpr std::size_t kFixed = 4 + 2;
  const std::size_t bytes = data_.size();
  const std::uint32_t named = bytes < kFixed ? 0 : load_big<std::uint32_t>(data_, 0);
  bool valid = bytes >= kFixed && named <= kNameBytesMax && named <= bytes - kFixed;
  if (valid) {
    const std::size_t asked = load_big<std::uint16_t>(data_, 4 + named);
    valid = bytes == kFixed + named + 2 * asked;
  }
  if (!valid) {
    co_return co_await refuse(OptionReply::kInvalid, "the option's data make no sense");
  }
  const std::string name(reinterpret_cast<const char*>(data_.data()) + 4, named);
  const std::optional<Choice> choice = find(name);
  if (!choice) {
    co_return co_await refuse(OptionReply::kUnknown,
                              "there is no such export, or it is not for this address");
  }
  BlockDevice* const disk = hub_.exports[choice->index].disk();
  if (disk == nullptr || hub_.draining) {
    co_return co_await refuse(OptionReply::kShutdown,
                              "this node does not manage the redundancy group now");
  }
  std::array<std::byte, 12> about{};
  store_big(about, 0, static_cast<std::uint16_t>(Info::kExport));
  store_big(about, 2, std::uint64_t{disk->block_count() * kBlockBytes});
  store_big(about, 10, flags_of(*choice));
  std::array<std::byte, 14> sizes{};
  store_big(sizes, 0, static_cast<std::uint16_t>(Info::kBlockSize));
  store_big(sizes, 2, kBlockSizeMin);
  store_big(sizes, 6, kBlockSizePreferred);
  store_big(sizes, 10, kBlockSizeMax);
  // What is sent to a stream that broke is lost; the last one tells.
  const bool told = co_await reply(OptionReply::kInfo, about);
  const bool told_sizes = co_await reply(OptionReply::kInfo, sizes);
  const bool done = co_await reply(OptionReply::kAcknowledged, ConstBytes());
  choice_ = choice;
  if (!told || !told_sizes || !done) {
    co_return Next::kEnd;
  }
  co_return go ? Next::kServe : Next::kGoOn;
}

// The old way to choose: it can only be granted, or the connection ends.
Task<Haggling::Next> Haggling::export_name() {
  const std::string name(reinterpret_cast<const char*>(data_.data()), data_.size());
  choice_ = find(name);
  BlockDevice* const disk = choice_ ? hub_.exports[choice_->index].disk() : nullptr;
  if (disk == nullptr || hub_.draining) {
    co_return Next::kEnd;
  }
  std::array<std::byte, kExportNameReplyBytes + kExportNameZeroes> granted{};
  store_big(granted, 0, std::uint64_t{disk->block_count() * kBlockBytes});
  store_big(granted, 8, flags_of(*choice_));
  const ConstBytes all(granted);
  const ConstBytes wanted = no_zeroes_ ? all.first(kExportNameReplyBytes) : all;
  const bool sent = co_await send(wanted);
  co_return sent ? Next::kServe : Next::kEnd;
}

}  // namespace duet::nbd
