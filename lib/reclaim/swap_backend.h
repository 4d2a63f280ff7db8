// The kind of asynchronous I/O that an option asks for.
// Thread-safety: pure.
#pragma once

#include "os/async_io.h"
#include "vmm/options.h"

namespace vmm::reclaim {

constexpr os::AsyncIo::Backend backend_of(SwapIo io) noexcept {
  switch (io) {
    case SwapIo::io_uring: return os::AsyncIo::Backend::io_uring;
    case SwapIo::threads: return os::AsyncIo::Backend::threads;
    case SwapIo::automatic: break;
  }
  return os::AsyncIo::Backend::automatic;
}

}  // namespace vmm::reclaim
