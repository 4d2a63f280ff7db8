// unload: loads libvmm.so, uses it through vmm/c.h, unloads it, many times, also from a thread that goes on afterwards.
//   unload <libvmm.so> <swap directory>
// Each time the library is gone from the process's mappings, with its threads and descriptors, and what remains of the
// process works: threads that used it end, and fork() calls nothing of it. Where a thread has had a seat the library
// stays until that thread has ended, whose end it is to notice, and goes when a library is unloaded the next time.
// Prints what is wrong; exit status 0: nothing is.
#define _GNU_SOURCE

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/c.h>

#define MIB (UINT64_C(1) << 20)
enum { kTimes = 10 };

static const char* library;
static const char* directory;
static int wrong = 0;

static void expect(int holds, const char* what, int line) {
  if (holds) return;
  printf("unload.c:%d: not so: %s\n", line, what);
  ++wrong;
}
#define EXPECT(condition) expect((condition) ? 1 : 0, #condition, __LINE__)

// One entry of /proc/self/<name> each, but for "." and ".." and the one that this needs.
static int entries(const char* name) {
  DIR* folder = opendir(name);
  if (folder == NULL) return -1;
  int count = -3;
  while (readdir(folder) != NULL) ++count;
  closedir(folder);
  return count;
}

// Threads of the library: those called vmm-...
static int library_threads(void) {
  DIR* folder = opendir("/proc/self/task");
  if (folder == NULL) return -1;
  int count = 0;
  for (struct dirent* entry; (entry = readdir(folder)) != NULL;) {
    char path[300], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    FILE* file = fopen(path, "r");
    if (file == NULL) continue;
    if (fgets(name, sizeof name, file) != NULL && strncmp(name, "vmm-", 4) == 0) ++count;
    fclose(file);
  }
  closedir(folder);
  return count;
}

static int is_mapped(void) {
  int found = 0;
  char line[4352];
  FILE* maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) return -1;
  while (fgets(line, sizeof line, maps) != NULL) found |= strstr(line, "libvmm.so") != NULL;
  fclose(maps);
  return found;
}

// What the program calls, found by name.
#define FUNCTIONS(X)                                                                                                 \
  X(vmm_last_error) X(vmm_host_options_init) X(vmm_host_create) X(vmm_host_destroy) X(vmm_guest_options_init)        \
  X(vmm_guest_create) X(vmm_guest_destroy) X(vmm_guest_memory) X(vmm_guest_reclaim) X(vmm_guest_pin)                 \
  X(vmm_pin_release) X(vmm_guest_attach_current_thread) X(vmm_seat_release) X(vmm_host_stats_json) X(vmm_free) X(vmm_host_on_event)

typedef struct api {
#define MEMBER(name) __typeof__(&name) name;
  FUNCTIONS(MEMBER)
#undef MEMBER
} api;

