// hello_guest: writes a guest that is larger than its host's memory, reads it back, and says what that took.

#include <cstdio>
#include <cstring>

#include "vmm/vmm.h"

int main() {
  vmm::HostOptions host_options;
  host_options.memory = 128 * vmm::MiB;
  auto host = vmm::Host::create(host_options);
  if (!host) return std::fprintf(stderr, "%s\n", host.error().message().c_str()), 2;

  vmm::GuestOptions guest_options;
  guest_options.name = "hello";
  guest_options.memory = 512 * vmm::MiB;
  auto guest = host->create_guest(guest_options);
  if (!guest) return std::fprintf(stderr, "%s\n", guest.error().message().c_str()), 2;

  const std::span<std::byte> memory = guest->memory();
  for (std::uint64_t offset = 0; offset < memory.size(); offset += sizeof(offset))
    std::memcpy(&memory[offset], &offset, sizeof(offset));

  std::uint64_t wrong = 0;
  for (std::uint64_t offset = 0; offset < memory.size(); offset += sizeof(offset))
    wrong += std::memcmp(&memory[offset], &offset, sizeof(offset)) != 0;

  const auto mib = [](std::uint64_t bytes) { return static_cast<unsigned>(bytes / vmm::MiB); };
  const vmm::GuestStats stats = *guest->stats();
  std::printf("%u MiB of guest in a host of %u MiB: %u MiB resident, %u MiB swapped\n", mib(stats.memory),
              mib(host->stats()->memory), mib(stats.resident), mib(stats.swapped));
  std::printf("%u MiB went out, %u MiB came in, %s\n", mib(stats.swapped_out), mib(stats.swapped_in),
              wrong == 0 ? "every word is as written" : "words are wrong");
  return wrong == 0 ? 0 : 1;
}
