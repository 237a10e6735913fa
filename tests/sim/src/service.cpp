#include "world/service.h"

#include <array>

namespace duet::world {

namespace {

ConstBytes bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text(const filer::Handle& handle) {
  return {reinterpret_cast<const char*>(handle.data.data()), handle.size};
}

std::string gather(const wafl::ReadResult& read) {
  std::string data;
  for (const wafl::Extent& extent : read.extents) {
    if (extent.buffer) {
      const ConstBytes part = extent.buffer.bytes().subspan(extent.offset, extent.bytes);
      data.append(reinterpret_cast<const char*>(part.data()), part.size());
    } else {
      data.append(extent.bytes, '\0');
    }
  }
  return data;
}

using filer::Caller;
using filer::Filer;

Task<Answer> setattr(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::SetattrRequest request;
  request.handle = bytes(operation.handle);
  request.changes = operation.changes;
  request.guard_ctime = operation.guard;
  filer::WccReply reply = co_await filer.setattr(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.first = reply.wcc;
  co_return answer;
}

Task<Answer> lookup(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::NameRequest request;
  request.directory = bytes(operation.handle);
  request.name = operation.name;
  filer::LookupReply reply = co_await filer.lookup(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.attributes = reply.attributes;
  answer.directory = reply.directory;
  if (!reply.error.has_value()) {
    answer.handle = text(reply.handle);
  }
  co_return answer;
}

Task<Answer> read(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::ReadRequest request;
  request.handle = bytes(operation.handle);
  request.offset = operation.offset;
  request.count = operation.count;
  filer::ReadReply reply = co_await filer.read(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.attributes = reply.attributes;
  answer.data = gather(reply.data);
  answer.end = reply.data.end_of_file;
  co_return answer;
}

Task<Answer> write(Filer& filer, const Caller& caller, const Operation& operation) {
  const ConstBytes data = bytes(operation.data);
  // In two pieces, as records lie in a receive buffer.
  const std::array<ConstBytes, 2> pieces{data.first(data.size() / 2),
                                         data.subspan(data.size() / 2)};
  filer::WriteRequest request;
  request.handle = bytes(operation.handle);
  request.offset = operation.offset;
  request.data = pieces;
  filer::WriteReply reply = co_await filer.write(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.first = reply.wcc;
  answer.count = reply.count;
  co_return answer;
}

Answer of_create(const filer::CreateReply& reply) {
  Answer answer;
  answer.error = reply.error;
  answer.attributes = reply.attributes;
  answer.first = reply.directory;
  if (reply.handle.has_value()) {
    answer.handle = text(*reply.handle);
  }
  return answer;
}

Task<Answer> create(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::CreateRequest request;
  request.directory = bytes(operation.handle);
  request.name = operation.name;
  request.mode = operation.mode;
  request.attributes = operation.changes;
  request.verifier = operation.verifier;
  filer::CreateReply reply = co_await filer.create(caller, request);
  co_return of_create(reply);
}

Task<Answer> make(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::MakeRequest request;
  request.directory = bytes(operation.handle);
  request.name = operation.name;
  request.type = operation.type;
  request.attributes = operation.changes;
  request.target = operation.name2;
  request.device = operation.device;
  filer::CreateReply reply = co_await filer.make(caller, request);
  co_return of_create(reply);
}

Task<Answer> remove(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::NameRequest request;
  request.directory = bytes(operation.handle);
  request.name = operation.name;
  filer::WccReply reply;
  if (operation.kind == Kind::kRemove) {
    reply = co_await filer.remove(caller, request);
  } else {
    reply = co_await filer.rmdir(caller, request);
  }
  Answer answer;
  answer.error = reply.error;
  answer.first = reply.wcc;
  co_return answer;
}

Task<Answer> rename(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::RenameRequest request;
  request.from_directory = bytes(operation.handle);
  request.from_name = operation.name;
  request.to_directory = bytes(operation.handle2);
  request.to_name = operation.name2;
  filer::RenameReply reply = co_await filer.rename(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.first = reply.from;
  answer.second = reply.to;
  co_return answer;
}

Task<Answer> link(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::LinkRequest request;
  request.handle = bytes(operation.handle);
  request.directory = bytes(operation.handle2);
  request.name = operation.name;
  filer::LinkReply reply = co_await filer.link(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.attributes = reply.attributes;
  answer.first = reply.directory;
  co_return answer;
}

Task<Answer> readdir(Filer& filer, const Caller& caller, const Operation& operation) {
  filer::ReaddirRequest request;
  request.directory = bytes(operation.handle);
  request.cookie = operation.cookie;
  request.verifier = operation.verifier;
  request.bytes_max = operation.bytes_max;
  request.reply_bytes_max = operation.reply_bytes_max;
  request.plus = operation.plus;
  filer::ReaddirReply reply = co_await filer.readdir(caller, request);
  Answer answer;
  answer.error = reply.error;
  answer.directory = reply.directory;
  answer.verifier = reply.verifier;
  answer.end = reply.end;
  answer.entries = std::move(reply.entries);
  co_return answer;
}

// Those that give an object's attributes and little else.
Task<Answer> look(Filer& filer, const Caller& caller, const Operation& operation) {
  Answer answer;
  const ConstBytes handle = bytes(operation.handle);
  if (operation.kind == Kind::kAccess) {
    filer::AccessReply reply = co_await filer.access(caller, handle, operation.wanted);
    answer.error = reply.error;
    answer.attributes = reply.attributes;
    answer.access = reply.access;
  } else if (operation.kind == Kind::kReadlink) {
    filer::ReadlinkReply reply = co_await filer.readlink(caller, handle);
    answer.error = reply.error;
    answer.attributes = reply.attributes;
    answer.data = std::move(reply.target);
  } else if (operation.kind == Kind::kFsstat) {
    filer::FsstatReply reply = co_await filer.fsstat(caller, handle);
    answer.error = reply.error;
    answer.attributes = reply.attributes;
  } else if (operation.kind == Kind::kCommit) {
    filer::CommitRequest request;
    request.handle = handle;
    filer::CommitReply reply = co_await filer.commit(caller, request);
    answer.error = reply.error;
    answer.first = reply.wcc;
  } else {
    filer::GetattrReply reply = co_await filer.getattr(caller, handle);
    answer.error = reply.error;
    if (!reply.error.has_value()) {
      answer.attributes = reply.attributes;
    }
  }
  co_return answer;
}

}  // namespace

Task<Answer> DirectService::call(const filer::Caller& caller, const Operation& operation) {
  switch (operation.kind) {
    case Kind::kSetattr:
      return setattr(filer_, caller, operation);
    case Kind::kLookup:
      return lookup(filer_, caller, operation);
    case Kind::kRead:
      return read(filer_, caller, operation);
    case Kind::kWrite:
      return write(filer_, caller, operation);
    case Kind::kCreate:
      return create(filer_, caller, operation);
    case Kind::kMake:
      return make(filer_, caller, operation);
    case Kind::kRemove:
    case Kind::kRmdir:
      return remove(filer_, caller, operation);
    case Kind::kRename:
      return rename(filer_, caller, operation);
    case Kind::kLink:
      return link(filer_, caller, operation);
    case Kind::kReaddir:
      return readdir(filer_, caller, operation);
    case Kind::kGetattr:
    case Kind::kAccess:
    case Kind::kReadlink:
    case Kind::kFsstat:
    case Kind::kCommit:
      break;
  }
  return look(filer_, caller, operation);
}

filer::Address address_of(std::uint32_t client) {
  filer::Address address{};
  address[10] = address[11] = 0xFF;
  address[12] = 10;
  address[14] = static_cast<std::uint8_t>(client >> 8U);
  address[15] = static_cast<std::uint8_t>(client);
  return address;
}

std::uint32_t client_at(const filer::Address& address) {
  return (std::uint32_t{address[14]} << 8U) | address[15];
}

filer::Caller caller_of(std::uint32_t client, std::uint32_t xid, const Operation& operation) {
  filer::Caller caller;
  caller.address = address_of(client);
  caller.port = 700;
  caller.xid = xid;
  caller.procedure = static_cast<std::uint32_t>(operation.kind);
  caller.checksum = crc32c(bytes(operation.handle + operation.name + operation.handle2 +
                                 operation.name2 + operation.data));
  return caller;
}

}  // namespace duet::world
