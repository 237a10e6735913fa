// supervise: the small process that outlives the serving one (rule 7).
//
//              fork            exit 0, 1, 2
//   open --> serving child --------------------> let go, the same exit code
//              ^   | crashed, killed
//              |   |
//              |   +-- restart-first:  last words with a deadline;  listeners stay open -----+
//              |   +-- takeover-first: let go, listeners closed, last words without one -----+
//              |   +-- too often, or told to stop: the same as takeover-first, then exit 1   |
//              +-----------------------------------------------------------------------------+
//
// Invariants:
//   (1) Nobody serves unsupervised: a child whose parent is gone is killed by the kernel.
//   (2) Last words are written when every thread of the child is gone, and before the next child
//       starts.
//   (3) Under restart-first a listener that the child had open is never closed: what connects while
//       there is no child waits in its backlog.
//   (4) What may fail or hang (last words, addresses) runs in a process of its own, which is killed
//       when its time is over.
//   (5) The parent has one thread and opens no file between two children but sockets that it is
//       asked for.
//
// Thread-safety: the program's only thread, before it has started any other.

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "mailbox/mailbox_format.h"
#include "platform/linux/tcp.h"
#include "platform/scheduler.h"

namespace duet::supervisor {

inline constexpr std::size_t kListenersMax = 64;
inline constexpr std::size_t kCrashesMax = 32;

struct ListenerSpec {
  os::TcpAddress address;
  os::TcpOptions options;
  bool open_at_start = true;  // else when the child asks for it
};

enum class OnCrash : std::uint8_t { kRestartFirst, kTakeoverFirst };

// What the last words say of a child that is gone.
struct Death {
  std::uint64_t incarnation = 0;  // that it told; 0: it had none yet, and has touched no disk
  mailbox::Cause cause = mailbox::Cause::kCrashed;
  Duration restart{};         // the partner leaves it to this node for so long; zero: not at all
  std::uint64_t crashes = 0;  // within the window, this one included if it is one
};

struct SupervisorOptions {
  std::vector<ListenerSpec> listeners;  // at most kListenersMax
  OnCrash on_crash = OnCrash::kRestartFirst;
  Duration restart_deadline = std::chrono::seconds(5);
  // So many crashes in the window are restarts; one more ends it.  At most kCrashesMax.
  std::size_t restarts_max = 3;
  Duration crash_window = std::chrono::minutes(1);
  // How the child ends on its own, which is passed on; after last words, unless with 0 or
  // kExitRefused.
  std::vector<int> final_codes{0, 1, 2};
  // "Start me again, as a new incarnation": a node that was fenced or lost its filer (rule 3).  No
  // last words: its key is gone, or it has said all itself.  Counted like a crash.
  int again_code = 3;
  // Each runs in a process of its own, for no longer than its limit.
  std::function<void(const Death&)> last_words;  // see words_writer.h
  std::function<void()> let_go;                  // drops the addresses, before listeners are closed
  // Who connected after the child's death waits in a queue that nobody serves.  After let_go they
  // are reset when somebody answers at the address again, so late at most; zero: at once.
  Duration reset_within{};
  Duration words_limit = std::chrono::seconds(1);
  // One line for the trace of the program.
  std::function<void(std::string_view)> say;
};

// What the child starts with.
struct Inherited {
  // Listening, non-blocking sockets in the order of the options; -1: it is closed.  The child's.
  std::vector<int> listeners;
  int channel = -1;           // for ParentLink; the child's
  std::uint64_t crashes = 0;  // within the window, before this child; 0: the first start
};

inline constexpr int kExitFailed = 1;
inline constexpr int kExitRefused = 2;

// Serves through children until one ends for good, and returns what the program exits with.
// kExitRefused: a listener could not be opened at the start.  kExitFailed: too many crashes.
// SIGTERM and SIGINT are handed to the child, and no other follows; SIGHUP is handed on.  Not those
// that a terminal sends: the child has them already.
// REQUIRES: there is no other thread.
[[nodiscard]] int supervise(const SupervisorOptions& options,
                            const std::function<int(Inherited)>& serve);

}  // namespace duet::supervisor
