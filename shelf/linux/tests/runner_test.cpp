// Kernel disks at the level of system calls: what SCSI, multipath and NVMe disks are told, and what
// their answers are taken for.

#include <gtest/gtest.h>

#include <linux/nvme_ioctl.h>
#include <linux/pr.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "command_runner.h"
#include "disk_work.h"
#include "platform/linux/run_task.h"
#include "shelf/fence.h"
#include "shelf/scsi_disk.h"

namespace duet::shelf {
namespace {

using os::run;

constexpr std::uint64_t kBlocks = 64;
constexpr DiskKey kA1 = make_key(0, 1);
constexpr DiskKey kA2 = make_key(0, 2);
constexpr DiskKey kB1 = make_key(1, 1);

std::uint64_t word(const void* from, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, static_cast<const std::byte*>(from) + at, sizeof(value));
  return value;
}

// A namespace with the reservations of the NVM Express base specification; keys are hosts'.
class FakeNamespace {
 public:
  int submit(int host, unsigned long request, nvme_passthru_cmd& command) {
    auto* const bytes = reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(command.addr));
    EXPECT_EQ(command.nsid, 7U);
    if (request == NVME_IOCTL_ADMIN_CMD) {
      EXPECT_EQ(command.opcode, 0x06);
      bytes[31] = std::byte{offered};
      return 0;
    }
    const bool mine = keys.contains(host);
    switch (command.opcode) {
      case 0x0D:
        return change_key(host, command.cdw10, word(bytes, 0), word(bytes, 8));
      case 0x0E:
        return report(command, bytes);
      case 0x11:
        return mine && keys[host] == word(bytes, 0) ? acquire(host, command.cdw10, word(bytes, 8))
                                                    : kConflict;
      case 0x15:
        if (!mine || keys[host] != word(bytes, 0)) {
          return kConflict;
        }
        if ((command.cdw10 & 7U) == 1) {
          keys.clear();
        }
        if (holder == host || keys.empty()) {
          type = 0;
        }
        return 0;
      default:
        return 1;  // invalid opcode
    }
  }
  [[nodiscard]] bool lets_write(int host) const { return type == 0 || keys.contains(host); }

  static constexpr int kConflict = 0x4083;  // with "do not retry"
  std::uint8_t offered = 0x1F;
  bool extended_only = true;  // its host identifiers have 128 bits
  bool replaces_unregistered = true;
  std::map<int, std::uint64_t> keys;
  int holder = -1;
  std::uint8_t type = 0;
  bool persists = false;
  int aborted = 0;
  std::vector<std::byte> data = std::vector<std::byte>(kBlocks * kBlockBytes);

 private:
  int change_key(int host, std::uint32_t what, std::uint64_t current, std::uint64_t key) {
    const bool mine = keys.contains(host);
    const bool ignore = (what & 8U) != 0;
    const bool matches = mine && (ignore || keys[host] == current);
    switch (what & 7U) {
      case 0:
        if (mine && keys[host] != key) {
          return kConflict;
        }
        break;
      case 1:
        if (!matches) {
          return kConflict;
        }
        keys.erase(host);
        type = holder == host ? std::uint8_t{0} : type;
        return 0;
      case 2:
        if (!matches && !(ignore && replaces_unregistered)) {
          return kConflict;
        }
        break;
      default:
        return 2;
    }
    keys[host] = key;
    persists = what >> 30U == 3;
    return 0;
  }

  int acquire(int host, std::uint32_t what, std::uint64_t victim) {
    const auto wanted = static_cast<std::uint8_t>(what >> 8U);
    if ((what & 7U) == 0) {
      if (type != 0 && (holder != host || type != wanted)) {
        return kConflict;
      }
      holder = host;
      type = wanted;
      return 0;
    }
    bool found = false;
    bool held = false;
    for (auto each = keys.begin(); each != keys.end();) {
      if (each->second == victim) {
        found = true;
        held = held || each->first == holder;
        each = keys.erase(each);
      } else {
        ++each;
      }
    }
    if (!found) {
      return kConflict;
    }
    if (held && type != 0) {
      holder = host;
      type = wanted;
    }
    aborted += (what & 7U) == 2 ? 1 : 0;
    return 0;
  }

  int report(const nvme_passthru_cmd& command, std::byte* bytes) {
    const bool extended = (command.cdw11 & 1U) != 0;
    if (extended != extended_only) {
      return 0x18;  // host identifier inconsistent format
    }
    EXPECT_EQ((command.cdw10 + 1) * 4, command.data_len);
    bytes[0] = std::byte{3};
    bytes[4] = std::byte{type};
    bytes[5] = static_cast<std::byte>(keys.size());
    std::size_t at = extended ? 64 : 24;
    for (const auto& [host, key] : keys) {
      bytes[at + 2] = std::byte{static_cast<std::uint8_t>(type != 0 && host == holder ? 1 : 0)};
      std::memcpy(bytes + at + (extended ? 8 : 16), &key, sizeof(key));
      at += extended ? 64 : 24;
    }
    return 0;
  }
};

