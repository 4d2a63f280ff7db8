#include "stress/report.h"

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>
#include <mutex>

#include "base/mutex.h"
#include "region/guest_memory.h"
#include "stress/peek.h"

namespace vmm::stress {
namespace {

struct Known {
  std::mutex mutex;
  std::vector<Tenant*> tenants;
  std::string heading;
};
Known& known() {
  static Known k;
  return k;
}

__attribute__((format(printf, 1, 2))) std::string text(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

const char* to_string(region::PageState state) {
  constexpr const char* names[] = {"native",  "resident",  "isolated", "shared", "compressed",
                                   "swapped", "ballooned", "empty",    "lost"};
  return static_cast<unsigned>(state) < std::size(names) ? names[static_cast<unsigned>(state)] : "?";
}

// The first failure is the one to look at; who comes later waits for the end of the process.
void first_only() {
  static std::atomic<bool> failed{false};
  if (!failed.exchange(true)) return;
  for (;;) std::this_thread::yield();
}

[[noreturn]] void end_in_failure() {
  std::fflush(nullptr);
  // For a debugger or a core dump; a thread that touches a guest may not be able to run exit handlers.
  if (std::getenv("VMM_STRESS_ABORT") != nullptr) std::abort();
  std::_Exit(1);
}

// What words look like that should be that page's.
std::string diagnose(const Tenant& tenant, std::uint64_t page_number, const PageImage& w) {
  if (std::all_of(w.begin(), w.end(), [](auto x) { return x == 0; })) return "the page is all zeros";
  if (w[kIdentity] == 0) return "the page has no identity: zeros, at least in part";
  const auto guest = w[kIdentity] >> 32, page = (w[kIdentity] & 0xffffffff) - 1;
  const bool whole = w[kChecksum] == checksum_of(w);
  const bool here = w[kIdentity] == identity_of(tenant.id(), page_number);
  return text("%s: %s", here ? "the page is this page" : "IT IS ANOTHER PAGE'S",
              text("guest %" PRIu64 " page %" PRIu64 " version %" PRIu64 " kind %u, checksum %s", guest, page,
                   w[kVersion] >> 8, static_cast<unsigned>(w[kVersion] & 0xff),
                   whole ? "right: that version as a whole" : "wrong: torn, or mixed of several")
                  .c_str());
}

// What the staging area holds in the page's place, where the kernel says that there is something.
std::string diagnose_staged(const Tenant& tenant, std::uint64_t page) {
  const auto& memory = memory_of(const_cast<Tenant&>(tenant).guest());
  std::uint8_t bits = 0;
  if (memory.pagemap().bits(memory.staged(page), 1, &bits) != 0 || (bits & os::kPresent) == 0) return "nothing";
  PageImage words;
  // Through the kernel: should the page go meanwhile, this fails or waits, but reads no zeros.
  const int fd = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  const auto n =
      ::pread(fd, words.data(), kPageSize, static_cast<off_t>(reinterpret_cast<std::uintptr_t>(memory.staged(page))));
  ::close(fd);
  if (n != static_cast<ssize_t>(kPageSize)) return "a page that cannot be read";
  return ((bits & os::kZero) != 0 ? "the kernel's zero page: " : "") + diagnose(tenant, page, words);
}

void crashed(int signal, siginfo_t* info, void*) {
  // Not safe in a signal handler in general; the process ends in any case, and this says where.
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  std::fprintf(stderr, "signal %d at %#" PRIxPTR ": %s\n", signal, address, describe_address(address).c_str());
  std::signal(signal, SIG_DFL);
}

}  // namespace

void add_known(Tenant& tenant) {
  std::lock_guard lock(known().mutex);
  known().tenants.push_back(&tenant);
}

void remove_known(Tenant& tenant) {
  std::lock_guard lock(known().mutex);
  std::erase(known().tenants, &tenant);
}

std::vector<MemoryRange> known_ranges() {
  std::vector<MemoryRange> ranges;
  std::lock_guard lock(known().mutex);
  for (auto* tenant : known().tenants) {
    const auto& memory = memory_of(tenant->guest());
    const auto bytes = memory.pages() * kPageSize;
    for (const auto* start : {memory.base(), memory.staged(0)}) {
      const auto first = reinterpret_cast<std::uintptr_t>(start);
      ranges.push_back({first, first + bytes});
    }
  }
  return ranges;
}

void set_report_heading(const std::string& heading) {
  std::lock_guard lock(known().mutex);
  known().heading = heading;
}

std::string describe_page(const Tenant& tenant, std::uint64_t page) {
  auto& memory = memory_of(const_cast<Tenant&>(tenant).guest());
  const auto word = memory.table.load(page);
  std::uint8_t bits = 0, staged = 0, scanned = 0;
  memory.pagemap().bits_from_pagemap(memory.at(page), 1, &bits);
  memory.pagemap().bits(memory.at(page), 1, &scanned);
  bits |= scanned & (os::kZero | os::kHuge);
  memory.pagemap().bits_from_pagemap(memory.staged(page), 1, &staged);
  const auto kernel = [](std::uint8_t b) {
    return text("%s%s%s%s%s%s", (b & os::kPresent) != 0 ? "present" : "missing",
                (b & os::kWritten) != 0 ? " written" : "", (b & os::kSwapped) != 0 ? " kernel-swapped" : "",
                (b & os::kMarker) != 0 ? " marker" : "", (b & os::kZero) != 0 ? " zero-page" : "",
                (b & os::kHuge) != 0 ? " huge" : "");
  };
  return text("guest \"%s\" (id %" PRIu64 "%s) page %" PRIu64 " of %" PRIu64
              " at %p: %s%s%s%s, slot %s, "
              "generation %u, heat %u; in place %s, staging %s",
              tenant.name().c_str(), tenant.id(), memory.managed() ? "" : ", native", page, tenant.pages(),
              static_cast<void*>(tenant.at(page)), to_string(word.state()), word.locked() ? " locked" : "",
              word.pinned() ? " pinned" : "", word.writing() ? " writing" : "",
              word.has_slot() ? std::to_string(word.slot()).c_str() : "none", word.generation(),
              memory.heat(page / region::GuestMemory::kRunPages), kernel(bits).c_str(), kernel(staged).c_str());
}

std::string describe_address(std::uintptr_t address) {
  std::unique_lock lock(known().mutex, std::try_to_lock);
  if (!lock) return "guests are being created or destroyed";
  for (const auto* tenant : known().tenants) {
    const auto first = reinterpret_cast<std::uintptr_t>(tenant->at(0));
    if (address >= first && address < first + tenant->pages() * kPageSize)
      return describe_page(*tenant, (address - first) / kPageSize);
  }
  return "no guest";
}

void report_mismatch(const Mismatch& m) {
  const auto now = describe_page(m.tenant, m.page);  // before time passes
  const auto staged = diagnose_staged(m.tenant, m.page);
  first_only();
  const auto& shadow = m.tenant.shadow(m.page);
  const auto right = shadow.content();
  std::fprintf(stderr, "\nMISMATCH  %s\n  %s\n  seen by thread %u in operation %" PRIu64 ", %s\n",
               known().heading.c_str(), now.c_str(), m.who.thread, m.who.number, to_string(m.who.op));
  std::fprintf(stderr, "  expected version %u kind %s patch %u; %s\n", right.version, to_string(right.kind),
               right.patch, diagnose(m.tenant, m.page, m.found).c_str());
  std::fprintf(stderr, "  its place in the staging area holds %s\n", staged.c_str());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < kPageWords; ++i) wrong += m.found[i] != m.right[i] ? 1 : 0;
  std::fprintf(stderr,
               "  first wrong offset %zu: expected %#018" PRIx64 " found %#018" PRIx64 "; %zu of %zu words differ\n",
               m.word * 8, m.right[m.word], m.found[m.word], wrong, kPageWords);
  for (const auto& op : shadow.logged())
    if (op.op != Op::none)
      std::fprintf(stderr, "  before: %s by thread %u in operation %" PRIu64 "\n", to_string(op.op), op.thread,
                   op.number);
  PageImage again;
  read_page(m.tenant.at(m.page), again);
  std::fprintf(stderr, "  read again: %s; %s\n",
               again == m.found ? "the same" : (again == m.right ? "RIGHT now" : "different"),
               describe_page(m.tenant, m.page).c_str());
  end_in_failure();
}

void report_failure(const std::string& message) {
  first_only();
  std::fprintf(stderr, "\nFAILURE  %s\n  %s\n", known().heading.c_str(), message.c_str());
  end_in_failure();
}

void install_crash_report() {
  struct sigaction action {};
  action.sa_sigaction = crashed;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND);
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace vmm::stress
