// The two back ends of AsyncIo, for AsyncIo::create() alone.
#pragma once

#include <memory>

#include "os/async_io.h"

namespace vmm::os::internal {

// Both: 1 <= depth <= AsyncIo::kMaxDepth. Errors as AsyncIo::create().
Result<std::unique_ptr<AsyncIo>> create_uring_io(unsigned depth);
Result<std::unique_ptr<AsyncIo>> create_thread_io(unsigned depth, const char* thread_name);

}  // namespace vmm::os::internal
