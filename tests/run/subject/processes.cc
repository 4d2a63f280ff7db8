#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "parts.h"

namespace subject {
namespace {

constexpr std::size_t kMiB = 1 << 20;

// Half of it through malloc, half mapped.
std::vector<Block> blocks_of(std::size_t mib) {
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < mib; ++i) {
    void* const memory = i % 2 == 0 ? std::malloc(kMiB)
                                    : ::mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != nullptr && memory != MAP_FAILED);
    blocks.push_back({static_cast<std::uint64_t*>(memory), kMiB / 8});
    blocks.back().write(i);
  }
  return blocks;
}

bool all_hold(const std::vector<Block>& blocks, std::uint64_t version) {
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (!blocks[i].holds(i + version)) return false;
  return true;
}

int status_of(pid_t child) {
  int status = 0;
  CHECK(child > 0 && ::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int descriptors(std::size_t mib) {
  const auto blocks = blocks_of(mib);
  // As daemons do.
  for (int d = 3; d < 1100; ++d) ::close(d);
  ::closefrom(3);
  ::close_range(3, ~0U, 0);
  CHECK(all_hold(blocks, 0));
  // Those of the shell: numbers of its own choice, all that are below the limit.
  const int null = ::open("/dev/null", O_RDWR);
  int replaced = 0;
  for (int d = 4; d < 1024; ++d) replaced += ::dup2(null, d) == d ? 1 : 0;
  CHECK(replaced > 900);
  CHECK(all_hold(blocks, 0));
  return well();
}

// The child sees all memory as it was at the fork, and what each writes then is its own.
int fork_and_check(std::size_t mib) {
  const auto blocks = blocks_of(mib);
  const pid_t child = ::fork();
  if (child == 0) {
    if (!all_hold(blocks, 0)) ::_exit(10);
    // It has memory of its own, old and new.
    for (const Block& block : blocks) block.write(77);
    for (const Block& block : blocks)
      if (!block.holds(77)) ::_exit(11);
    auto* more = static_cast<char*>(std::malloc(2 * kMiB));
    std::memset(more, 1, 2 * kMiB);
    more = static_cast<char*>(std::realloc(more, 3 * kMiB));
    if (more == nullptr || more[2 * kMiB - 1] != 1) ::_exit(12);
    std::free(more);
    auto* grown = static_cast<std::uint64_t*>(std::realloc(blocks[0].words, 2 * kMiB));
    if (grown == nullptr || grown[1] != word_of(1, 77)) ::_exit(13);
    std::free(grown);
    ::_exit(0);
  }
  CHECK(status_of(child) == 0);
  CHECK(all_hold(blocks, 0));
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i].write(i + 1000);
  CHECK(all_hold(blocks, 1000));
  return well();
}

// Children that only exec, again and again, beside a parent that goes on writing.
int fork_and_exec(std::size_t mib) {
  const auto blocks = blocks_of(mib);
  const std::string program = "/bin/sh", words = "test \"$word\" = value";
  for (std::uint64_t turn = 1; turn <= 10; ++turn) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("word", "value", 1);
      ::execl(program.c_str(), "sh", "-c", words.c_str(), nullptr);
      ::_exit(127);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i].write(i + turn);
    CHECK(status_of(child) == 0);
    CHECK(all_hold(blocks, turn));
  }
  CHECK(::system("test 1 = 1") == 0);
  std::FILE* const pipe = ::popen("echo hello", "r");
  char line[16] = {};
  CHECK(pipe != nullptr && std::fgets(line, sizeof(line), pipe) != nullptr && std::strcmp(line, "hello\n") == 0);
  CHECK(::pclose(pipe) == 0);
  const pid_t child = ::vfork();
  if (child == 0) {
    ::execl(program.c_str(), "sh", "-c", "exit 3", nullptr);
    ::_exit(127);
  }
  CHECK(status_of(child) == 3);
  return well();
}

// A child's child, at once and after a while.
int fork_tree(std::size_t mib) {
  const auto blocks = blocks_of(mib);
  const pid_t child = ::fork();
  if (child == 0) {
    const pid_t grandchild = ::fork();
    if (grandchild == 0) ::_exit(all_hold(blocks, 0) ? 0 : 20);
    int status = 0;
    if (::waitpid(grandchild, &status, 0) != grandchild || status != 0) ::_exit(21);
    ::_exit(all_hold(blocks, 0) ? 0 : 22);
  }
  CHECK(status_of(child) == 0);
  CHECK(all_hold(blocks, 0));
  return well();
}

// What a child drops reads as zero there, also where it was not in memory; what it unmaps is gone.
int fork_and_drop(std::size_t mib) {
  const auto blocks = blocks_of(mib);
  const pid_t child = ::fork();
  if (child == 0) {
    for (std::size_t i = 1; i < blocks.size(); i += 2) {
      if (i % 4 == 1) {
        if (::madvise(blocks[i].words, kMiB, MADV_DONTNEED) != 0) ::_exit(30);
        for (std::size_t w = 0; w < blocks[i].count; ++w)
          if (blocks[i].words[w] != 0) ::_exit(31);
      } else if (::munmap(blocks[i].words, kMiB) != 0) {
        ::_exit(32);
      }
    }
    for (std::size_t i = 0; i < blocks.size(); i += 2)
      if (!blocks[i].holds(i)) ::_exit(33);
    ::_exit(0);
  }
  CHECK(status_of(child) == 0);
  CHECK(all_hold(blocks, 0));
  return well();
}

int own_session() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::setsid() == ::getpid() ? 0 : 40);
  CHECK(status_of(child) == 0);
  return well();
}

// A library that comes later: allocates by itself, and its data is thread-local.
int plugin() {
  void* const library = ::dlopen(RUN_SUBJECT_PLUGIN, RTLD_NOW);
  if (library == nullptr) std::fprintf(stderr, "%s\n", ::dlerror());
  CHECK(library != nullptr);
  const auto sum = reinterpret_cast<long (*)(int)>(::dlsym(library, "plugin_sum"));
  CHECK(sum != nullptr && sum(100000) == 100000L * 99999 / 2);
  CHECK(::dlclose(library) == 0);
  return well();
}

int environment() {
  for (const char* name : {"LD_PRELOAD", "VMM_RUN", "KEPT"}) {
    const char* const value = std::getenv(name);
    std::printf("%s=%s\n", name, value != nullptr ? value : "(none)");
  }
  // Of a child.
  std::fflush(stdout);
  return ::system("echo \"child ${LD_PRELOAD-(none)} ${VMM_RUN-(none)}\"") == 0 ? 0 : 1;
}

int exec_again(const char* self) {
  ::execl(self, self, "full", nullptr);
  return 1;
}

}  // namespace subject
