// Memory under test: plain mappings, ways of touching memory, what the kernel says about it, and warming the machine.
// Thread-safety: a PlainMapping belongs to one thread at a time; the functions may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vmm::bench {

enum class Pages { small, huge };
inline const char* to_string(Pages pages) { return pages == Pages::small ? "4 KB" : "huge"; }

// What a program gets without this library: private anonymous memory, 2 MiB aligned, with the advice for its pages.
class PlainMapping {
 public:
  PlainMapping(std::uint64_t bytes, Pages pages);  // throws std::runtime_error
  ~PlainMapping();
  PlainMapping(const PlainMapping&) = delete;
  PlainMapping& operator=(const PlainMapping&) = delete;

  std::span<std::byte> memory() const noexcept { return memory_; }
  // Gives all its pages back to the kernel.
  void drop();

 private:
  void* base_;
  std::uint64_t mapped_;
  std::span<std::byte> memory_;
};

// Writes one byte to each page, in order.
void touch_all(std::span<std::byte> memory);
// Writes (reads) one byte of each page of `order`, page numbers.
void touch_in_order(std::span<std::byte> memory, const std::vector<std::uint32_t>& order);

// 0, step, 2 * step ... below `pages`, shuffled.
std::vector<std::uint32_t> shuffled(std::uint64_t pages, std::uint64_t seed, std::uint64_t step = 1);

// Increments `times` 8-byte words at random places. Returns something that depends on all of them.
std::uint64_t access_randomly(std::span<std::byte> memory, std::uint64_t times, std::uint64_t seed);

// Fills with bytes that no compression shortens; the first word of each page is its number and `round`.
void fill_incompressible(std::span<std::byte> memory, std::uint64_t round);
// Pages whose first word is not what fill_incompressible(round) wrote. Touches every page, in order.
std::uint64_t count_wrong(std::span<std::byte> memory, std::uint64_t round);

// Sums over the mappings that overlap `memory`, or over all of them for an empty span; bytes.
struct Smaps {
  std::uint64_t rss = 0, anonymous = 0, huge = 0;
  std::uint64_t pss = 0;  // each page divided by how often it is mapped
};
Smaps read_smaps(std::span<const std::byte> memory = {});

// The first touch of memory that the hypervisor has not backed yet takes several times as long. Touches that much
// and gives it back. `bytes` is cut to half of what is available.
void warm_up(std::uint64_t bytes);

}  // namespace vmm::bench
