// How many forks lie between this process and the one that loaded the library: for who must notice that it is in a
// child and has no page of its own for ForkGuard.
// Thread-safety: any thread; reads one word. A child made by clone(2) itself, not through fork(), is not counted.
#pragma once

#include <cstdint>

namespace vmm::os {

std::uint64_t fork_count() noexcept;

}  // namespace vmm::os
