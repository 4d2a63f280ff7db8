// hello_guest: a guest four times as large as its host's memory, written and read back.
#include <cstdio>

#include <vmm/vmm.h>

int main() {
  vmm::HostOptions host_options;
  host_options.memory = 128 * vmm::MiB;  // the budget of all guests together
  auto host = vmm::Host::create(host_options);
  if (!host) return std::fprintf(stderr, "%s\n", host.error().message().c_str()), 2;
  vmm::GuestOptions guest_options;
  guest_options.name = "hello";
  guest_options.memory = 512 * vmm::MiB;
  auto guest = host->create_guest(guest_options);
  if (!guest) return std::fprintf(stderr, "%s\n", guest.error().message().c_str()), 2;

  auto* words = reinterpret_cast<std::size_t*>(guest->memory().data());  // ordinary memory: for KVM, a heap, a database
  std::size_t count = guest->memory().size() / sizeof *words, wrong = 0;
  for (std::size_t i = 0; i < count; ++i) words[i] = i;
  for (std::size_t i = 0; i < count; ++i) wrong += words[i] != i;
  std::printf("%zu MiB resident, %zu MiB swapped, %s\n", guest->stats()->resident / vmm::MiB,
              guest->stats()->swapped / vmm::MiB, wrong == 0 ? "every word is as written" : "words are wrong");
  return wrong == 0 ? 0 : 1;
}
