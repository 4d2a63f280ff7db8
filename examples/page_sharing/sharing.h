// Guests that hold images share their pages: what that saves, beside what the kernel says and what can be saved at
// most. Thread-safety: share_images() is called by one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "page_sharing/distinct_pages.h"
#include "page_sharing/image.h"
#include "smaps/smaps.h"
#include "vmm/result.h"
#include "vmm/stats.h"

namespace page_sharing {

struct Settings {
  // Of the host, in bytes; guests are swapped where they do not fit in. 0: enough for all of them.
  std::uint64_t memory = 0;
  bool large_pages = false;
  std::string swap_directory;  // empty = the library's default
};

struct GuestOutcome {
  vmm::GuestStats stats;
  PageCount held;       // alone, before anything was shared
  bool intact = false;  // afterwards it holds what it held
};

struct Outcome {
  std::vector<GuestOutcome> guests;
  PageCount held;           // by all together
  vmm::ShareReport report;  // of the first look at everything
  vmm::HostStats host;      // after the second
  double first_look = 0;    // seconds of processor time of the process
  double second_look = 0;
  smaps::Rollup before, after;  // around both

  // Bytes of pages that no longer take memory.
  std::uint64_t saved() const noexcept { return host.shared_saved; }
};

// A guest for each image, of whole pages, what is missing in the last being zeros; all of one salt.
// Errors: those of loading the images; ENOMEM (they do not fit in); those of the library.
vmm::Result<Outcome> share_images(const Settings& settings, std::span<const Image> images);

}  // namespace page_sharing