class NvmeCalls final : public DeviceCalls {
 public:
  NvmeCalls(FakeNamespace& space, int host) : space_(space), host_(host) {}
  int control(unsigned long request, void* argument) override {
    return space_.submit(host_, request, *static_cast<nvme_passthru_cmd*>(argument));
  }
  std::int64_t read(const std::vector<iovec>& parts, std::uint64_t offset) override {
    std::memcpy(parts.front().iov_base, space_.data.data() + offset, parts.front().iov_len);
    return static_cast<std::int64_t>(parts.front().iov_len);
  }
  std::int64_t write(const std::vector<iovec>& parts, std::uint64_t offset, bool durable) override {
    EXPECT_TRUE(durable);
    if (!space_.lets_write(host_)) {
      return -EBADE;
    }
    // Half of it at a time, as a kernel may.
    const std::size_t count = std::min<std::size_t>(parts.front().iov_len, 2048);
    std::memcpy(space_.data.data() + offset, parts.front().iov_base, count);
    return static_cast<std::int64_t>(count);
  }
  int flush() override { return 0; }

 private:
  FakeNamespace& space_;
  const int host_;
};

class Nvme : public ::testing::Test {
 protected:
  std::unique_ptr<ScsiDisk> open(int host, DiskKey key) {
    auto runner = nvme_runner(std::make_shared<NvmeCalls>(space_, host), 7, kBlocks, 1000);
    auto transport = kernel_transport(scheduler_, "nvme", std::move(runner));
    auto opened = run(
        scheduler_, ScsiDisk::open(scheduler_, std::move(transport), {.key = key, .name = "nvme"}));
    EXPECT_TRUE(opened.ok()) << opened.error().context;
    return std::move(opened.value());
  }
  Errc code(Task<Status> task) {
    const Status status = run(scheduler_, std::move(task));
    return status.ok() ? Errc{} : status.error().code;
  }

  FakeNamespace space_;
  os::EpollScheduler scheduler_;
};

TEST_F(Nvme, ShutsAnotherNodeOutInItsOwnWords) {
  const auto a = open(1, kA1);
  const auto b = open(2, kB1);
  EXPECT_EQ(a->block_count(), kBlocks);
  EXPECT_EQ(code(do_reserve(*a, kWe)), Errc::kFenced) << "no key";
  EXPECT_EQ(code(join_disk(*a, kWe)), Errc{});
  EXPECT_TRUE(a->features().survives_power_loss && a->features().exclusive_access);
  EXPECT_TRUE(a->features().drains_on_abort);
  EXPECT_FALSE(a->features().compare_and_swap);
  EXPECT_TRUE(space_.persists);
  EXPECT_EQ(space_.type, 3) << "write exclusive, registrants only";
  EXPECT_EQ(code(write_durable(*b, 3, 1)), Errc::kFenced);
  EXPECT_EQ(code(join_disk(*b, kWe)), Errc{});
  EXPECT_EQ(code(write_durable(*b, 3, 1)), Errc{});
  EXPECT_EQ(space_.data[3 * kBlockBytes + 4095], std::byte{1});
  EXPECT_EQ(code(do_reserve(*b, kWe)), Errc::kRefused);
  EXPECT_EQ(code(fence_disk(*b, kWe)), Errc{});
  EXPECT_EQ(space_.aborted, 1);
  EXPECT_EQ(space_.holder, 2);
  EXPECT_EQ(code(write_durable(*a, 3, 2)), Errc::kFenced);
  EXPECT_EQ(code(do_preempt(*a, kB1)), Errc::kFenced);
  const auto state = run(scheduler_, do_state(*a));
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state.value().keys, std::vector{kB1});
  EXPECT_EQ(state.value().holder, kB1);
  EXPECT_EQ(state.value().reservation, kWe);
  EXPECT_EQ(code(do_release(*b)), Errc{});
  EXPECT_EQ(space_.type, 0);
  EXPECT_EQ(code(do_unregister(*b)), Errc{});
  EXPECT_TRUE(space_.keys.empty());
}

