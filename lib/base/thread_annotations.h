// Names for clang's thread-safety analysis (preset `tsa`); nothing under other compilers.
#pragma once

#if defined(__clang__)
#define VMM_TSA(x) __attribute__((x))
#else
#define VMM_TSA(x)
#endif

#define VMM_CAPABILITY(name) VMM_TSA(capability(name))
#define VMM_SCOPED_CAPABILITY VMM_TSA(scoped_lockable)
#define VMM_GUARDED_BY(mutex) VMM_TSA(guarded_by(mutex))
#define VMM_PT_GUARDED_BY(mutex) VMM_TSA(pt_guarded_by(mutex))
#define VMM_REQUIRES(...) VMM_TSA(requires_capability(__VA_ARGS__))
#define VMM_EXCLUDES(...) VMM_TSA(locks_excluded(__VA_ARGS__))
#define VMM_ACQUIRE(...) VMM_TSA(acquire_capability(__VA_ARGS__))
#define VMM_TRY_ACQUIRE(...) VMM_TSA(try_acquire_capability(__VA_ARGS__))
#define VMM_RELEASE(...) VMM_TSA(release_capability(__VA_ARGS__))
#define VMM_NO_THREAD_SAFETY_ANALYSIS VMM_TSA(no_thread_safety_analysis)
