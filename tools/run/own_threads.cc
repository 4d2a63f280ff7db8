// The library's own threads are inside for good: see inside.h. Linked with --wrap=pthread_create.
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
