// A plug-in that uses libvmm.so: loaded and unloaded by the test of dlopen and dlclose.
#include <cstddef>
#include <cstdio>
#include <utility>

#include "vmm/vmm.h"

// Lives the life of a host and a guest, seat and pin included. Returns 0, or the number of the step that failed;
// `message` (of `size` bytes) says why.
extern "C" __attribute__((visibility("default"))) int live_with_libvmm(const char* directory, char* message,
                                                                       std::size_t size) {
  const auto failed = [&](int step, const std::string& why) {
    std::snprintf(message, size, "%s", why.c_str());
    return step;
  };
  vmm::HostOptions ho;
  ho.memory = 32 * vmm::MiB;
  ho.swap_directory = directory;
  auto host = vmm::Host::create(ho);
  if (!host) return failed(1, host.error().message());
  vmm::GuestOptions go;
  go.name = "plug-in";
  go.memory = 2 * vmm::MiB;
  auto guest = host->create_guest(go);
  if (!guest) return failed(2, guest.error().message());
  const auto memory = guest->memory();
  for (std::size_t at = 0; at < memory.size(); at += vmm::kPageSize) memory[at] = std::byte{9};
  if (auto r = guest->reclaim(memory.size()); !r || *r == 0) return failed(3, r ? "nothing" : r.error().message());
  auto seat = guest->attach_current_thread();
  if (!seat) return failed(4, seat.error().message());
  auto pin = guest->pin(0, vmm::kPageSize);
  if (!pin) return failed(5, pin.error().message());
  for (std::size_t at = 0; at < memory.size(); at += vmm::kPageSize)
    if (memory[at] != std::byte{9}) return failed(6, "wrong page");
  return 0;
}
