// kThreadSanitizer: whether this is a build with the thread sanitizer, which has a thread and mappings of its own, runs
// signal handlers when it sees fit, and does not know threads in a child of fork().
// kAddressSanitizer: with the address sanitizer, which keeps freed memory mapped for a while.
// Thread-safety: constants.
#pragma once

namespace vmm::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

}  // namespace vmm::test
