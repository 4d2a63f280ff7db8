// Heap: an allocator whose memory is a guest's. What it has free it gives to the host on demand, so that nothing of it
// is written to a swap file; what a cache in it holds can be given up too.
//
// In a library of its own, libvmm::heap (find_package(libvmm)), which brings jemalloc with it; vmm/vmm.h does not
// include this header. The program's malloc stays what it is, and settings for it ($MALLOC_CONF) do not reach the heap.
// Link the program with it: a plug-in that brings it by dlopen() may find no room for its thread-local data.
//
//   auto heap = vmm::Heap::create(guest);
//   guest.set_balloon(heap->balloon_driver());
//   std::pmr::map<int, std::pmr::string> cache(&heap->resource());
//
// Thread-safety: every function may be called from any thread, also at the same time; moving or destroying the handle
// may not race with its use. In a child of fork() nothing can be allocated, and free() does nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>

#include "vmm/balloon.h"
#include "vmm/export.h"
#include "vmm/guest.h"
#include "vmm/result.h"

namespace vmm {

class HeapCore;

// What a heap is made with.
struct HeapOptions {
  // Asked for memory after all free memory has been given: frees something of about that many bytes (a cache), on the
  // balloon's thread. No lock of the library is held: it may use the heap, and end it. Memory can be given in whole
  // pages only, so small things that lie scattered free less than their sum. What it throws is caught and counted; what
  // it has freed until then is given.
  std::function<void(std::uint64_t bytes)> on_pressure;
};

// Bytes.
struct HeapStats {
  std::uint64_t memory = 0;     // the guest's
  std::uint64_t allocated = 0;  // in allocations, each rounded up to its size class
  std::uint64_t active = 0;     // the pages that those lie in
  std::uint64_t free = 0;       // the others: memory - active
  std::uint64_t given = 0;      // part of `free` that was given to the host and not used since
  // Counts since creation.
  std::uint64_t pressure_calls = 0;     // of on_pressure
  std::uint64_t pressure_failures = 0;  // of those, that threw
};

// A handle of a heap. Move-only.
class VMM_API Heap {
 public:
  // Takes all of the guest's memory and discards what it holds; installs nothing on the guest. `guest` stays where it
  // is (it is not moved) and outlives the heap; nobody else, and no other heap, uses its memory.
  // The heap's own tables are ordinary memory: a part in some 250 of what is allocated.
  // Errors: Errc::inert_handle, Errc::forked_child (also where a parent of this process has made heaps),
  // Errc::pages_pinned, ENOMEM.
  static Result<Heap> create(Guest& guest, const HeapOptions& options = {});

  Heap() noexcept;
  Heap(Heap&&) noexcept;
  Heap& operator=(Heap&&) noexcept;
  // Frees everything. Waits for a call of the driver that is under way, on_pressure included: hold no lock that it
  // takes. From inside on_pressure it does not wait. The driver lives on and gives nothing; before the guest's memory
  // is used for something else, call guest.set_balloon(nullptr), for the host may still drop what was given last.
  ~Heap();

  // nullptr: full, or `alignment` is not a power of two. Contents are undefined. Blocks while pages are read or memory
  // is reclaimed for them, in two cases: where it is nearly full, and as every use of the guest's memory.
  void* allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) noexcept;
  // nullptr is allowed.
  void free(void* memory) noexcept;
  // Bytes that may be used of an allocation: at least what was asked for. 0 for nullptr.
  std::size_t usable_size(const void* memory) const noexcept;
  // Lives as long as the heap, wherever its handle is moved to. Throws std::bad_alloc when full, as pmr demands.
  std::pmr::memory_resource& resource() noexcept;

  // For guest.set_balloon(). Gives free memory that was used before (what was never used costs none), then asks
  // on_pressure and gives what that has freed. May outlive the heap. The host calls it for one guest, by one thread at
  // a time, and calls it again only after it has dropped or refused what the last call gave.
  std::shared_ptr<BalloonDriver> balloon_driver();

  // Replaces HeapOptions::on_pressure; empty: nobody is asked. Returns when the former is no longer running, so call it
  // before what that uses goes: a cache in this heap ends before the heap does. Hold no lock that it takes. Not from
  // inside on_pressure, where it does nothing.
  void on_pressure(std::function<void(std::uint64_t bytes)> callback);

  // Takes jemalloc's locks one by one: for now and then. Zeros for an empty handle.
  HeapStats stats() const;

  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  explicit Heap(std::shared_ptr<HeapCore> core) noexcept;
  std::shared_ptr<HeapCore> core_;
};

}  // namespace vmm
