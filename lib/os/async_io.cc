#include "os/async_io.h"

#include <string>

#include "base/error.h"
#include "os/async_io_backends.h"

namespace vmm::os {

Result<std::unique_ptr<AsyncIo>> AsyncIo::create(Backend backend, unsigned depth, const char* thread_name) {
  if (depth < 1 || depth > kMaxDepth)
    return base::invalid("AsyncIo depth = " + std::to_string(depth), "choose 1 to " + std::to_string(kMaxDepth));
  if (backend == Backend::threads) return internal::create_thread_io(depth, thread_name);
  auto uring = internal::create_uring_io(depth);
  if (uring || backend == Backend::io_uring) return uring;
  return internal::create_thread_io(depth, thread_name);
}

}  // namespace vmm::os
