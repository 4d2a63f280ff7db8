// A program outside of libvmm's tree, built against the installed package: says what this machine allows,
// then makes a host with one guest and uses its memory.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <span>

#include "vmm/vmm.h"

namespace {

int fail(const vmm::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main() {
  const vmm::Capabilities capabilities = vmm::probe();
  std::printf("level: %s\n", vmm::to_string(capabilities.level));

  vmm::HostOptions host_options;
  host_options.memory = 256 * vmm::MiB;
  vmm::Result<vmm::Host> host = vmm::Host::create(host_options);
  if (!host) return fail(host.error());

  vmm::GuestOptions guest_options;
  guest_options.name = "consumer";
  guest_options.memory = 16 * vmm::MiB;
  vmm::Result<vmm::Guest> guest = host->create_guest(guest_options);
  if (!guest) return fail(guest.error());

  const std::span<std::byte> memory = guest->memory();
  std::fill(memory.begin(), memory.end(), std::byte{42});
  const auto kept = static_cast<std::size_t>(std::count(memory.begin(), memory.end(), std::byte{42}));
  std::printf("guest: %zu of %zu bytes kept\n", kept, memory.size());

  // The category of the library and that of the program are the same object, also across libvmm.so.
  const vmm::Result<vmm::Guest> refused = host->create_guest({});
  std::printf("refused: %s\n", refused ? "no" : refused.error().message().c_str());
  return kept == guest_options.memory && !refused ? 0 : 1;
}
