#include "program_memory.h"

#include <unistd.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

#include "inside.h"
#include "messages.h"
#include "own_descriptors.h"
#include "vmm/balloon.h"
#include "vmm/capabilities.h"

namespace vmm::run {

std::atomic<HeapCore*> ProgramMemory::heap_{nullptr};
HeapCore* ProgramMemory::core_ = nullptr;
std::atomic<std::uintptr_t> ProgramMemory::start_{0};
std::atomic<std::uint64_t> ProgramMemory::bytes_{0};
Host* ProgramMemory::host_ = nullptr;
Guest* ProgramMemory::guest_ = nullptr;
const Settings* ProgramMemory::settings_ = nullptr;
int ProgramMemory::process_ = 0;

namespace {

// The host gets what is free in the heap, and what the program has unmapped.
class Balloon final : public BalloonDriver {
 public:
  explicit Balloon(HeapCore& heap) noexcept : heap_(heap) {}
  std::vector<BalloonRange> inflate(std::uint64_t bytes) override { return heap_.inflate(bytes); }
  void deflate(const std::vector<BalloonRange>& ranges) override { heap_.deflate(ranges); }

 private:
  HeapCore& heap_;
};

[[noreturn]] void fail(const Error& error) { fail_at_start(error.message().c_str()); }

template <class T>
T& forever(T&& value) {
  return *new T(std::move(value));
}

void check_level(const Host& host, const Settings& settings) {
  switch (host.capabilities().level) {
    case CapabilityLevel::full: return;
    case CapabilityLevel::baseline:
      if (settings.accept_baseline) return;
      fail_at_start(
          "this kernel has no UFFDIO_MOVE (Linux 6.8): what a device writes directly to the program's memory (O_DIRECT, "
          "io_uring) could be lost. Where the program does no such thing, --accept-baseline runs it all the same");
    default:
      fail_at_start(
          "this process may not use userfaultfd for page faults in the kernel, and without it memory cannot be taken "
          "from a program that does not know of it; vmmctl doctor says how to permit it");
  }
}

}  // namespace

void ProgramMemory::begin(const Settings& settings) {
  const Inside here;
  settings_ = new Settings(settings);
  process_ = ::getpid();
  HostOptions host_options;
  host_options.memory = settings.memory;
  host_options.swap_directory = settings.swap_directory;
  host_options.stats_socket = with_process_id(settings.stats_socket, process_);
  host_options.stats_control = settings.stats_control;
  const OwnDescriptors::Making making;
  auto host = Host::create(host_options);
  if (!host) fail(host.error());
  check_level(*host, settings);
  host_ = &forever(std::move(*host));
  GuestOptions guest_options;
  guest_options.name = *program_invocation_short_name != '\0' ? program_invocation_short_name : "program";
  guest_options.memory = settings.size;
  guest_options.core_dump = true;
  auto guest = host_->create_guest(guest_options);
  if (!guest) fail(guest.error());
  guest_ = &forever(std::move(*guest));
  auto heap = HeapCore::create(*guest_, {});
  if (!heap) fail(heap.error());
  core_ = forever(std::move(*heap)).get();
  if (auto set = guest_->set_balloon(std::make_shared<Balloon>(*core_)); !set) fail(set.error());
  start_.store(reinterpret_cast<std::uintptr_t>(guest_->memory().data()), std::memory_order_relaxed);
  bytes_.store(guest_->memory().size(), std::memory_order_relaxed);
  heap_.store(core_, std::memory_order_release);
}

bool ProgramMemory::is_this_process() noexcept { return standing() && ::getpid() == process_; }

bool ProgramMemory::overlaps(const void* memory, std::size_t bytes) noexcept {
  const auto from = reinterpret_cast<std::uintptr_t>(memory), start = start_.load(std::memory_order_relaxed);
  const auto size = bytes_.load(std::memory_order_relaxed);
  if (size == 0 || bytes == 0) return false;
  return from < start + size && (from >= start || bytes > start - from);
}

}  // namespace vmm::run
