// ProgramMemory: the host and the guest that the program's memory is in, from the constructor of this library until the
// process ends. Nothing of it is torn down at exit: handlers of the program's still use its memory then.
//
//   none ---- begin() ----> standing ---- fork(), in the child ----> child
//
// none: the dynamic linker and constructors of other libraries run; memory is the C library's. child: what is in guest
// memory stays readable and writable (fork.h), and is never freed; all new memory is the C library's and the kernel's.
// Thread-safety: any thread, after begin().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heap/heap_core.h"
#include "settings.h"
#include "vmm/guest.h"
#include "vmm/host.h"

namespace vmm::run {

class ProgramMemory {
 public:
  // Ends the process with a message where there can be no guest: memory without a budget is not what was asked for.
  static void begin(const Settings& settings);

  // What new memory comes from now; nullptr: it is not the guest's.
  static HeapCore* heap() noexcept { return heap_.load(std::memory_order_acquire); }
  // The same for what was allocated before: in a child too.
  static HeapCore& any_heap() noexcept { return *core_; }

  static bool contains(const void* memory) noexcept {
    return reinterpret_cast<std::uintptr_t>(memory) - start_.load(std::memory_order_relaxed) <
           bytes_.load(std::memory_order_relaxed);
  }
  // Whether a byte of [memory, memory + bytes) is in guest memory.
  static bool overlaps(const void* memory, std::size_t bytes) noexcept;
  static std::uint64_t offset_of(const void* memory) noexcept {
    return reinterpret_cast<std::uintptr_t>(memory) - start_.load(std::memory_order_relaxed);
  }
  static std::byte* start() noexcept { return reinterpret_cast<std::byte*>(start_.load(std::memory_order_relaxed)); }
  static std::uint64_t bytes() noexcept { return bytes_.load(std::memory_order_relaxed); }

  static Host& host() noexcept { return *host_; }
  static Guest& guest() noexcept { return *guest_; }
  static const Settings& settings() noexcept { return *settings_; }

  static bool standing() noexcept { return heap() != nullptr; }
  // This is the process that the host is in; not a child, one of vfork() included.
  static bool is_this_process() noexcept;
  // In the child of a fork.
  static void become_child() noexcept { heap_.store(nullptr, std::memory_order_release); }

 private:
  static std::atomic<HeapCore*> heap_;
  static HeapCore* core_;
  static std::atomic<std::uintptr_t> start_;
  static std::atomic<std::uint64_t> bytes_;
  static Host* host_;
  static Guest* guest_;
  static const Settings* settings_;
  static int process_;
};

}  // namespace vmm::run
