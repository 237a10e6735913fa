// Nfs3Program: NFS version 3 (RFC 1813) in front of a filer.
//
// Each procedure reads its arguments, asks the filer, and writes its results; the files in
// server/nfs3 are named after the procedures.
//
// Thread-safety: the reactor's thread; one object per reactor.

#pragma once

#include <array>
#include <cstdint>

#include "filer/filer.h"
#include "server/call.h"
#include "server/crossing.h"
#include "server/statistics.h"

namespace duet::server {

class Nfs3Program final : public Program {
 public:
  static constexpr std::uint32_t kProcedures = 22;

  // `crossing`: null when the filer's strand is this reactor's scheduler.
  // Borrows both.
  explicit Nfs3Program(filer::Filer& filer, Crossing* crossing = nullptr)
      : filer_(filer), crossing_(crossing) {}

  [[nodiscard]] std::uint32_t number() const override { return kNfsProgram; }
  [[nodiscard]] std::uint32_t version_low() const override { return 3; }
  [[nodiscard]] std::uint32_t version_high() const override { return 3; }
  [[nodiscard]] std::uint32_t procedure_count(std::uint32_t /*version*/) const override {
    return kProcedures;
  }
  Task<AcceptStatus> serve(Call& call) override;
  [[nodiscard]] std::size_t reply_bytes(const Call& call) const override;
  [[nodiscard]] ProcedureStatistics* statistics(std::uint32_t procedure) override {
    return &statistics_[procedure];
  }

  // "GETATTR"; REQUIRES: procedure < kProcedures.
  [[nodiscard]] static const char* procedure_name(std::uint32_t procedure);

  [[nodiscard]] filer::Filer& filer() { return filer_; }
  [[nodiscard]] Crossing* crossing() { return crossing_; }

 private:
  filer::Filer& filer_;
  Crossing* crossing_;
  std::array<ProcedureStatistics, kProcedures> statistics_{};
};

}  // namespace duet::server