TEST_F(Nvme, ANewerProcessReplacesTheKeyOfItsMachine) {
  for (const bool replaces : {true, false}) {
    space_.replaces_unregistered = replaces;
    space_.keys.clear();
    space_.type = 0;
    const auto old = open(1, kA1);
    EXPECT_EQ(code(join_disk(*old, kWe)), Errc{}) << replaces;
    const auto young = open(1, kA2);
    EXPECT_EQ(code(join_disk(*young, kWe)), Errc{});
    EXPECT_EQ(run(scheduler_, do_state(*young)).value().keys, std::vector{kA2});
    EXPECT_EQ(code(do_register(*old)), Errc::kFenced);
    EXPECT_EQ(code(do_clear(*young)), Errc{});
    EXPECT_TRUE(space_.keys.empty());
  }
}

TEST_F(Nvme, ReadsReportsWithShortHostIdentifiersToo) {
  space_.extended_only = false;
  const auto a = open(1, kA1);
  EXPECT_EQ(code(join_disk(*a, Reservation::kExclusiveAccess)), Errc{});
  EXPECT_EQ(space_.type, 4);
  EXPECT_EQ(run(scheduler_, do_state(*a)).value().holder, kA1);
  EXPECT_EQ(run(scheduler_, do_state(*a)).value().reservation, Reservation::kExclusiveAccess);
}

TEST_F(Nvme, ClaimsNoMoreThanTheNamespaceSays) {
  space_.offered = 0x08;  // write exclusive for registrants
  const auto a = open(1, kA1);
  EXPECT_EQ(code(do_register(*a)), Errc{});
  EXPECT_FALSE(a->features().survives_power_loss);
  EXPECT_FALSE(a->features().exclusive_access);
  EXPECT_FALSE(space_.persists);
  EXPECT_EQ(code(fence_disk(*a, kWe)), Errc::kRefused);
}

// What SG_IO is given and gives.
class SgCalls final : public DeviceCalls {
 public:
  int control(unsigned long request, void* argument) override {
    requests.push_back(request);
    if (request != SG_IO) {
      const auto* const bytes = static_cast<std::byte*>(argument);
      changed.assign(bytes, bytes + _IOC_SIZE(request));
      return pr_outcome;
    }
    auto& header = *static_cast<sg_io_hdr*>(argument);
    header.status = status;
    header.host_status = host_status;
    header.sb_len_wr = static_cast<unsigned char>(sense.size());
    std::ranges::copy(sense, header.sbp);
    header.resid = resid;
    return outcome;
  }
  std::int64_t read(const std::vector<iovec>& /*parts*/, std::uint64_t /*offset*/) override {
    return -EIO;
  }
  std::int64_t write(const std::vector<iovec>& /*parts*/, std::uint64_t /*offset*/,
                     bool /*durable*/) override {
    return -EIO;
  }
  int flush() override { return -EIO; }

  unsigned char status = 0;
  unsigned short host_status = 0;
  std::vector<std::uint8_t> sense;
  int resid = 0;
  int outcome = 0;
  int pr_outcome = 0;
  std::vector<unsigned long> requests;
  std::vector<std::byte> changed;
};

struct Probe final : ScsiCommand {
  void run() override {}
  std::array<std::byte, 64> bytes{};
  MutableBytes part{bytes};
  Probe() {
    cdb[0] = 0x12;
    data = Data::kIn;
    parts = std::span<const MutableBytes>(&part, 1);
  }
};

TEST(SgRunner, TellsWhatBecameOfACommand) {
  const auto calls = std::make_shared<SgCalls>();
  const auto runner = sg_runner(calls, 1000);
  const auto said = [&](unsigned char status, unsigned short host) {
    calls->status = status;
    calls->host_status = host;
    Probe probe;
    runner->run(probe);
    return probe.status;
  };
  EXPECT_EQ(said(0, 0), ScsiStatus::kGood);
  EXPECT_EQ(said(0x18, 0x11), ScsiStatus::kReservationConflict);
  EXPECT_EQ(said(0x08, 0), ScsiStatus::kBusy);
  EXPECT_EQ(said(0x28, 0), ScsiStatus::kTaskSetFull);
  EXPECT_EQ(said(0x40, 0), ScsiStatus::kTaskAborted);
  EXPECT_EQ(said(0, 0x03), ScsiStatus::kTaskAborted) << "it took too long, and may have been done";
  EXPECT_EQ(said(0, 0x08), ScsiStatus::kTaskAborted) << "reset";
  EXPECT_EQ(said(0, 0x01), ScsiStatus::kLost) << "no connection";
  calls->outcome = -ENODEV;
  EXPECT_EQ(said(0, 0), ScsiStatus::kLost);
}

