// Networks of the test's own: namespaces joined by a bridge, gone with these objects.

#pragma once

#include <string>
#include <vector>

namespace duet::address {

// A network namespace; nothing is left of it when it and its sockets are gone.
class Namespace {
 public:
  Namespace();  // not valid(): not permitted
  ~Namespace();
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;

  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }
  // Runs ip(8) in it.  False: it failed.
  [[nodiscard]] bool ip(const std::string& arguments) const;
  // What ip(8) says in it.
  [[nodiscard]] std::string ip_says(const std::string& arguments) const;

 private:
  int fd_ = -1;
};

// This thread is in `there` as long as it lives.
class Inside {
 public:
  explicit Inside(const Namespace& there);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  int back_;
};

// Two servers and a client on one switch, each with its interface "eth0":
// a 10.77.0.1/24, b 10.77.0.2/24, client 10.77.0.9/24, and fd77:: with the same last digits.
struct Network {
  Namespace lan, a, b, client;

  [[nodiscard]] bool build();

 private:
  [[nodiscard]] bool wait_until_up() const;
};

}  // namespace duet::address
