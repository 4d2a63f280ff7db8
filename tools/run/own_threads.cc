// The library's own threads are inside for good: see inside.h. Linked with --wrap=pthread_create. What the C library
// has for each of the program's threads (the table of its thread-local data) is ordinary memory too: it keeps it, with
// the stack, for threads to come, of the library's or a child's.
#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>

#include "inside.h"
#include "libc_memory.h"

namespace vmm::run {

__thread bool inside __attribute__((tls_model("initial-exec"))) = false;

namespace {

struct Start {
  void* (*body)(void*);
  void* argument;
};

void* run(void* argument) {
  inside = true;
  const Start start = *static_cast<Start*>(argument);
  __libc_free(argument);
  return start.body(start.argument);
}

}  // namespace
}  // namespace vmm::run

extern "C" {
__attribute__((visibility("default"))) int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                          void* (*body)(void*), void* argument) noexcept {
  const vmm::run::Inside here;
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, body, argument);
}

int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

// What the C library allocates for a thread, the table of its thread-local data among it, is allocated by who starts
// it.
__attribute__((visibility("hidden"))) int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                                void* (*body)(void*), void* argument) {
  using namespace vmm::run;
  const Inside here;
  auto* const start = static_cast<Start*>(__libc_malloc(sizeof(Start)));
  if (start == nullptr) return EAGAIN;
  *start = {body, argument};
  const int error = __real_pthread_create(thread, attributes, run, start);
  if (error != 0) __libc_free(start);
  return error;
}
}
