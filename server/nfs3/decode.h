// Arguments that several procedures share (RFC 1813 section 2).
//
// All read with a sticky reader: check ok() afterwards.  What they return is valid as long as the
// call.  Thread-safety: as the reader.

#pragma once

#include "filer/request.h"
#include "server/xdr.h"

namespace duet::server::nfs3 {

ConstBytes read_handle(XdrReader& in);
// filename3: at most 256 bytes of it, so that the filer can say NAMETOOLONG.
std::string_view read_name(XdrReader& in);
filer::NameRequest read_name_in(XdrReader& in);  // diropargs3

// nfstime3.  False, besides a failed reader: the nanoseconds are none.
bool read_time(XdrReader& in, wafl::Timestamp& time);
// sattr3.  False, besides a failed reader: a time has impossible nanoseconds (INVAL).
bool read_attributes(XdrReader& in, filer::SetAttributes& changes);

}  // namespace duet::server::nfs3
