#include "messages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace vmm::run {
namespace {

constexpr int standard_error = STDERR_FILENO;
struct stat what_it_was {};
bool known = false;

// What was said, shared with children.
std::atomic<std::uint32_t>* said = nullptr;
std::atomic<std::uint32_t> said_here{0};
static_assert(static_cast<unsigned>(Limit::kCount) <= 32);

bool still_there() noexcept {
  struct stat now {};
  return known && ::fstat(standard_error, &now) == 0 && now.st_dev == what_it_was.st_dev &&
         now.st_ino == what_it_was.st_ino;
}

}  // namespace

void keep_standard_error() noexcept {
  known = ::fstat(STDERR_FILENO, &what_it_was) == 0;
  void* const shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared != MAP_FAILED) said = static_cast<std::atomic<std::uint32_t>*>(shared);
}

void say(const char* text) noexcept {
  const int before = errno;
  if (still_there()) {
    char name[] = "vmmctl run: ", end[] = "\n";
    const iovec parts[] = {{name, sizeof(name) - 1}, {const_cast<char*>(text), std::strlen(text)}, {end, 1}};
    // One call, so that lines of several processes stay whole. Nobody is left to tell of its failure.
    [[maybe_unused]] const auto written = ::writev(standard_error, parts, 3);
  }
  errno = before;
}

void say_once(Limit what, const char* text) noexcept {
  auto& words = said != nullptr ? *said : said_here;
  const std::uint32_t bit = 1U << static_cast<unsigned>(what);
  if ((words.fetch_or(bit, std::memory_order_relaxed) & bit) == 0) say(text);
}

void fail_at_start(const char* text) noexcept {
  say(text);
  ::_exit(125);
}

}  // namespace vmm::run