TEST(SgRunner, ReadsBothKindsOfSense) {
  const auto calls = std::make_shared<SgCalls>();
  const auto runner = sg_runner(calls, 1000);
  calls->status = 2;
  for (const auto& sense :
       {std::vector<std::uint8_t>{0x72, 0x06, 0x29, 0x03, 0, 0, 0, 0},
        std::vector<std::uint8_t>{0x70, 0, 0x06, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0x03, 0, 0}}) {
    calls->sense = sense;
    Probe probe;
    runner->run(probe);
    EXPECT_EQ(probe.status, ScsiStatus::kCheckCondition);
    EXPECT_EQ(probe.sense_key, 6);
    EXPECT_EQ(probe.sense_code, 0x2903);
  }
  calls->sense = {0x72};  // too short to say anything
  Probe probe;
  runner->run(probe);
  EXPECT_EQ(probe.sense_key, 0);
}

TEST(SgRunner, CountsWhatCame) {
  const auto calls = std::make_shared<SgCalls>();
  const auto runner = sg_runner(calls, 1000);
  calls->resid = 24;
  Probe probe;
  runner->run(probe);
  EXPECT_EQ(probe.received, 40U);
  calls->resid = 1000;
  runner->run(probe);
  EXPECT_EQ(probe.received, 0U);
}

// PERSISTENT RESERVE OUT, with its list.
struct ReserveOut final : ScsiCommand {
  void run() override {}
  std::array<std::byte, 24> bytes{};
  MutableBytes part{bytes};
  ReserveOut(std::uint8_t action, std::uint8_t type, std::uint8_t key, std::uint8_t other) {
    cdb[0] = 0x5F;
    cdb[1] = action;
    cdb[2] = type;
    bytes[7] = std::byte{key};
    bytes[15] = std::byte{other};
    data = Data::kOut;
    parts = std::span<const MutableBytes>(&part, 1);
  }
};

TEST(MultipathRunner, ChangesKeysThroughTheKernelAndAsksAPath) {
  const auto calls = std::make_shared<SgCalls>();
  const auto runner = multipath_runner(calls, sg_runner(calls, 1000));
  const auto sent = [&](std::uint8_t action, std::uint8_t key, std::uint8_t other) {
    ReserveOut out(action, 5, key, other);
    runner->run(out);
    EXPECT_EQ(out.status, ScsiStatus::kGood);
    return calls->requests.back();
  };
  EXPECT_EQ(sent(6, 0, 9), IOC_PR_REGISTER);
  EXPECT_EQ(word(calls->changed.data(), 8), 9U);
  EXPECT_EQ(word(calls->changed.data(), 16), std::uint64_t{PR_FL_IGNORE_KEY});
  EXPECT_EQ(sent(0, 9, 0), IOC_PR_REGISTER);
  EXPECT_EQ(word(calls->changed.data(), 0), 9U);
  EXPECT_EQ(word(calls->changed.data(), 8), 0U);
  EXPECT_EQ(sent(1, 9, 0), IOC_PR_RESERVE);
  EXPECT_EQ(word(calls->changed.data(), 8), std::uint64_t{PR_WRITE_EXCLUSIVE_REG_ONLY});
  EXPECT_EQ(sent(2, 9, 0), IOC_PR_RELEASE);
  EXPECT_EQ(sent(3, 9, 0), IOC_PR_CLEAR);
  EXPECT_EQ(sent(4, 9, 8), IOC_PR_PREEMPT);
  EXPECT_EQ(word(calls->changed.data(), 0), 9U) << "mine";
  EXPECT_EQ(word(calls->changed.data(), 8), 8U) << "the victim's";
  Probe probe;
  runner->run(probe);
  EXPECT_EQ(calls->requests.back(), static_cast<unsigned long>(SG_IO));
}

TEST(MultipathRunner, TakesTheKernelsAnswers) {
  const auto calls = std::make_shared<SgCalls>();
  const auto runner = multipath_runner(calls, sg_runner(calls, 1000));
  const auto said = [&](int outcome) {
    calls->pr_outcome = outcome;
    ReserveOut out(1, 5, 9, 0);
    runner->run(out);
    return out.status;
  };
  EXPECT_EQ(said(0), ScsiStatus::kGood);
  EXPECT_EQ(said(0x18), ScsiStatus::kReservationConflict);
  EXPECT_EQ(said(0x110018), ScsiStatus::kReservationConflict) << "with the adapter's word";
  EXPECT_EQ(said(-EBADE), ScsiStatus::kReservationConflict);
  EXPECT_EQ(said(2), ScsiStatus::kBusy) << "news of the unit";
  EXPECT_EQ(said(-EIO), ScsiStatus::kCheckCondition);
}

}  // namespace
}  // namespace duet::shelf
