// Results that several procedures share (RFC 1813 section 2).
// Thread-safety: as the writer.

#pragma once

#include "filer/request.h"
#include "nfs3/nfs3_format.h"
#include "server/xdr.h"

namespace duet::server::nfs3 {

void write_attributes(XdrWriter& out, const filer::FileAttributes& file);  // fattr3
void write_post(XdrWriter& out, const filer::PostAttributes& attributes);  // post_op_attr
void write_wcc(XdrWriter& out, const filer::WccData& wcc);                 // wcc_data
void write_handle(XdrWriter& out, const filer::Handle& handle);            // nfs_fh3
void write_post_handle(XdrWriter& out, const std::optional<filer::Handle>& handle);
void write_time(XdrWriter& out, wafl::Timestamp time);  // nfstime3
inline void write_status(XdrWriter& out, Nfsstat status) {
  out.u32(static_cast<std::uint32_t>(status));
}

}  // namespace duet::server::nfs3
