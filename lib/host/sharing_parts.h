// Sharing parts: what the nodes of a host have in common for sharing pages.
// Thread-safety: made by one thread; immutable then, the parts as they say.
#pragma once

#include <utility>

#include "sharing/frame_stores.h"
#include "sharing/page_key.h"
#include "sharing/shown_frames.h"

namespace vmm::host {

struct SharingParts {
  SharingParts(sharing::ProcessSecret s, sharing::ShownFrames f) noexcept : secret(s), shown(std::move(f)) {}

  const sharing::ProcessSecret secret;
  const sharing::ShownFrames shown;
  sharing::FrameStores stores;
};

}  // namespace vmm::host
