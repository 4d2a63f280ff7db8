// What is printed before a stress test ends in failure, and the tenants it can name.
// Thread-safety: every function from any thread; of several failures the first is reported.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stress/tenant.h"

namespace vmm::stress {

struct Mismatch {
  const Tenant& tenant;
  const Actor& who;
  std::uint64_t page;
  const PageImage& found;
  const PageImage& right;
  std::size_t word;  // the first that differs
};

// Ends the process with status 1: guest, page, versions, first wrong offset, what the library and the kernel say of
// the page, and the last operations on it.
[[noreturn]] void report_mismatch(const Mismatch& mismatch);

// Ends the process with status 1 after that message.
[[noreturn]] void report_failure(const std::string& message);

// What the library and the kernel know of a page, in one line.
std::string describe_page(const Tenant& tenant, std::uint64_t page);
// Where that address lies: guest and page with describe_page, or "no guest".
std::string describe_address(std::uintptr_t address);

// Tenants that reports and the budget monitor know of; a tenant is in the list as long as it lives.
void add_known(Tenant& tenant);
void remove_known(Tenant& tenant);

// Memory ranges of the known tenants: guests and their staging areas.
struct MemoryRange {
  std::uintptr_t first = 0, end = 0;
};
std::vector<MemoryRange> known_ranges();

// SIGSEGV and SIGBUS name the guest and page before they end the process.
void install_crash_report();

// First words of a failure report: what was being run.
void set_report_heading(const std::string& heading);

}  // namespace vmm::stress
