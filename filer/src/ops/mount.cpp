// MNT and EXPORT of MOUNT v3 (RFC 1813, 5.2).

#include "driver.h"
#include "ops/lookup.h"

namespace duet::filer {

namespace {

// Takes the first name off `path`, which may begin with slashes.
std::string_view take_name(std::string_view& path) {
  const std::size_t start = std::min(path.find_first_not_of('/'), path.size());
  path.remove_prefix(start);
  const std::string_view name = path.substr(0, path.find('/'));
  path.remove_prefix(name.size());
  return name;
}

// The path of a directory below an export may be mounted too, if the caller may search all
// that leads there: mode bits hide what they hide.
Status attempt_mount(Context& context, std::string_view path, MountReply& reply) {
  context.saw_administration = true;
  constexpr std::size_t kPathBytesMax = 1024;  // MNTPATHLEN
  if (path.size() > kPathBytesMax) {
    return Error{Errc::kNameTooLong, "mount: too long a path"};
  }
  Target target;
  target.volume = context.filer.aggregate->find_volume(take_name(path));
  if (target.volume == nullptr || target.volume->id() == wafl::kSystemVolume) {
    return Error{Errc::kNotFound, "mount: no such volume"};
  }
  const Result<ExportRule> rule = find_rule(context, *target.volume);
  if (!rule.ok()) {
    return rule.error();
  }
  target.rule = rule.value();
  if (target.volume->receiving()) {
    return Error{Errc::kTryAgain, "mount: a snapshot is being received into the volume"};
  }
  Result<wafl::InodeRef> root =
      target.volume->find_inode(context.attempt, wafl::kLive, wafl::kRootInode);
  if (!root.ok()) {
    return root.error();
  }
  target.inode = std::move(root.value());
  for (std::string_view name = take_name(path); !name.empty(); name = take_name(path)) {
    if (Status stepped = step(context, target, name); !stepped.ok()) {
      return stepped;
    }
  }
  if (!target.virtual_directory() && target.attributes().type != wafl::FileType::kDirectory) {
    return Error{Errc::kNotDirectory, "mount: of no directory"};
  }
  reply.handle = target_handle(context, target);
  return Ok{};
}

}  // namespace

Task<MountReply> Filer::mount(const Caller& caller, std::string_view path) {
  const auto look = [path](Context& context, MountReply& reply) {
    return attempt_mount(context, path, reply);
  };
  return run_look<MountReply>(*state_, caller, look);
}

std::vector<ExportLine> Filer::export_lines() const {
  std::vector<ExportLine> lines;
  for (const Export& entry : state_->exports.exports) {
    ExportLine& line = lines.emplace_back();
    line.path = entry.path;
    for (const ExportRule& rule : entry.rules) {
      line.clients.push_back(client_text(rule));
    }
  }
  return lines;
}

}  // namespace duet::filer
