// Service: a way to the filer.

#pragma once

#include "filer/filer.h"
#include "platform/task.h"
#include "world/operation.h"

namespace duet::world {

class Service {
 public:
  virtual ~Service() = default;
  // `caller` and `operation` outlive the task.
  virtual Task<Answer> call(const filer::Caller& caller, const Operation& operation) = 0;
};

// The filer's own functions.
class DirectService final : public Service {
 public:
  explicit DirectService(filer::Filer& filer) : filer_(filer) {}
  Task<Answer> call(const filer::Caller& caller, const Operation& operation) override;

 private:
  filer::Filer& filer_;
};

// Client `number`'s address and the checksum of its arguments.
[[nodiscard]] filer::Caller caller_of(std::uint32_t client, std::uint32_t xid,
                                      const Operation& operation);
[[nodiscard]] filer::Address address_of(std::uint32_t client);
[[nodiscard]] std::uint32_t client_at(const filer::Address& address);

}  // namespace duet::world
