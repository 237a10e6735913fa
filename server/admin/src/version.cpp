#include "admin/version.h"

namespace duet::admin {

std::string_view version() { return DUET_VERSION; }

}  // namespace duet::admin