static int find(void* module, api* a) {
#define FIND(name)                                \
  *(void**)&a->name = dlsym(module, #name);       \
  if (a->name == NULL) return printf("%s\n", dlerror()), 0;
  FUNCTIONS(FIND)
#undef FIND
  return 1;
}

static void count_event(const vmm_event* event, void* context) {
  if (event->size != 0) ++*(int*)context;  // one thread of the host calls, and it has ended before this is read
}

// `seated`: this thread has a seat meanwhile.
static void live(const api* a, int seated) {
  vmm_host_options host_options;
  vmm_guest_options guest_options;
  EXPECT(a->vmm_host_options_init(&host_options, sizeof host_options) == 0);
  EXPECT(a->vmm_guest_options_init(&guest_options, sizeof guest_options) == 0);
  vmm_host* host = NULL;
  host_options.memory = 1;
  EXPECT(a->vmm_host_create(&host_options, &host) != 0 && strstr(a->vmm_last_error(), "memory") != NULL);
  host_options.memory = 32 * MIB;
  host_options.swap_directory = directory;
  host_options.management = VMM_MANAGEMENT_AT_CREATION;
  if (a->vmm_host_create(&host_options, &host) != 0) {
    printf("vmm_host_create: %s\n", a->vmm_last_error());
    ++wrong;
    return;
  }
  int events = 0;
  EXPECT(a->vmm_host_on_event(host, count_event, &events) == 0);
  vmm_guest* guest = NULL;
  guest_options.name = "g";
  guest_options.memory = 4 * MIB;
  EXPECT(a->vmm_guest_create(host, &guest_options, &guest) == 0);
  char* memory = a->vmm_guest_memory(guest, NULL);
  if (memory != NULL) {
    memset(memory, 9, 4 * MIB);
    uint64_t freed = 0;
    EXPECT(a->vmm_guest_reclaim(guest, 4 * MIB, &freed) == 0 && freed > 0);
    uint64_t not_nine = 0;
    for (uint64_t at = 0; at < 4 * MIB; ++at) not_nine += memory[at] != 9;
    EXPECT(not_nine == 0);
  }
  vmm_pin* pin = NULL;
  vmm_seat* seat = NULL;
  char* text = NULL;
  EXPECT(a->vmm_guest_pin(guest, 0, 4096, &pin) == 0);
  if (seated) EXPECT(a->vmm_guest_attach_current_thread(guest, VMM_ATTACH_MEASURE_ONLY, &seat) == 0);
  EXPECT(a->vmm_host_stats_json(host, &text) == 0);
  a->vmm_free(text);
  a->vmm_seat_release(seat);
  a->vmm_pin_release(pin);
  a->vmm_host_destroy(host);  // before its guest, which is inert then
  EXPECT(a->vmm_guest_memory(guest, NULL) == NULL);
  EXPECT(a->vmm_guest_reclaim(guest, 4096, NULL) == -VMM_ERR_INERT_HANDLE);
  a->vmm_guest_destroy(guest);
  EXPECT(events > 0);
}

static void fork_once(void) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  int status = -1;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

// A thread that was joined is in /proc for a moment longer.
static void expect_threads_gone(void) {
  for (int i = 0; i < 1000000 && library_threads() != 0; ++i) sched_yield();
  EXPECT(library_threads() == 0);
}

static int load(void** module, api* functions) {
  *module = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (*module == NULL) printf("%s\n", dlerror());
  if (*module != NULL && find(*module, functions)) return 1;
  ++wrong;
  return 0;
}

static void unload(void* module) {
  expect_threads_gone();
  EXPECT(dlclose(module) == 0);
}

static void in_this_thread(int seated) {
  api functions;
  void* module;
  if (!load(&module, &functions)) return;
  live(&functions, seated);
  unload(module);
  fork_once();
}

typedef struct visit {
  api functions;
  int seated;
  pthread_barrier_t used, unloaded;
} visit;

static void* visitor(void* argument) {
  visit* v = argument;
  live(&v->functions, v->seated);
  pthread_barrier_wait(&v->used);
  pthread_barrier_wait(&v->unloaded);
  return NULL;
}

// In a thread that ends when the library is unloaded.
static void in_another_thread(int seated) {
  visit v = {.seated = seated};
  void* module;
  pthread_t thread;
  if (!load(&module, &v.functions)) return;
  pthread_barrier_init(&v.used, NULL, 2);
  pthread_barrier_init(&v.unloaded, NULL, 2);
  EXPECT(pthread_create(&thread, NULL, visitor, &v) == 0);
  pthread_barrier_wait(&v.used);
  unload(module);
  if (!seated) EXPECT(is_mapped() == 0);
  fork_once();
  pthread_barrier_wait(&v.unloaded);
  EXPECT(pthread_join(thread, NULL) == 0);
  pthread_barrier_destroy(&v.used);
  pthread_barrier_destroy(&v.unloaded);
}

int main(int argc, char** argv) {
  if (argc != 3) return fprintf(stderr, "usage: unload <libvmm.so> <swap directory>\n"), 2;
  library = argv[1];
  directory = argv[2];
  EXPECT(is_mapped() == 0);
  int descriptors = 0;
  for (int i = 0; i < kTimes && wrong == 0; ++i) {
    in_this_thread(0);
    EXPECT(is_mapped() == 0);
    in_another_thread(0);
    EXPECT(is_mapped() == 0);
    in_another_thread(1);
    in_this_thread(0);
    EXPECT(is_mapped() == 0);
    if (i == 0) descriptors = entries("/proc/self/fd");
    EXPECT(entries("/proc/self/fd") == descriptors);
  }
  // This thread ends last: what its seat left is destroyed at exit, by a library that is there still.
  in_this_thread(1);
  EXPECT(is_mapped() == 1);
  EXPECT(entries("/proc/self/fd") == descriptors);
  if (wrong == 0) printf("loaded and unloaded %d times\n", 4 * kTimes + 1);
  return wrong != 0;
}
