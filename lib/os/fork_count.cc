#include "os/fork_count.h"

#include <pthread.h>

#include <atomic>

namespace vmm::os {
namespace {

std::atomic<std::uint64_t> forks{0};

// Registered when the library is loaded, so before there is anything that a child could misuse. Where there is no
// memory for it, children are not noticed.
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

}  // namespace

std::uint64_t fork_count() noexcept { return forks.load(std::memory_order_relaxed); }

}  // namespace vmm::os
