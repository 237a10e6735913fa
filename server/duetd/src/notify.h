// Tells the service manager how far the server is (sd_notify(3)); nothing without $NOTIFY_SOCKET.

#pragma once

#include <string_view>

namespace duet::daemon {

// "READY=1", "STOPPING=1", "STATUS=..."; several are separated by newlines.
void notify(std::string_view state);

}  // namespace duet::daemon
