// Which pages may be shared, and which may come back, by their words.
// Thread-safety: pure functions of their arguments.
#pragma once

#include "region/page_state.h"

namespace vmm::sharing {

inline bool may_be_shared(region::PageWord w) noexcept {
  return w.state() == region::PageState::resident && !w.pinned() && !w.writing() && !w.watched();
}
// Its frames are not taken out under a pin: what a device writes meanwhile nobody could hold off.
inline bool may_be_hidden(region::PageWord w) noexcept {
  return w.state() == region::PageState::shared && !w.pinned();
}

}  // namespace vmm::sharing
