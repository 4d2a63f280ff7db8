// Contender: a guest whose heap is used by a block cache, of which the host takes memory in one of two ways, or which
// was created without that memory.
//
// Each begins alike: the cache fills five sixths of the heap, and a job that has ended leaves the rest behind, written
// and free. So the host finds memory that is free, then memory that a cache can do without.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>

#include "balloon_vs_swap/block_cache.h"
#include "balloon_vs_swap/block_file.h"
#include "vmm/heap.h"
#include "vmm/vmm.h"

namespace balloon_vs_swap {

enum class Way {
  balloon,  // the heap is asked: it gives what is free, then what its cache gives up
  swap,     // nobody is asked
  born,     // the guest is created that much smaller
};
const char* to_string(Way way) noexcept;

// A host with room for three of them, in which all guests are managed from the beginning, as where memory is short.
vmm::Result<vmm::Host> make_host(std::uint64_t guest, const std::string& swap_directory);

class Contender {
 public:
  // `memory` of the guest before anything is taken; `taken` of it, in bytes, is what this is about. The host and the
  // file outlive it. Errors: those of the library.
  static vmm::Result<std::unique_ptr<Contender>> create(vmm::Host& host, BlockFile& file, Way way, std::uint64_t memory,
                                                        std::uint64_t taken);
  ~Contender();
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;

  // Fills the cache, and lets the job come and go.
  void load();
  // Limits the guest to its memory less what is to be taken, and waits until it holds no more. Returns the seconds; 0
  // for one that was born so. Errors: those of the library; ETIMEDOUT after a minute.
  vmm::Result<double> take();
  // Looks blocks up for that long. Returns how many a second.
  double work(double seconds);

  Way way() const noexcept { return way_; }
  CacheFigures cache() const { return cache_->figures(); }
  vmm::GuestStats stats() const { return guest_.stats().value_or(vmm::GuestStats()); }

 private:
  Contender(BlockFile& file, Way way, std::uint64_t memory, std::uint64_t taken)
      : file_(file), way_(way), memory_(memory), taken_(taken) {}
  void use_one();

  BlockFile& file_;
  const Way way_;
  const std::uint64_t memory_, taken_;
  vmm::Guest guest_;
  vmm::Heap heap_;
  std::unique_ptr<BlockCache> cache_;
  std::mt19937_64 random_{1};
};

}  // namespace balloon_vs_swap
