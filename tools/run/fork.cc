// fork(): the child gets a copy of the program's memory, as always, though part of it is not in memory.
//
// Guest memory and its staging are the child's too, from just before the kernel's fork to just after it (otherwise no
// child has them: one that is made behind the C library's back, by clone(2), gets SIGSEGV). What was in memory is
// there, copied on write; the rest is brought by child_service.h. New memory of the child is the C library's: no host,
// no budget. The parent goes on; sole_owner.h says what it has to do for that.
//
// The C library goes through its open FILEs in the child before any handler runs there; they stay in memory meanwhile.
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <new>
#include <vector>

#include "child_service.h"
#include "guest_inside.h"
#include "inside.h"
#include "messages.h"
#include "program_memory.h"
#include "sole_owner.h"
#include "vmm/units.h"

extern "C" {
// Of the C library: a lock that a thread may take several times, and what it guards.
void _IO_list_lock() noexcept;
void _IO_list_unlock() noexcept;
extern FILE* _IO_list_all;
}

namespace vmm::run {
namespace {

pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;

// What the forking thread is spared meanwhile: handlers, which could wait for what it holds itself, and being cancelled
// while it waits, for fork() is no place where a thread ends.
class Undisturbed {
 public:
  void begin() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &signals_);
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_);
  }
  void end() const noexcept {
    ::pthread_setcancelstate(cancel_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &signals_, nullptr);
  }

 private:
  sigset_t signals_;
  int cancel_;
};

// The rest is guarded by `forking`.
Undisturbed undisturbed;
bool handed = false;  // the child gets the guest
std::vector<Pin>* files = nullptr;
// The kernel copies one area after the other while other threads go on. What left memory, or was dropped, meanwhile
// could be missing in the child's copy of each.
alignas(GuestCore::Hold) std::byte held_place[sizeof(GuestCore::Hold)];
GuestCore::Hold* held = nullptr;

void hand_to_children(bool on) noexcept {
  auto& guest = guest_inside();
  const auto bytes = guest.pages() * kPageSize;
  for (auto* const area : {guest.base(), guest.staged(0)})
    (void)::madvise(area, bytes, on ? MADV_DOFORK : MADV_DONTFORK);
}

void keep_files_here() {
  ::_IO_list_lock();
  for (FILE* file = _IO_list_all; file != nullptr; file = file->_chain) {
    if (!ProgramMemory::contains(file)) continue;
    const auto first = ProgramMemory::offset_of(file) / kPageSize * kPageSize;
    // The file, and the lock behind it.
    const auto end = ProgramMemory::offset_of(file) + ProgramMemory::any_heap().usable_size(file);
    auto pin = ProgramMemory::guest().pin(first, (end - first + kPageSize - 1) / kPageSize * kPageSize);
    if (pin) files->push_back(std::move(*pin));
  }
}

// Last of all handlers before the fork, first of all after it: see below.
void prepare() {
  if (!ProgramMemory::is_this_process()) {
    // A child's child finds all pages where they are.
    end_child_service();
    return;
  }
  const Inside here;
  Undisturbed now;
  now.begin();
  ::pthread_mutex_lock(&forking);
  undisturbed = now;
  if (files == nullptr) files = new std::vector<Pin>;
  keep_files_here();
  held = new (held_place) GuestCore::Hold(guest_core());
  // Last: a child that another thread makes behind the C library's back is to get none of it.
  hand_to_children(true);
  handed = true;
}

void in_parent() {
  if (!handed || !ProgramMemory::is_this_process()) return;
  const Inside here;
  handed = false;
  hand_to_children(false);
  held->~Hold();
  files->clear();
  ::_IO_list_unlock();
  const Undisturbed before = undisturbed;
  ::pthread_mutex_unlock(&forking);
  become_sole_owner_when_needed();
  before.end();
}

void in_child() {
  if (!handed) return;
  const Inside here;
  handed = false;
  // `held` is the parent's.
  ::pthread_mutex_unlock(&forking);
  ProgramMemory::become_child();
  begin_child_service();
  undisturbed.end();
}

using Register = int (*)(void (*)(), void (*)(), void (*)(), void*);

// Handlers run before a fork in the reverse order of their registration, and after it in that order: ours come first.
// Returns the C library's function.
Register register_ours() noexcept {
  static const auto real = reinterpret_cast<Register>(::dlsym(RTLD_NEXT, "__register_atfork"));
  static const int done = real(prepare, in_parent, in_child, nullptr);
  static_cast<void>(done);
  return real;
}

__attribute__((constructor(101))) void at_load() noexcept {
  const Inside here;
  register_ours();
}

bool is_child() noexcept { return ProgramMemory::bytes() != 0 && !ProgramMemory::standing(); }

// A child that stays: its session is its own.
void tell_of_staying() noexcept {
  say_once(Limit::child_goes_on,
           "the program goes on in the background, in a child of fork(): that has no guest, and what it uses is not "
           "bounded. Run it in the foreground (as with redis-server --daemonize no)");
}

}  // namespace
}  // namespace vmm::run

// What pthread_atfork calls. Who does so before our constructor runs comes after us nevertheless.
extern "C" __attribute__((visibility("default"))) int __register_atfork(void (*before)(), void (*parent)(),
                                                                        void (*child)(), void* library) noexcept {
  const vmm::run::Inside here;
  return vmm::run::register_ours()(before, parent, child, library);
}

extern "C" __attribute__((visibility("default"))) pid_t setsid() noexcept {
  if (vmm::run::is_child()) vmm::run::tell_of_staying();
  return static_cast<pid_t>(::syscall(SYS_setsid));
}

extern "C" __attribute__((visibility("default"))) int daemon(int stay, int keep) noexcept {
  static const auto real = reinterpret_cast<int (*)(int, int)>(::dlsym(RTLD_NEXT, "daemon"));
  if (vmm::run::ProgramMemory::standing()) vmm::run::tell_of_staying();
  return real(stay, keep);
}
