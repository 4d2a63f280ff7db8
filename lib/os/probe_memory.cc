// What the kernel does with memory beside what libvmm asks for.
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>

#include "base/text.h"
#include "os/call.h"
#include "os/file.h"
#include "os/kernel_abi.h"
#include "os/mapping.h"
#include "os/node_info.h"
#include "os/probe_parts.h"
#include "os/proc_text.h"
#include "vmm/units.h"

namespace vmm::os::probing {
namespace {

// 0 or an errno.
int try_pagemap_scan() {
  auto page = Mapping::anonymous(kPageSize);
  if (!page) return page.error().code.value();
  *page->data() = std::byte{1};
  const FileDescriptor pagemap(
      call(Call::pagemap_open, [] { return ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); }));
  if (!pagemap.valid()) return errno;
  page_region found{};
  pm_scan_arg scan{};
  scan.size = sizeof scan;
  scan.start = reinterpret_cast<std::uintptr_t>(page->data());
  scan.end = scan.start + kPageSize;
  scan.vec = reinterpret_cast<std::uintptr_t>(&found);
  scan.vec_len = 1;
  // In the kernel's swap already, at worst.
  scan.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
  scan.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
  const int regions = call(Call::pagemap_scan, [&] { return ::ioctl(pagemap.get(), PAGEMAP_SCAN, &scan); });
  if (regions < 0) return errno;
  return regions == 1 && found.start == scan.start && found.end == scan.end ? 0 : EIO;
}

void add_pagemap_scan(Capabilities& caps) {
  const int error = try_pagemap_scan();
  add(caps, "pagemap_scan", error == 0 ? CapabilityState::available : CapabilityState::missing,
      error == 0 ? "tried on a page, works"
                 : std::string(error == ENOTTY ? "the kernel does not offer it" : errno_text(error)),
      "without it /proc/self/pagemap is read instead: 8 bytes for every page looked at, and zero pages count as memory",
      "Linux >= 6.7, and a /proc that shows this process");
}

void add_mbind(Capabilities& caps) {
  const auto nodes = allowed_nodes();
  const int node = nodes && !nodes->empty() ? nodes->front() : 0;
  auto page = Mapping::anonymous(kPageSize);
  const int error =
      page ? bind_to_node(page->data(), kPageSize, node, NodePolicy::preferred) : page.error().code.value();
  add(caps, "mbind", error == 0 ? CapabilityState::available : CapabilityState::missing,
      error == 0 ? "tried with node " + std::to_string(node) + ", works" : errno_text(error),
      "without it a guest's memory comes from the node of the thread that touches it first, whatever its home node",
      "a kernel with CONFIG_NUMA; in a container allow mbind in the seccomp profile (CAP_SYS_NICE in some)");
}

void add_huge_pages(Capabilities& caps) {
  const std::string modes = read_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const auto open = modes.find('[');
  const auto close = modes.find(']');
  const std::string mode = open != std::string::npos && close != std::string::npos && open < close
                               ? modes.substr(open + 1, close - open - 1)
                               : "";
  add(caps, "transparent_huge_pages",
      mode == "always" || mode == "madvise" ? CapabilityState::available : CapabilityState::missing,
      mode.empty() ? "/sys/kernel/mm/transparent_hugepage/enabled cannot be read" : mode,
      "without them guests with large_pages use 4 KiB pages: more page-table memory and slower random access",
      "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

void add_ksm(Capabilities& caps) {
  const std::string run = read_line("/sys/kernel/mm/ksm/run");
  const bool running = run == "1";
  add(caps, "ksm", running ? CapabilityState::limited : CapabilityState::available,
      run.empty() ? "not in this kernel" : (running ? "running" : "not running"),
      "while the kernel merges pages, those it merged (only where asked to: MADV_MERGEABLE, PR_SET_MEMORY_MERGE) "
      "cannot be taken from a guest until they are written",
      "echo 2 > /sys/kernel/mm/ksm/run");
}

void add_kernel_swap(Capabilities& caps) {
  const auto text = read_small_file("/proc/swaps");
  constexpr const char* kConsequence =
      "while the kernel's own swap is on, it may write guest pages out by itself: they are read back before libvmm "
      "can take them, and pages it chose to keep may still be slow";
  constexpr const char* kRemedy = "swapoff -a, or memory.swap.max = 0 for the cgroup";
  if (!text) {
    add(caps, "kernel_swap", CapabilityState::limited, failure_text(text.error()), kConsequence, kRemedy);
    return;
  }
  // A heading, then a line per swap area.
  const auto lines = std::count(text->begin(), text->end(), '\n');
  const bool on = lines > 1;
  add(caps, "kernel_swap", on ? CapabilityState::limited : CapabilityState::available,
      on ? "on, areas: " + std::to_string(lines - 1) : "off", kConsequence, kRemedy);
}

void add_overcommit(Capabilities& caps) {
  const std::string mode = read_line("/proc/sys/vm/overcommit_memory");
  constexpr const char* kConsequence =
      "with mode 2 every guest counts with its whole memory against CommitLimit from its creation, and creation "
      "fails with ENOMEM beyond it";
  constexpr const char* kRemedy = "sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio";
  std::string detail = mode.empty() ? "/proc/sys/vm/overcommit_memory cannot be read" : "mode " + mode;
  if (mode == "2") {
    const auto meminfo = read_small_file("/proc/meminfo");
    const auto limit = meminfo ? number_of(field_of(*meminfo, "CommitLimit")) : std::nullopt;
    const auto used = meminfo ? number_of(field_of(*meminfo, "Committed_AS")) : std::nullopt;
    if (limit && used)
      detail += ", " + base::bytes_text(*used * KiB) + " of " + base::bytes_text(*limit * KiB) + " committed";
  }
  add(caps, "vm_overcommit", mode == "0" || mode == "1" ? CapabilityState::available : CapabilityState::limited, detail,
      kConsequence, kRemedy);
}

}  // namespace

void probe_memory(Capabilities& caps) {
  add_pagemap_scan(caps);
  add_mbind(caps);
  add_huge_pages(caps);
  add_ksm(caps);
  add_kernel_swap(caps);
  add_overcommit(caps);
}

}  // namespace vmm::os::probing
