// What is left to do when the program ends by itself, after its own handlers: nothing is torn down.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <string>

#include "inside.h"
#include "messages.h"
#include "program_mappings.h"
#include "program_memory.h"

namespace vmm::run {
namespace {

std::uint64_t field_of_status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) * 1024;
  return 0;
}

std::string mib(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / static_cast<double>(MiB));
  return text;
}

void report() {
  const auto host = ProgramMemory::host().stats();
  const auto guest = ProgramMemory::guest().stats();
  if (!host || !guest) return;
  const auto heap = ProgramMemory::any_heap().stats();
  const auto anonymous = field_of_status("RssAnon");
  // Two figures of two moments: never less than nothing.
  const auto outside = anonymous - std::min(anonymous, guest->resident);
  say(("budget " + mib(host->memory) + ", consumed " + mib(host->consumed) + ", most of the process in memory " +
       mib(field_of_status("VmHWM")))
          .c_str());
  say(("guest " + mib(guest->memory) + ": malloc " + mib(heap.allocated) + ", mappings " +
       mib(ProgramMappings::of_process().mapped()) + "; in memory " + mib(guest->resident) + ", in the swap file " +
       mib(guest->swapped) + "; anonymous memory outside of it " + mib(outside))
          .c_str());
  say(("swapped out " + mib(guest->swapped_out) + " (written " + mib(guest->swap_written) + ") and in " +
       mib(guest->swapped_in) + "; faults " + std::to_string(guest->faults) + ", of them " +
       std::to_string(guest->swap_ins) + " for the swap file, that took " +
       std::to_string(guest->swap_in_latency.p50_ns / 1000) + " us (median) to " +
       std::to_string(guest->swap_in_latency.p99_ns / 1000) + " us (99 %)")
          .c_str());
}

__attribute__((destructor)) void end() noexcept {
  static std::atomic<bool> done{false};
  if (!ProgramMemory::is_this_process() || done.exchange(true)) return;
  const Inside here;
  const auto& settings = ProgramMemory::settings();
  if (settings.report_at_exit) report();
  if (!settings.stats_socket.empty()) ::unlink(with_process_id(settings.stats_socket, ::getpid()).c_str());
}

}  // namespace
}  // namespace vmm::run

// Shells end like this.
extern "C" __attribute__((visibility("default"))) void _exit(int status) {
  vmm::run::end();
  for (;;) ::syscall(SYS_exit_group, status);
}

extern "C" __attribute__((visibility("default"))) void _Exit(int status) noexcept { ::_exit(status); }
