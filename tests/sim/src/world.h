// World: the state of one run, and the tasks in it.
//
//   serving (clients, operator) --death--> opening (death, again) --> survey --> serving
//
// What must outlive a death is here and not in a task: requests, and what the operator began.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/task_scope.h"
#include "world/history.h"
#include "world/run.h"
#include "world/service.h"
#include "world/survey.h"
#include "world/wire_service.h"
#include "world/workload.h"

namespace duet::world {

// How hard a world is, drawn from its seed.
struct Profile {
  NodeOptions node;
  WorkloadOptions workload;
  std::uint32_t clients = 3;
  std::uint64_t life_turns = 3000;  // at most, between deaths
  bool full = false;                // the aggregate is too small for what is written
};
[[nodiscard]] Profile draw_profile(std::uint64_t seed, Sabotage sabotage);

class World {
 public:
  World(const RunOptions& options, RunStatistics& statistics);

  Complaint run();

 private:
  // One file system as the clients know it.
  struct Volume {
    Volume(Tree tree, const Workload& asked) : history(std::move(tree)), workload(asked) {}
    History history;
    Workload workload;
  };
  struct Client {
    std::uint32_t number = 0;
    std::uint32_t xid = 0;
    Volume* volume = nullptr;
    bool ends = false;  // asks nothing new
    std::optional<History::RequestRef> request;
    filer::Caller caller;
    bool idle = true;
  };
  // A volume of its own with one client.
  struct Clone {
    std::string name;
    std::string snapshot;  // of vol0
    // None between add_clone() and the end of learn_clone(); the filer may die there.
    std::optional<Volume> volume;
    Client client;
  };
  // What the operator has begun and not heard the end of.
  enum class Job : std::uint8_t {
    kNone,
    kCreate,
    kDelete,
    kRename,
    kRestore,
    kClone,
    kDestroyClone,
  };

  std::unique_ptr<Service> make_service();
  Complaint begin();
  Complaint live();
  Complaint recover();
  Complaint open_until_open();
  Complaint try_blank_memory();
  Complaint settle();
  Complaint survey_all();
  Complaint finish();
  [[nodiscard]] Complaint requests_that_run();
  void die();
  void arm_faults();
  void start_tasks();
  [[nodiscard]] bool quiet() const;
  [[nodiscard]] bool excused(const Answer& answer) const;
  void fail(const Complaint& complaint);
  void say(const std::string& text) const;  // when verbose

  Task<void> serve(Client& client);
  Task<void> operate();
  Task<void> create_snapshot();
  Task<void> delete_snapshot();
  Task<void> rename_snapshot();
  Task<void> restore_snapshot();
  Task<void> look_at_snapshot(std::string name);
  Task<void> make_clone();
  Task<void> destroy_clone();
  Task<bool> learn_clone(Clone& clone);
  void snapshot_renamed(const std::string& from, const std::string& to);
  Complaint export_clones();
  void add_clone();
  void clone_gone(const std::string& name);
  [[nodiscard]] bool has_clones(const std::string& snapshot) const;
  [[nodiscard]] bool has_volume(const std::string& name);
  Task<void> open_node();
  Task<Status> settle_restore();
  void settle_create();
  void restored();
  [[nodiscard]] bool has_snapshot(const std::string& name);
  [[nodiscard]] std::vector<std::string> newer_than(const std::string& name);
  std::string pick_snapshot();

  const RunOptions options_;
  RunStatistics& statistics_;
  const Profile profile_;
  sim::SimScheduler scheduler_;
  sim::Random random_;
  Node node_;
  std::optional<Volume> vol0_;
  History* history_ = nullptr;  // of vol0
  std::vector<Client> clients_;
  std::vector<std::unique_ptr<Clone>> clones_;
  std::vector<std::unique_ptr<Clone>> gone_;  // destroyed; until their clients have ended
  std::unique_ptr<Service> service_;
  std::string root_;
  std::uint64_t steps_left_;
  bool faults_ = false;   // in this life
  bool pause_ = false;    // clients ask nothing new
  bool ending_ = false;
  bool io_failed_ = false;         // perhaps the filer gives nothing but errors now
  std::uint64_t io_errors_ = 0;    // in this life
  Job job_ = Job::kNone;
  std::string job_name_;
  std::string job_name2_;
  std::optional<History::RequestRef> pin_;
  std::uint64_t next_snapshot_ = 1;
  std::uint32_t next_clone_client_ = 100;
  std::optional<Status> opened_;
  Complaint complaint_;
  std::unique_ptr<TaskScope> scope_;
};

}  // namespace duet::world
