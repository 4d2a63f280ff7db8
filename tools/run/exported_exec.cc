// The exec family, for the program that execs another in its own place: that one's memory is to be in a guest as well
// (a script's `exec`, env(1)). What children exec goes as it comes: see environment.h.
#include <alloca.h>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <unistd.h>

#include "environment.h"
#include "inside.h"
#include "messages.h"
#include "program_file.h"
#include "program_memory.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace vmm::run {
namespace {

using Exec = int (*)(const char*, char* const*, char* const*);

// The C library's own. Looked up before there are children, who may not (vfork).
Exec real_execve = nullptr, real_execvpe = nullptr;
int (*real_fexecve)(int, char* const*, char* const*) = nullptr;

__attribute__((constructor)) void look_up() noexcept {
  const Inside here;
  real_execve = reinterpret_cast<Exec>(::dlsym(RTLD_NEXT, "execve"));
  real_execvpe = reinterpret_cast<Exec>(::dlsym(RTLD_NEXT, "execvpe"));
  real_fexecve = reinterpret_cast<int (*)(int, char* const*, char* const*)>(::dlsym(RTLD_NEXT, "fexecve"));
}

bool stays_in_guest() noexcept { return ProgramMemory::is_this_process() && !ProgramMemory::settings().children; }

void tell_if_it_leaves(const std::string& path) {
  const auto problem = why_not_preloadable(path);
  if (!problem.empty()) say((problem + "; it goes on without a guest").c_str());
}

int exec(const char* path, char* const* arguments, char* const* environment) noexcept {
  if (!stays_in_guest()) return real_execve(path, arguments, environment);
  const Inside here;
  const WithSettings settings(environment);
  if (path != nullptr) tell_if_it_leaves(path);
  return real_execve(path, arguments, settings.get());
}

int exec_found(const char* name, char* const* arguments, char* const* environment) noexcept {
  if (!stays_in_guest()) return real_execvpe(name, arguments, environment);
  const Inside here;
  const WithSettings settings(environment);
  const char* const path = std::getenv("PATH");
  if (const auto found = find_program(name != nullptr ? name : "", path != nullptr ? path : "/usr/bin:/bin");
      found.status == 0)
    tell_if_it_leaves(found.path);
  return real_execvpe(name, arguments, settings.get());
}

}  // namespace
}  // namespace vmm::run

using namespace vmm::run;

EXPORTED int execve(const char* path, char* const arguments[], char* const environment[]) noexcept {
  return exec(path, arguments, environment);
}
EXPORTED int execv(const char* path, char* const arguments[]) noexcept { return exec(path, arguments, environ); }
EXPORTED int execvp(const char* name, char* const arguments[]) noexcept { return exec_found(name, arguments, environ); }
EXPORTED int execvpe(const char* name, char* const arguments[], char* const environment[]) noexcept {
  return exec_found(name, arguments, environment);
}
EXPORTED int fexecve(int descriptor, char* const arguments[], char* const environment[]) noexcept {
  if (!stays_in_guest()) return real_fexecve(descriptor, arguments, environment);
  const Inside here;
  const WithSettings settings(environment);
  return real_fexecve(descriptor, arguments, settings.get());
}

// On the stack, for a child of vfork() may call these.
#define GATHER_ARGUMENTS(first, more)                                                  \
  std::size_t count = 1;                                                               \
  va_list ahead;                                                                       \
  va_copy(ahead, more);                                                                \
  while (va_arg(ahead, char*) != nullptr) ++count;                                     \
  va_end(ahead);                                                                       \
  auto** const arguments = static_cast<char**>(::alloca((count + 1) * sizeof(char*))); \
  arguments[0] = const_cast<char*>(first);                                             \
  for (std::size_t i = 1; i <= count; ++i) arguments[i] = va_arg(more, char*)

EXPORTED int execl(const char* path, const char* first, ...) noexcept {
  va_list more;
  va_start(more, first);
  GATHER_ARGUMENTS(first, more);
  va_end(more);
  return exec(path, arguments, environ);
}
EXPORTED int execlp(const char* name, const char* first, ...) noexcept {
  va_list more;
  va_start(more, first);
  GATHER_ARGUMENTS(first, more);
  va_end(more);
  return exec_found(name, arguments, environ);
}
EXPORTED int execle(const char* path, const char* first, ...) noexcept {
  va_list more;
  va_start(more, first);
  GATHER_ARGUMENTS(first, more);
  auto* const environment = va_arg(more, char* const*);
  va_end(more);
  return exec(path, arguments, environment);
}
