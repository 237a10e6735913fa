#include "namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace duet::address {

namespace {

int current() { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

// No second of asking around whether another has an interface's own address.
void skip_duplicate_detection() {
  for (const char* const which : {"all", "default"}) {
    std::ofstream(std::string("/proc/sys/net/ipv6/conf/") + which + "/accept_dad") << "0";
  }
}

void enter(int fd) {
  if (setns(fd, CLONE_NEWNET) != 0) {
    std::abort();  // no test may go on in a network that is not its own
  }
}

}  // namespace

Namespace::Namespace() {
  const int back = current();
  if (unshare(CLONE_NEWNET) == 0) {
    fd_ = current();
    skip_duplicate_detection();
    enter(back);
  }
  close(back);
}

Namespace::~Namespace() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

bool Namespace::ip(const std::string& arguments) const {
  const Inside inside(*this);
  return std::system(("ip " + arguments).c_str()) == 0;
}

std::string Namespace::ip_says(const std::string& arguments) const {
  const Inside inside(*this);
  std::string said;
  FILE* const pipe = popen(("ip " + arguments).c_str(), "re");
  std::array<char, 512> buffer{};
  std::size_t got = 0;
  while (pipe != nullptr && (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0) {
    said.append(buffer.data(), got);
  }
  if (pipe != nullptr) {
    pclose(pipe);
  }
  return said;
}

Inside::Inside(const Namespace& there) : back_(current()) { enter(there.fd()); }

Inside::~Inside() {
  enter(back_);
  close(back_);
}

bool Network::build() {
  if (!lan.valid() || !a.valid() || !b.valid() || !client.valid()) {
    return false;
  }
  bool done = lan.ip("link add name br0 type bridge mcast_snooping 0") && lan.ip("link set br0 up");
  struct End {
    const Namespace& where;
    const char* digit;
  };
  for (const End& end : {End{a, "1"}, End{b, "2"}, End{client, "9"}}) {
    const std::string port = std::string("p") + end.digit;
    const std::string there =
        "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(end.where.fd());
    done = done && lan.ip("link add " + port + " type veth peer name eth0 netns " + there) &&
           lan.ip("link set " + port + " master br0 up") && end.where.ip("link set lo up") &&
           end.where.ip("link set eth0 up") &&
           end.where.ip(std::string("addr add 10.77.0.") + end.digit + "/24 dev eth0") &&
           end.where.ip(std::string("addr add fd77::") + end.digit + "/64 dev eth0 nodad");
  }
  return done && wait_until_up();
}

// The kernel tells bridge and IPv6 up to a second late that a cable has a carrier; until then they
// drop what they get.
bool Network::wait_until_up() const {
  const auto is_up = [](const Namespace& where) {
    return where.ip_says("-o link show dev eth0").find("state UP") != std::string::npos;
  };
  for (int i = 0; i < 500; ++i) {
    const std::string ports = lan.ip_says("-o -d link show master br0");
    std::size_t forwarding = 0;
    for (std::size_t at = ports.find("state forwarding"); at != std::string::npos;
         at = ports.find("state forwarding", at + 1)) {
      ++forwarding;
    }
    if (forwarding == 3 && is_up(a) && is_up(b) && is_up(client)) {
      return true;
    }
    usleep(10'000);
  }
  return false;
}

}  // namespace duet::address
