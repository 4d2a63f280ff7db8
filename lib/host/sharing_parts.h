// Sharing parts: what the nodes of a host have in common for sharing pages.
// Thread-safety: made by one thread; immutable then, the parts as they say.
#pragma once

#include <cstdint>
#include <utility>

#include "os/process_memory.h"
#include "sharing/frame_stores.h"
#include "sharing/mapping_budget.h"
#include "sharing/page_key.h"
#include "sharing/shown_frames.h"

namespace vmm::host {

struct SharingParts {
  SharingParts(sharing::ProcessSecret s, sharing::ShownFrames f, os::ProcessMemory m,
               std::uint64_t most_mappings) noexcept
      : secret(s), shown(std::move(f)), memory(std::move(m)), mappings(most_mappings) {}

  const sharing::ProcessSecret secret;
  const sharing::ShownFrames shown;
  const os::ProcessMemory memory;
  sharing::FrameStores stores;
  sharing::MappingBudget mappings;
};

}  // namespace vmm::host
