// kThreadSanitizer: whether this is a build with the thread sanitizer, which has a thread and mappings of its own, runs
// signal handlers when it sees fit, and does not know threads in a child of fork().
// Thread-safety: a constant.
#pragma once

namespace vmm::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

}  // namespace vmm::test
