// MountProgram: MOUNT version 3 (RFC 1813 appendix I), and of versions 1 and 2 what
// showmount and umount use.
//
// Thread-safety: the reactor's thread; one object per reactor.  MountList: the filer's strand.

#pragma once

#include <cstddef>
#include <deque>
#include <string>

#include "filer/filer.h"
#include "server/call.h"
#include "server/crossing.h"

namespace duet::server {

// Who has mounted what, as far as clients say; lost when the server stops.  Nothing depends on it.
class MountList {
 public:
  // More are forgotten, the oldest first: clients often forget to say that they unmount.
  static constexpr std::size_t kEntriesMax = 1024;
  struct Entry {
    std::string host;
    std::string path;
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  void add(Entry entry);
  void remove(const Entry& entry);
  void remove_host(const std::string& host);
  [[nodiscard]] const std::deque<Entry>& entries() const { return entries_; }

 private:
  std::deque<Entry> entries_;
};

class MountProgram final : public Program {
 public:
  // `list` is the filer's, shared by all reactors.  Borrows everything.
  MountProgram(filer::Filer& filer, MountList& list, Crossing* crossing = nullptr)
      : filer_(filer), list_(list), crossing_(crossing) {}

  [[nodiscard]] std::uint32_t number() const override { return kMountProgram; }
  [[nodiscard]] std::uint32_t version_low() const override { return 1; }
  [[nodiscard]] std::uint32_t version_high() const override { return 3; }
  [[nodiscard]] std::uint32_t procedure_count(std::uint32_t /*version*/) const override {
    return 6;
  }
  Task<AcceptStatus> serve(Call& call) override;
  [[nodiscard]] std::size_t reply_bytes(const Call& call) const override;

  // DUMP and EXPORT list no more than this; the rest is left out.  As much as a connection's bound
  // leaves below 2 MiB.
  static constexpr std::size_t kListBytesMax = 128U << 10U;

 private:
  Task<AcceptStatus> mount(Call& call);
  Task<AcceptStatus> dump(Call& call);
  Task<AcceptStatus> unmount(Call& call);
  Task<AcceptStatus> unmount_all(Call& call);
  Task<AcceptStatus> exports(Call& call);

  filer::Filer& filer_;
  MountList& list_;
  Crossing* crossing_;
};

}  // namespace duet::server
