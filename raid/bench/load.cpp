#include "load.h"

namespace duet::raid::bench {

namespace {

Task<void> work(Group& group, std::uint32_t worker,
                const std::function<std::optional<Call>(std::uint32_t)>& next) {
  for (std::optional<Call> call = next(worker); call.has_value(); call = next(worker)) {
    const std::array<MutableBytes, 1> parts = {call->bytes};
    Task<Status> task = call->write ? group.write(call->block, parts, call->kind, call->answer)
                                    : group.read(call->block, parts);
    const Status done = co_await std::move(task);
    DUET_CHECK(done.ok());
  }
}

}  // namespace

Task<void> load(Scheduler& scheduler, Group& group, std::uint32_t depth,
                std::function<std::optional<Call>(std::uint32_t worker)> next) {
  TaskScope workers(scheduler);
  for (std::uint32_t i = 0; i < depth; ++i) {
    workers.spawn(work(group, i, next));
  }
  co_await workers.join();
}

}  // namespace duet::raid::bench
