// The limits of this process.
#include <string>

#include "base/text.h"
#include "os/probe_parts.h"
#include "os/process_limits.h"
#include "vmm/units.h"

namespace vmm::os::probing {
namespace {

// Mappings that the process needs beside the guests': large malloc blocks, thread stacks, libraries. At the limit
// those fail as well.
constexpr std::uint64_t kFewMapsLeft = 8192;

void add_max_map_count(Capabilities& caps) {
  constexpr const char* kConsequence =
      "at the limit mmap fails, and with it malloc of large blocks and the creation of threads, of the whole process";
  const auto most = max_map_count();
  const auto used = maps_in_use();
  const std::string remedy = "sysctl vm.max_map_count=1048576";
  if (!most || !used) {
    add(caps, "max_map_count", CapabilityState::limited, failure_text(most ? used.error() : most.error()), kConsequence,
        remedy);
    return;
  }
  caps.max_map_count = *most;
  caps.maps_in_use = *used;
  const std::uint64_t left = *most > *used ? *most - *used : 0;
  add(caps, "max_map_count", left < kFewMapsLeft ? CapabilityState::limited : CapabilityState::available,
      std::to_string(*most) + ", " + std::to_string(*used) + " in use, " + std::to_string(left) + " left", kConsequence,
      remedy);
}

// `enough`: from this figure on the limit is no hindrance; 0 = only "unlimited" is none.
void add_limit(Capabilities& caps, const char* name, const char* kernels_name, std::uint64_t enough, bool bytes,
               const char* consequence, const char* remedy) {
  const auto limit = soft_limit(kernels_name);
  if (!limit) {
    add(caps, name, CapabilityState::limited, failure_text(limit.error()), consequence, remedy);
    return;
  }
  if (!*limit) {
    add(caps, name, CapabilityState::available, "unlimited", consequence, remedy);
    return;
  }
  const std::uint64_t figure = **limit;
  add(caps, name, enough != 0 && figure >= enough ? CapabilityState::available : CapabilityState::limited,
      bytes ? base::bytes_text(figure) : std::to_string(figure), consequence, remedy);
}

}  // namespace

void probe_limits(Capabilities& caps) {
  add_max_map_count(caps);
  add_limit(caps, "rlimit_nofile", "Max open files", 256, false,
            "a guest takes up to three descriptors and a host a dozen; beyond the limit create_guest fails with EMFILE",
            "ulimit -n 4096, or LimitNOFILE=");
  add_limit(caps, "rlimit_fsize", "Max file size", 0, true,
            "a guest whose swap file (memory - reservation) is larger is refused with EFBIG",
            "ulimit -f unlimited, or LimitFSIZE=infinity");
  // io_uring's rings counted as locked memory before Linux 5.12; two per node of some 100 KiB.
  add_limit(caps, "rlimit_memlock", "Max locked memory", MiB, true,
            "libvmm locks no memory and registers no buffers; before Linux 5.12 a small limit makes io_uring fail, and "
            "threads do the swap I/O",
            "ulimit -l 8192, or LimitMEMLOCK=");
  add_limit(caps, "rlimit_as", "Max address space", 0, true,
            "every guest takes twice its memory and 12 MiB of address space, resident or not; beyond the limit "
            "create_guest fails with ENOMEM",
            "ulimit -v unlimited, or LimitAS=infinity");
}

}  // namespace vmm::os::probing
