// The client's jobs.

#pragma once

#include <fcntl.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "mount.h"
#include "tree.h"

namespace demo {

// Copies `tree` with `clients` connections at once.  A file's line is written to `journal` when
// the server has acknowledged all of it.
void copy(const Server& server, const Tree& tree, int clients, const std::string& journal);

// Compares each of `files` with its original, below `prefix` on the server.  The number of those
// that are missing or different.
std::uint64_t verify(const Server& server, const std::string& prefix, const std::string& root,
                     const std::vector<std::string>& files, int clients);

// Removes all of `tree`, and sees that the server's root is empty.
void remove(const Server& server, const Tree& tree, int clients);

// Changes, reads back and compares with `clients` connections until `stop_file` is there; then
// writes what must be on the server to `manifest`, and prints how long any client ever waited.
void work(const Server& server, int clients, const std::string& stop_file,
          const std::string& manifest);
// The number of things that are not as the manifest says.
std::uint64_t verify_work(const Server& server, const std::string& manifest);

// Writes `held_file` once it has mounted, and looks until `stop_file` is there.  True: its handle
// became stale, and a new mount works and has another fsid.
bool hold(const Server& server, const std::string& held_file, const std::string& stop_file);

// Gives the numbers 0 .. count - 1 to `clients` threads, each with its own connection.
template <typename Job>
void share_out(const Server& server, std::size_t count, int clients, Job job) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      const Mount connection = mount(server);
      for (std::size_t at = next++; at < count; at = next++) {
        job(connection.get(), at);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace demo
