// setlocale and newlocale: what they load is ordinary memory. Each new thread reads it before anything else, the one of
// child_service.h among them, which must not wait for a page of the guest.
#include <clocale>
#include <dlfcn.h>

#include "inside.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED char* setlocale(int category, const char* name) noexcept {
  const vmm::run::Inside here;
  static const auto real = reinterpret_cast<char* (*)(int, const char*)>(::dlsym(RTLD_NEXT, "setlocale"));
  return real(category, name);
}

EXPORTED locale_t newlocale(int categories, const char* name, locale_t base) noexcept {
  const vmm::run::Inside here;
  static const auto real =
      reinterpret_cast<locale_t (*)(int, const char*, locale_t)>(::dlsym(RTLD_NEXT, "newlocale"));
  return real(categories, name, base);
}
