#include "run.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <string_view>

#include "control.h"
#include "output.h"
#include "../run/program_file.h"
#include "vmm/units.h"

namespace vmmctl {
namespace {

constexpr int kFailed = 125;
constexpr std::uint64_t kLeastMemory = 16 * vmm::MiB;
constexpr std::uint64_t kLeastThreshold = 64 * vmm::KiB;
constexpr std::string_view kSocketName = "run-";

Result<std::uint64_t> bytes_of(const std::string& option, const std::string& text, std::uint64_t least) {
  const auto bytes = parse_bytes(text);
  if (!bytes) return fail(FailureKind::usage, option + " " + text + ": " + bytes.error().message());
  if (*bytes < least)
    return fail(FailureKind::usage, option + " " + text + ": at least " + std::to_string(least / vmm::KiB) + "K");
  return *bytes;
}

bool is_usable_directory(const std::string& path) {
  struct stat there {};
  return ::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode) && ::access(path.c_str(), W_OK | X_OK) == 0;
}

// Sockets of programs that were killed are still there.
void remove_stale_sockets(const std::string& directory) {
  DIR* const folder = ::opendir(directory.c_str());
  if (folder == nullptr) return;
  while (const dirent* const entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(kSocketName) || !name.ends_with(".vmm")) continue;
    int process = 0;
    const auto* const end = name.data() + name.size() - 4;
    const auto read = std::from_chars(name.data() + kSocketName.size(), end, process);
    if (read.ec != std::errc() || read.ptr != end || process <= 0) continue;
    const std::string path = directory + "/" + entry->d_name;
    struct stat there {};
    if (::lstat(path.c_str(), &there) != 0 || !S_ISSOCK(there.st_mode) || there.st_uid != ::geteuid()) continue;
    if (::kill(process, 0) != 0 && errno == ESRCH) ::unlink(path.c_str());
  }
  ::closedir(folder);
}

// Empty: there is no place for one.
std::string default_socket() {
  const char* const run_time = std::getenv("XDG_RUNTIME_DIR");
  for (const std::string directory : {run_time != nullptr ? run_time : "", ::geteuid() == 0 ? "/run" : "", "/tmp"}) {
    if (directory.empty() || directory.front() != '/' || !is_usable_directory(directory)) continue;
    remove_stale_sockets(directory);
    return directory + "/" + std::string(kSocketName) + "%p.vmm";
  }
  return {};
}

int failed(int status, const std::string& text) {
  warn("run: " + text);
  return status;
}

}  // namespace

std::uint64_t default_size(std::uint64_t memory, std::uint64_t swap_space_free) noexcept {
  const std::uint64_t wanted = memory > UINT64_MAX / 8 ? memory : 4 * memory;
  const std::uint64_t room = swap_space_free / 10 * 9;
  const std::uint64_t size = room != 0 ? std::min(wanted, room) : wanted;
  return std::max(size, kLeastMemory) / vmm::kHugePageSize * vmm::kHugePageSize;
}

Result<vmm::run::Settings> run_settings(const RunOptions& options, const vmm::Capabilities& machine) {
  vmm::run::Settings settings;
  std::uint64_t memory = machine.machine_memory / 10 * 9;
  if (machine.cgroup_limit != 0) memory = std::min(memory, machine.cgroup_limit / 10 * 9);
  if (!options.memory.empty()) {
    const auto bytes = bytes_of("--memory", options.memory, kLeastMemory);
    if (!bytes) return tl::unexpected(bytes.error());
    memory = settings.memory = *bytes;
  }
  settings.size = default_size(memory, machine.swap_space_free);
  if (!options.size.empty()) {
    const auto bytes = bytes_of("--size", options.size, kLeastMemory);
    if (!bytes) return tl::unexpected(bytes.error());
    settings.size = (*bytes + vmm::kHugePageSize - 1) / vmm::kHugePageSize * vmm::kHugePageSize;
  }
  if (!options.mmap_threshold.empty()) {
    const auto bytes = bytes_of("--mmap-threshold", options.mmap_threshold, kLeastThreshold);
    if (!bytes) return tl::unexpected(bytes.error());
    settings.mmap_threshold = *bytes;
  }
  settings.swap_directory = options.swap_directory;
  if (!options.no_stats_socket)
    settings.stats_socket = !options.stats_socket.empty() ? options.stats_socket : default_socket();
  settings.stats_control = options.control;
  settings.report_at_exit = options.report_at_exit;
  settings.children = options.children;
  settings.accept_baseline = options.accept_baseline;
  for (const std::string& path : {settings.swap_directory, settings.stats_socket})
    if (path.find('\n') != std::string::npos)
      return fail(FailureKind::usage, "a path may not hold a line's end: " + path);
  if (settings.children && !options.stats_socket.empty() && options.stats_socket.find("%p") == std::string::npos)
    return fail(FailureKind::usage, "--stats-socket " + options.stats_socket + ": with --children each process has one",
                "put %p into the path, which becomes the process's id");
  return settings;
}

Result<std::string> run_library() {
  std::array<char, PATH_MAX> self{};
  const auto length = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
  const std::string program = length > 0 ? self.data() : "";
  const std::string folder = program.substr(0, program.rfind('/'));
  const std::string name = "/libvmm/libvmm_run.so";
  std::string library;
  for (const std::string& path : {folder + name, folder + "/" VMMCTL_LIBRARIES + name}) {
    std::array<char, PATH_MAX> whole{};
    if (::realpath(path.c_str(), whole.data()) == nullptr) continue;
    library = whole.data();
    break;
  }
  if (library.empty())
    return fail(FailureKind::system,
                "libvmm_run.so is neither in " + folder + "/libvmm nor in " + folder + "/" VMMCTL_LIBRARIES "/libvmm",
                "it is built and installed with vmmctl, without sanitizers");
  if (library.find_first_of(" :\n$") != std::string::npos)
    return fail(FailureKind::system, library + ": LD_PRELOAD takes no path with blanks, colons or dollar signs",
                "move the build or the installation");
  return library;
}

int run(const RunOptions& options) {
  const auto library = run_library();
  if (!library) return failed(kFailed, library.error().message());
  const char* const path = std::getenv("PATH");
  const auto program = vmm::run::find_program(options.program.front(), path != nullptr ? path : "/usr/bin:/bin");
  if (program.status != 0) return failed(program.status, program.problem);
  if (const auto problem = vmm::run::why_not_preloadable(program.path); !problem.empty())
    return failed(kFailed, problem);
  auto settings = run_settings(options, vmm::probe(options.swap_directory));
  if (!settings) return failed(kFailed, settings.error().message());
  settings->library = *library;
  std::string preload = *library;
  if (const char* const former = std::getenv("LD_PRELOAD"); former != nullptr && *former != '\0') {
    settings->former_preload = former;
    preload += std::string(":") + former;
  }
  if (::setenv("LD_PRELOAD", preload.c_str(), 1) != 0 ||
      ::setenv(vmm::run::kSettingsVariable, to_text(*settings).c_str(), 1) != 0)
    return failed(kFailed, std::string("setenv: ") + std::strerror(errno));
  std::vector<char*> arguments;
  for (const std::string& word : options.program) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(program.path.c_str(), arguments.data());
  return failed(126, program.path + ": " + std::strerror(errno));
}

}  // namespace vmmctl
