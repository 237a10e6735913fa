#include "client_book.h"

#include <algorithm>
#include <cstring>

#include "client_book_format.h"

namespace duet::daemon {

namespace {

constexpr auto kChannel = interconnect::Channel::kClients;
constexpr std::size_t kEntriesPerMessage =
    (interconnect::kMessageBytesMax - sizeof(ClientsHeader)) / sizeof(ClientEntry);
constexpr int kMessagesPerBeat = 8;

ClientEntry entry_of(const address::Connection& connection) {
  return {.local = connection.local.ip,
          .client = connection.client.ip,
          .local_port = connection.local.port,
          .client_port = connection.client.port};
}

address::Connection connection_of(const ClientEntry& entry) {
  return {.local = {.ip = entry.local, .port = entry.local_port},
          .client = {.ip = entry.client, .port = entry.client_port}};
}

}  // namespace

ClientBook::ClientBook(Scheduler& scheduler, interconnect::PartnerLink& link)
    : scheduler_(scheduler), link_(link), tell_(*this) {
  link_.attach(kChannel, this);
}

ClientBook::~ClientBook() { link_.attach(kChannel, nullptr); }

server::AcceptObserver ClientBook::observer(const config::Filer& configured) {
  const bool moves = std::ranges::any_of(
      configured.listeners, [](const config::Listener& each) { return !each.interface.empty(); });
  if (!moves) {
    return {};
  }
  return [this, filer = configured.index()](const os::TcpAddress& local,
                                            const os::TcpAddress& client) {
    accepted(filer, {.local = local, .client = client});
  };
}

void ClientBook::accepted(std::uint32_t filer, const address::Connection& connection) {
  Page& page = pages_[filer];
  if (page.here.size() == kConnectionsKept) {
    page.here.pop_front();
    page.told -= page.told > 0 ? 1 : 0;
  }
  page.here.push_back(connection);
  if (!tell_.linked()) {
    scheduler_.post_last(tell_);
  }
}

void ClientBook::tell_partner() {
  if (!interconnect::connected(link_.status().state)) {
    return;
  }
  int messages = 0;
  for (std::uint32_t filer = 0; filer < failover::kFilers; ++filer) {
    while (pages_[filer].told < pages_[filer].here.size() && messages < kMessagesPerBeat &&
           tell(filer)) {
      ++messages;
    }
  }
}

bool ClientBook::tell(std::uint32_t filer) {
  Page& page = pages_[filer];
  const std::size_t count = std::min(kEntriesPerMessage, page.here.size() - page.told);
  ClientsHeader header;
  header.filer = filer;
  header.first = page.anew ? 1 : 0;
  header.count = static_cast<std::uint32_t>(count);
  std::vector<std::byte> message(sizeof(header) + count * sizeof(ClientEntry));
  store(message, 0, header);
  for (std::size_t i = 0; i < count; ++i) {
    store(message, sizeof(header) + i * sizeof(ClientEntry), entry_of(page.here[page.told + i]));
  }
  if (!link_.send(kChannel, message).ok()) {
    return false;  // the next beat tries again, in this session or another
  }
  page.told += count;
  page.anew = false;
  return true;
}

void ClientBook::on_link(const interconnect::LinkStatus& /*status*/) {
  for (Page& page : pages_) {
    page.told = 0;
    page.anew = true;
  }
}

void ClientBook::on_message(ConstBytes message) {
  if (message.size() < sizeof(ClientsHeader)) {
    return;
  }
  const auto header = load<ClientsHeader>(message, 0);
  const ConstBytes entries = message.subspan(sizeof(ClientsHeader));
  if (header.magic != kClientsMagic || header.version != kClientsVersion ||
      header.filer >= failover::kFilers || entries.size() != header.count * sizeof(ClientEntry)) {
    return;
  }
  Page& page = pages_[header.filer];
  if (header.first != 0) {
    page.there.clear();
  }
  for (std::size_t i = 0; i < header.count; ++i) {
    if (page.there.size() == kConnectionsKept) {
      page.there.pop_front();
    }
    page.there.push_back(connection_of(load<ClientEntry>(entries, i * sizeof(ClientEntry))));
  }
}

std::vector<address::Connection> ClientBook::begin(std::uint32_t filer) {
  Page& page = pages_[filer];
  std::vector<address::Connection> former(page.there.begin(), page.there.end());
  former.insert(former.end(), page.here.begin(), page.here.end());
  page.there.clear();
  page.here.clear();
  page.told = 0;
  page.anew = true;
  return former;
}

}  // namespace duet::daemon
