// Who this process is.
// Thread-safety: any thread; cannot fail.
#pragma once

namespace vmm::os {

int process_id() noexcept;
// The effective user.
unsigned user_id() noexcept;

}  // namespace vmm::os
