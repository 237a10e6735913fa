#include "measure.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace duet::bench {
namespace {

using Clock = std::chrono::steady_clock;

// A payload this large goes straight from where it lies; copying a smaller one behind its
// arguments costs less than a second piece in the send.
constexpr size_t kGatherBytes = 16 * 1024;

class Runner {
 public:
  Runner(Workload& workload, Stream& stream, const MeasureOptions& options)
      : workload_(workload),
        stream_(stream),
        slots_(options.depth),
        batch_(options.batch),
        next_xid_(random_xid()) {}

  Result run(double warm_up_seconds, double seconds) {
    const auto start = Clock::now();
    begin_ = start + to_duration(warm_up_seconds);
    end_ = begin_ + to_duration(seconds);
    for (size_t slot = 0; slot < slots_.size(); ++slot) issue(slot, start);
    flush();
    while (in_flight_ > 0) {
      if (!stream_.receive()) die("the server closed the connection");
      for (auto record = stream_.next_record(); !record.empty(); record = stream_.next_record()) {
        complete(record);
      }
      flush();
    }
    return summarize();
  }

 private:
  struct Slot {
    uint32_t xid = 0;
    Clock::time_point sent;
    bool busy = false;
  };

  static Clock::duration to_duration(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  void issue(size_t slot, Clock::time_point now) {
    const bool over = now >= end_ && workload_.may_stop(slot);
    if (over || workload_.finished(slot)) return;
    const uint32_t xid = next_xid_++;
    const size_t mark =
        begin_call(out_, xid, kNfsProgram, static_cast<uint32_t>(workload_.procedure(slot)));
    const auto data = workload_.next(slot, out_);
    out_.end_record(mark, data.size());
    if (data.size() >= kGatherBytes) {
      stream_.send(out_.bytes(), data);
      out_.bytes().clear();
    } else {
      out_.fixed(data);
      if (!batch_) flush();
    }
    slots_[slot] = {xid, now, true};
    ++in_flight_;
  }

  void flush() {
    if (out_.bytes().empty()) return;
    stream_.send(out_.bytes());
    out_.bytes().clear();
  }

  void complete(std::span<const uint8_t> record) {
    Decoder reply(record);
    const uint32_t xid = open_reply(reply);
    const auto found = std::find_if(slots_.begin(), slots_.end(), [xid](const Slot& slot) {
      return slot.busy && slot.xid == xid;
    });
    errno = 0;
    if (found == slots_.end()) die("a reply to no call in flight");
    const auto slot = static_cast<size_t>(found - slots_.begin());
    if (!workload_.check(slot, reply)) die("a call failed or was not answered as asked");
    found->busy = false;
    --in_flight_;
    const auto now = Clock::now();
    if (now >= begin_ && now < end_) {
      latencies_ns_.push_back((now - found->sent).count());
      last_ = now;
    }
    issue(slot, now);
  }

  double percentile_us(double fraction) {
    if (latencies_ns_.empty()) return 0;
    const auto last = static_cast<double>(latencies_ns_.size() - 1);
    return static_cast<double>(latencies_ns_[static_cast<size_t>(fraction * last)]) / 1000;
  }

  Result summarize() {
    std::sort(latencies_ns_.begin(), latencies_ns_.end());
    Result result;
    result.operations = latencies_ns_.size();
    result.seconds = std::chrono::duration<double>(last_ - begin_).count();
    const double bytes = static_cast<double>(workload_.bytes_per_call() * result.operations);
    result.mib_per_second = bytes / result.seconds / (1 << 20);
    result.p50_us = percentile_us(0.5);
    result.p99_us = percentile_us(0.99);
    result.p999_us = percentile_us(0.999);
    result.max_us = percentile_us(1);
    return result;
  }

  Workload& workload_;
  Stream& stream_;
  std::vector<Slot> slots_;
  bool batch_;
  uint32_t next_xid_;
  size_t in_flight_ = 0;
  Encoder out_;
  Clock::time_point begin_, end_, last_;
  std::vector<int64_t> latencies_ns_;
};

}  // namespace

Result measure(Workload& workload, Stream& stream, const MeasureOptions& options) {
  return Runner(workload, stream, options).run(options.warm_up_seconds, options.seconds);
}

}  // namespace duet::bench
