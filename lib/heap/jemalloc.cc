#include "heap/jemalloc.h"

#include <sys/types.h>

#include <array>

#include "base/check.h"

// What jemalloc asks the program for its settings with, redirected to here: nothing is set.
extern "C" {
__attribute__((visibility("hidden"))) char* vmm_je_secure_getenv(const char* name) noexcept;
__attribute__((visibility("hidden"))) ssize_t vmm_je_readlink(const char* path, char* text, std::size_t bytes) noexcept;
__attribute__((visibility("hidden"))) extern const char* vmm_je_malloc_conf;
__attribute__((visibility("hidden"))) extern bool vmm_je_opt_cache_oblivious;

char* vmm_je_secure_getenv(const char*) noexcept { return nullptr; }
ssize_t vmm_je_readlink(const char*, char*, std::size_t) noexcept { return -1; }

// Nor does it hear of forks: it would hold all of its mutexes, some 80 a heap, at each fork of the program, for the
// sake of children that may not use a heap anyway.
__attribute__((visibility("hidden"))) int vmm_je_pthread_atfork(void (*)(), void (*)(), void (*)()) noexcept;
int vmm_je_pthread_atfork(void (*)(), void (*)(), void (*)()) noexcept { return 0; }

// tcache: caches of threads would mix arenas. retain: what an arena does not use belongs to its guest's free pages,
// where the balloon finds it. decay: keeping a page that is free costs nothing until the host asks for it, and then the
// arena is purged. lg_extent_max_active_fit: small extents are cut from large free ones too, before more memory is
// touched. narenas: the one of jemalloc's own data; heaps make theirs. background_thread, dss: no thread and no sbrk
// behind the program's back.
const char* vmm_je_malloc_conf =
    "tcache:false,retain:false,dirty_decay_ms:-1,muzzy_decay_ms:0,lg_extent_max_active_fit:64,narenas:1,"
    "oversize_threshold:0,background_thread:false,dss:disabled";
}

namespace vmm::heap {
namespace {

// A page more for every large allocation, so that they begin at different cache lines: a fifth of what 16 KiB take. Not
// among the settings of this version; read by jemalloc's own constructor, which comes after this one.
__attribute__((constructor(101))) void no_padding() noexcept { vmm_je_opt_cache_oblivious = false; }

// jemalloc's arena_config_t, which its header does not declare.
struct ArenaConfig {
  extent_hooks_t* hooks;
  bool metadata_use_hooks;
};

// A name of mallctl in which one number is the arena: looked up once.
class ArenaName {
 public:
  explicit ArenaName(const char* name, std::size_t place) noexcept : place_(place) {
    VMM_CHECK_EQ(vmm_je_mallctlnametomib(name, mib_.data(), &length_), 0);
  }
  int call(unsigned arena, void* old, std::size_t* old_bytes) const noexcept {
    auto mib = mib_;
    mib[place_] = arena;
    return vmm_je_mallctlbymib(mib.data(), length_, old, old_bytes, nullptr, 0);
  }
  std::size_t read(unsigned arena) const noexcept {
    std::size_t value = 0, bytes = sizeof(value);
    return call(arena, &value, &bytes) == 0 ? value : 0;
  }

 private:
  std::array<std::size_t, 8> mib_{};
  std::size_t length_ = 8;
  const std::size_t place_;
};

constexpr std::uint64_t kArenaPage = 4096;

}  // namespace

int create_arena(extent_hooks_t* hooks, unsigned& arena) noexcept {
  ArenaConfig config{hooks, false};
  std::size_t bytes = sizeof(arena);
  return vmm_je_mallctl("experimental.arenas_create_ext", &arena, &bytes, &config, sizeof(config));
}

void destroy_arena(unsigned arena) noexcept {
  static const ArenaName name("arena.0.destroy", 1);
  VMM_CHECK_EQ(name.call(arena, nullptr, nullptr), 0);
}

void purge_arena(unsigned arena) noexcept {
  static const ArenaName name("arena.0.purge", 1);
  VMM_CHECK_EQ(name.call(arena, nullptr, nullptr), 0);
}

ArenaFigures arena_figures(unsigned arena) noexcept {
  static const ArenaName small("stats.arenas.0.small.allocated", 2);
  static const ArenaName large("stats.arenas.0.large.allocated", 2);
  static const ArenaName pages("stats.arenas.0.pactive", 2);
  // Figures stand still until the epoch is advanced.
  std::uint64_t epoch = 1;
  vmm_je_mallctl("epoch", nullptr, nullptr, &epoch, sizeof(epoch));
  return {small.read(arena) + large.read(arena), pages.read(arena) * kArenaPage};
}

}  // namespace vmm::heap
