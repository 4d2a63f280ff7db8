#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "parts.h"

namespace subject {
namespace {

constexpr std::size_t kPage = 4096, kMiB = 1 << 20;

bool aligned(const void* memory, std::size_t to) { return reinterpret_cast<std::uintptr_t>(memory) % to == 0; }

bool all_zero(const void* memory, std::size_t bytes) {
  const auto* const p = static_cast<const unsigned char*>(memory);
  for (std::size_t i = 0; i < bytes; ++i)
    if (p[i] != 0) return false;
  return true;
}

void* map(std::size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

// What was allocated before main, perhaps before there was a guest.
struct Early {
  char* text = ::strdup("of a constructor");
} early;

}  // namespace

int allocators() {
  early.text = static_cast<char*>(std::realloc(early.text, 4000));
  CHECK(std::strcmp(early.text, "of a constructor") == 0);
  std::free(early.text);
  for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, kPage, 3 * kMiB}) {
    void* p = std::malloc(bytes);
    CHECK(p != nullptr && aligned(p, bytes >= 16 ? 16 : 8));
    CHECK(::malloc_usable_size(p) >= bytes);
    std::memset(p, 0x5a, ::malloc_usable_size(p));
    std::free(p);
    p = std::calloc(bytes / 10 + 1, 10);
    CHECK(p != nullptr && all_zero(p, (bytes / 10 + 1) * 10));
    std::free(p);
  }
  for (std::size_t alignment = 8; alignment <= 4 * kMiB; alignment *= 2) {
    void* p = nullptr;
    CHECK(::posix_memalign(&p, alignment, 1000) == 0 && aligned(p, alignment));
    std::free(p);
    p = std::aligned_alloc(alignment, 2 * alignment);
    CHECK(p != nullptr && aligned(p, alignment));
    std::free(p);
    p = ::memalign(alignment, 10);
    CHECK(p != nullptr && aligned(p, alignment));
    std::free(p);
  }
  void* p = nullptr;
  CHECK(::posix_memalign(&p, 24, 10) == EINVAL);
  p = ::valloc(10);
  CHECK(p != nullptr && aligned(p, kPage));
  std::free(p);
  p = ::pvalloc(kPage + 1);
  CHECK(p != nullptr && aligned(p, kPage) && ::malloc_usable_size(p) >= 2 * kPage);
  std::free(p);
  // Growing and shrinking keeps what fits.
  auto* words = static_cast<std::uint64_t*>(nullptr);
  std::size_t before = 0;
  for (std::size_t count : {10UL, 1000UL, 100000UL, 1000000UL, 999999UL, 5000UL, 3UL}) {
    words = static_cast<std::uint64_t*>(::reallocarray(words, count, sizeof(*words)));
    CHECK(words != nullptr);
    for (std::size_t i = 0; i < std::min(before, count); ++i) CHECK(words[i] == word_of(i, 1));
    for (std::size_t i = 0; i < count; ++i) words[i] = word_of(i, 1);
    before = count;
  }
  std::free(words);
  volatile std::size_t huge = SIZE_MAX / 2;
  errno = 0;
  CHECK(std::malloc(huge) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(std::calloc(huge, 4) == nullptr && errno == ENOMEM);
  errno = 0;
  CHECK(::reallocarray(nullptr, huge, 4) == nullptr && errno == ENOMEM);
  errno = 7;
  std::free(std::malloc(100));
  CHECK(errno == 7);
  return well();
}

// Blocks change hands: each thread frees and checks what others have allocated.
int threads(std::size_t mib) {
  constexpr int kThreads = 4;
  constexpr std::size_t kBytes = 32 << 10;
  std::vector<std::atomic<std::uint64_t*>> shelf(mib * kMiB / kBytes);
  std::atomic<std::uint64_t> exchanged{0};
  const auto work = [&](std::uint64_t seed) {
    thread_local std::vector<int> local(1000, 7);  // ends with the thread
    for (std::size_t i = 0; i < 2 * shelf.size(); ++i) {
      seed = seed * 6364136223846793005 + 1442695040888963407;
      const std::size_t count = kBytes / 16 + (seed >> 40) % (kBytes / 16);
      Block block{static_cast<std::uint64_t*>(std::malloc(count * sizeof(std::uint64_t))), count};
      CHECK(block.words != nullptr);
      block.write(count);
      block.words[0] = count;
      auto* const other = shelf[(seed >> 20) % shelf.size()].exchange(block.words);
      if (other == nullptr) continue;
      const Block found{other, static_cast<std::size_t>(other[0])};
      other[0] = word_of(0, found.count);
      CHECK(found.holds(found.count));
      std::free(other);
      exchanged.fetch_add(1);
    }
    CHECK(local[999] == 7);
  };
  std::vector<std::thread> all;
  for (int i = 0; i < kThreads; ++i) all.emplace_back(work, i + 1);
  for (auto& thread : all) thread.join();
  CHECK(exchanged > 0);
  for (auto& slot : shelf) {
    if (slot == nullptr) continue;
    const Block found{slot, static_cast<std::size_t>(slot[0])};
    found.words[0] = word_of(0, found.count);
    CHECK(found.holds(found.count));
  }
  return well();
}

int mappings() {
  constexpr std::size_t kBytes = 4 * kMiB;
  auto* const memory = static_cast<unsigned char*>(map(kBytes));
  CHECK(aligned(memory, kPage) && all_zero(memory, kBytes));
  std::memset(memory, 1, kBytes);
  // Dropped, it reads as zero; its neighbours stay.
  CHECK(::madvise(memory + kMiB, kMiB, MADV_DONTNEED) == 0);
  CHECK(all_zero(memory + kMiB, kMiB) && memory[kMiB - 1] == 1 && memory[2 * kMiB] == 1);
  std::memset(memory + kMiB, 2, kMiB);
  // Over it, too.
  CHECK(::mmap(memory + kMiB, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        memory + kMiB);
  CHECK(all_zero(memory + kMiB, kPage) && memory[kMiB + kPage] == 2);
  for (const int advice : {MADV_HUGEPAGE, MADV_WILLNEED, MADV_SEQUENTIAL, MADV_NORMAL, MADV_DONTDUMP})
    CHECK(::madvise(memory, kBytes, advice) == 0);
  // Protected, it can be read; ordinary again, written.
  CHECK(::mprotect(memory + 2 * kPage, 3 * kPage, PROT_READ) == 0);
  CHECK(memory[2 * kPage] == 1);
  const int zero = ::open("/dev/zero", O_RDONLY);
  CHECK(::read(zero, memory + 2 * kPage, 1) == -1 && errno == EFAULT);
  CHECK(::mprotect(memory + 3 * kPage, kPage, PROT_READ | PROT_WRITE) == 0);
  memory[3 * kPage] = 3;
  CHECK(::read(zero, memory + 4 * kPage, 1) == -1 && errno == EFAULT);
  CHECK(::mprotect(memory, kBytes, PROT_READ | PROT_WRITE) == 0);
  CHECK(::read(zero, memory + 4 * kPage, 1) == 1);
  ::close(zero);
  // Locked, and let go of; what is locked cannot be dropped.
  CHECK(::mlock(memory, 8 * kPage) == 0);
  CHECK(::madvise(memory, kPage, MADV_DONTNEED) == -1 && errno == EINVAL);
  CHECK(::munlock(memory, 8 * kPage) == 0);
  // A hole in the middle; twice does no harm. The rest is what it was.
  CHECK(::munmap(memory + 2 * kMiB, kMiB) == 0);
  CHECK(::munmap(memory + 2 * kMiB, kMiB) == 0);
  CHECK(memory[2 * kMiB - 1] == 2 && memory[3 * kMiB] == 1);
  auto* const other = static_cast<unsigned char*>(map(kMiB));
  CHECK(all_zero(other, kMiB));
  CHECK(::munmap(memory, kBytes) == 0);
  // Larger and smaller, here or there, with all that it holds.
  void* moving = map(kMiB);
  Block block{static_cast<std::uint64_t*>(moving), kMiB / 8};
  block.write(9);
  std::size_t size = kMiB;
  for (const std::size_t next : {2 * kMiB, 16 * kMiB, 24 * kMiB, 3 * kMiB, kMiB}) {
    moving = ::mremap(moving, size, next, MREMAP_MAYMOVE);
    CHECK(moving != MAP_FAILED);
    block.words = static_cast<std::uint64_t*>(moving);
    CHECK(block.holds(9));
    if (next > size) CHECK(all_zero(static_cast<char*>(moving) + size, next - size));
    size = next;
  }
  CHECK(::munmap(moving, size) == 0 && ::munmap(other, kMiB) == 0);
  // Small mappings, files and shared memory are as ever.
  void* const small = map(kPage);
  CHECK(::mprotect(small, kPage, PROT_NONE) == 0 && ::munmap(small, kPage) == 0);
  void* const shared = ::mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED && ::munmap(shared, kMiB) == 0);
  return well();
}

// What cannot be done to guest memory is refused with an errno, and the memory is what it was.
int limits() {
  auto* const memory = static_cast<unsigned char*>(map(kMiB));
  std::memset(memory, 5, kMiB);
  for (int twice = 0; twice < 2; ++twice) {
    errno = 0;
    CHECK(::mlockall(MCL_CURRENT) == -1 && errno == ENOMEM);
    errno = 0;
    CHECK(::mmap(memory, kPage, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED &&
          errno == ENOMEM);
    errno = 0;
    CHECK(::mremap(memory, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, memory + kMiB) == MAP_FAILED &&
          errno == EINVAL);
    errno = 0;
    CHECK(::madvise(memory, kPage, MADV_WIPEONFORK) == -1 && errno == EINVAL);
  }
  for (std::size_t i = 0; i < kMiB; ++i) CHECK(memory[i] == 5);
  return well();
}

// malloc and mmap say so when there is no more, and give again what was freed.
int full() {
  std::vector<void*> blocks;
  blocks.reserve(100000);
  errno = 0;
  while (void* const block = std::malloc(kMiB)) blocks.push_back(block);
  CHECK(errno == ENOMEM && !blocks.empty());
  errno = 0;
  CHECK(::mmap(nullptr, 16 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
        errno == ENOMEM);
  for (void* const block : blocks) std::free(block);
  void* const again = std::malloc(4 * kMiB);
  CHECK(again != nullptr);
  std::memset(again, 1, 4 * kMiB);
  return well();
}

}  // namespace subject
