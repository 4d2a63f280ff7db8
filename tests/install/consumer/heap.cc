// A program that uses libvmm::heap: its memory is the guest's, and the program's malloc and operator new stay libc's and
// libstdc++'s, whatever $MALLOC_CONF says.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <string>

#include <dlfcn.h>
#include <malloc.h>

#include "vmm/heap.h"
#include "vmm/host.h"

namespace {

int fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return 1;
}

// The file that the program's `name` is in.
std::string home_of(const char* name) {
  Dl_info info{};
  void* const symbol = dlsym(RTLD_DEFAULT, name);
  if (symbol == nullptr || dladdr(symbol, &info) == 0) return "nowhere";
  const char* const slash = std::strrchr(info.dli_fname, '/');
  return slash == nullptr ? info.dli_fname : slash + 1;
}

}  // namespace

int main() {
  for (const char* name : {"malloc", "free", "calloc", "realloc", "posix_memalign", "malloc_usable_size"})
    if (home_of(name).rfind("libc.so", 0) != 0) return fail(std::string(name) + " is in " + home_of(name));
  for (const char* name : {"_Znwm", "_ZdlPv"})
    if (home_of(name).rfind("libstdc++.so", 0) != 0) return fail(std::string(name) + " is in " + home_of(name));
  for (const char* name : {"mallocx", "mallctl", "vmm_je_mallocx"})
    if (home_of(name) != "nowhere") return fail(std::string(name) + " is in " + home_of(name));
  // jemalloc would round 200,000 bytes up to 229,376; libc answers for its own to the last 8 bytes.
  const std::unique_ptr<void, void (*)(void*)> plain(std::malloc(200'000), std::free);
  if (malloc_usable_size(plain.get()) >= 229'376) return fail("malloc is not libc's");

  vmm::HostOptions host_options;
  host_options.memory = 256 * vmm::MiB;
  vmm::Result<vmm::Host> host = vmm::Host::create(host_options);
  if (!host) return fail(host.error().message());
  vmm::GuestOptions guest_options;
  guest_options.name = "heap";
  guest_options.memory = 16 * vmm::MiB;
  vmm::Result<vmm::Guest> guest = host->create_guest(guest_options);
  if (!guest) return fail(guest.error().message());
  vmm::Result<vmm::Heap> heap = vmm::Heap::create(*guest);
  if (!heap) return fail(heap.error().message());

  std::pmr::string text(100'000, 'x', &heap->resource());
  const auto memory = guest->memory();
  const auto* const first = reinterpret_cast<const std::byte*>(text.data());
  if (first < memory.data() || first + text.size() > memory.data() + memory.size()) return fail("not in the guest");
  std::printf("heap: %llu bytes in the guest, malloc in %s\n",
              static_cast<unsigned long long>(heap->stats().allocated), home_of("malloc").c_str());

  vmm::Guest empty;
  const auto refused = vmm::Heap::create(empty);
  return !refused && refused.error().code == vmm::Errc::inert_handle ? 0 : fail("an empty handle is taken");
}
