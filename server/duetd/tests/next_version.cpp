// Stands before the library's: this build says that it is another one.

#include "admin/version.h"

namespace duet::admin {

std::string_view version() { return "next"; }

}  // namespace duet::admin
