// kvm_guest: a virtual machine whose RAM is a guest's memory. Its program counts in every page while the host takes
// pages away, brings them back, shares equal ones and discards scratch pages, and signals interrupt the processor. At
// the end every count is exact.
//   kvm_guest [rounds]
// Exit status 0: so it was; 1: it was not; 2: it could not be tried; 77, and the reason: there is no /dev/kvm.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kvm_guest/machine.h"
#include "kvm_guest/program.h"
#include "vmm/vmm.h"

namespace {

std::uint32_t word(std::span<const std::byte> memory, std::uint32_t at) {
  std::uint32_t value;
  std::memcpy(&value, &memory[at], sizeof(value));
  return value;
}

// How many pages do not hold what they should after so many rounds.
unsigned wrong_pages(std::span<const std::byte> memory, std::uint32_t rounds) {
  unsigned wrong = 0;
  for (auto page = kCounted; page < kCountedEnd; page += vmm::kPageSize)
    wrong += word(memory, page) != rounds || word(memory, page + 0xffc) != rounds;
  for (auto page = kScratch; page < kScratchEnd; page += vmm::kPageSize)
    wrong += word(memory, page) != rounds && word(memory, page) != 0;
  return wrong;
}

// What the host does meanwhile, once. Counts what fails.
unsigned disturb(vmm::Host& host, vmm::Guest& guest) {
  unsigned failed = 0;
  failed += !guest.reclaim(kRam);
  failed += !guest.prefetch(kCounted, kCountedEnd - kCounted);
  failed += !host.share_now();
  failed += !guest.discard(kScratch, kScratchEnd - kScratch);
  failed += !guest.restore();
  return failed;
}

int failed(const vmm::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const auto rounds = argc > 1 ? static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10)) : 20000u;
  if (const auto why = Machine::unavailable(); !why.empty()) return std::printf("skipped: %s\n", why.c_str()), 77;

  vmm::HostOptions host_options;
  host_options.memory = 32 * vmm::MiB;
  host_options.share_scan_ghz = 4;
  auto host = vmm::Host::create(host_options);
  if (!host) return failed(host.error());
  vmm::GuestOptions guest_options;
  guest_options.name = "machine";
  guest_options.memory = kRam;
  guest_options.large_pages = false;
  auto guest = host->create_guest(guest_options);
  if (!guest) return failed(guest.error());

  const auto memory = guest->memory();
  std::memcpy(&memory[kEntry], kProgram, sizeof(kProgram));
  Machine machine(memory, kEntry);
  if (!machine.error().empty()) return std::fprintf(stderr, "%s\n", machine.error().c_str()), 2;

  std::atomic<bool> running{true};
  Machine::Output last;
  std::thread processor([&] {
    const auto seat = guest->attach_current_thread();  // it runs on the guest's home node
    machine.take_thread();
    do last = machine.run();
    while (last.port == kRoundPort && last.value < rounds);
    running = false;
  });
  unsigned refused = 0, disturbances = 0;
  std::thread kicker([&] {
    while (running) machine.kick(), std::this_thread::yield();
  });
  while (running) refused += disturb(*host, *guest), ++disturbances;
  kicker.join();
  processor.join();

  if (last.port != kRoundPort) {
    if (last.port == kWrongPort) std::printf("the machine found a wrong word in segment %#x\n", last.value);
    std::printf("%s\n", machine.error().c_str());
    return 1;
  }
  const auto wrong = wrong_pages(memory, rounds);
  const auto stats = guest->stats();
  if (!stats) return failed(stats.error());
  const auto pages = [](std::uint64_t bytes) { return static_cast<unsigned long long>(bytes / vmm::kPageSize); };
  std::printf("%u rounds over %u pages, %u disturbances (%u calls refused), %llu interruptions by signals\n", rounds,
              (kScratchEnd - kCounted) / 4096, disturbances, refused,
              static_cast<unsigned long long>(machine.interrupted()));
  std::printf("%llu pages taken, %llu read back, %llu shared\n", pages(stats->swapped_out), pages(stats->swapped_in),
              pages(stats->share_made));
  std::printf("%s\n", wrong == 0 ? "every count is exact" : "counts are wrong");
  return wrong == 0 && refused == 0 ? 0 : 1;
}
