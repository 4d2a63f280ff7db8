// PageOracle: what every page of one guest should hold, written to the guest and compared with it page by page.
// Contents follow from {salt, page, version}; version 0 is a page of zeros. Reads survive SIGBUS and SIGSEGV where
// the test installs CatchSignals: the page then counts as lost.
// Thread-safety: one oracle by one thread at a time.
#pragma once

#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "vmm/units.h"

namespace vmm::test {

inline thread_local sigjmp_buf* fault_jump = nullptr;

// Catches SIGBUS and SIGSEGV of reads made by PageOracle while it lives, and puts the former handlers back.
class CatchSignals {
 public:
  CatchSignals() {
    struct sigaction action {};
    action.sa_handler = [](int number) {
      if (fault_jump != nullptr) siglongjmp(*fault_jump, number);
      ::signal(number, SIG_DFL);
      ::raise(number);
    };
    action.sa_flags = SA_NODEFER;
    ::sigaction(SIGBUS, &action, &bus_);
    ::sigaction(SIGSEGV, &action, &segv_);
  }
  ~CatchSignals() {
    ::sigaction(SIGBUS, &bus_, nullptr);
    ::sigaction(SIGSEGV, &segv_, nullptr);
  }
  CatchSignals(const CatchSignals&) = delete;
  CatchSignals& operator=(const CatchSignals&) = delete;

 private:
  struct sigaction bus_ {
  }, segv_{};
};

class PageOracle {
 public:
  static constexpr std::size_t kWords = kPageSize / 8;
  enum class Look { right, wrong, lost };

  PageOracle(std::span<std::byte> memory, std::uint64_t salt)
      : memory_(memory), salt_(salt), versions_(memory.size() / kPageSize, 0) {}

  std::uint64_t pages() const { return versions_.size(); }
  std::byte* at(std::uint64_t page) const { return memory_.data() + page * kPageSize; }

  static std::uint64_t word(std::uint64_t salt, std::uint64_t page, std::uint32_t version, std::size_t index) {
    if (version == 0) return 0;
    std::uint64_t z = salt * 0x9e3779b97f4a7c15ULL + (page << 20) + (static_cast<std::uint64_t>(version) << 44) + index;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  // Gives the page its next version.
  void write(std::uint64_t page) {
    const auto version = ++versions_[page];
    auto* words = reinterpret_cast<std::uint64_t*>(at(page));
    for (std::size_t i = 0; i < kWords; ++i) words[i] = word(salt_, page, version, i);
  }
  void write(std::uint64_t first, std::uint64_t end) {
    for (auto page = first; page < end; ++page) write(page);
  }
  // From now on the page should be zeros.
  void expect_zeros(std::uint64_t first, std::uint64_t end) {
    for (auto page = first; page < end; ++page) versions_[page] = 0;
  }
  std::uint32_t version(std::uint64_t page) const { return versions_[page]; }

  // Reads the page; `lost` if the read got a signal.
  Look look(std::uint64_t page) const { return look_for(page, versions_[page]); }
  Look look_for(std::uint64_t page, std::uint32_t version) const {
    sigjmp_buf here;
    sigjmp_buf* const outer = fault_jump;
    if (sigsetjmp(here, 1) != 0) {
      fault_jump = outer;
      return Look::lost;
    }
    fault_jump = &here;
    const auto* words = reinterpret_cast<const volatile std::uint64_t*>(at(page));
    bool right = true;
    for (std::size_t i = 0; i < kWords && right; ++i) right = words[i] == word(salt_, page, version, i);
    fault_jump = outer;
    return right ? Look::right : Look::wrong;
  }

  struct Tally {
    std::uint64_t wrong = 0, lost = 0;
    std::uint64_t first_wrong = ~std::uint64_t{0};
  };
  Tally check(std::uint64_t first, std::uint64_t end) const {
    Tally t;
    for (auto page = first; page < end; ++page) {
      const auto seen = look(page);
      if (seen == Look::wrong && t.wrong++ == 0) t.first_wrong = page;
      t.lost += seen == Look::lost ? 1 : 0;
    }
    return t;
  }
  Tally check() const { return check(0, pages()); }

 private:
  std::span<std::byte> memory_;
  const std::uint64_t salt_;
  std::vector<std::uint32_t> versions_;
};

}  // namespace vmm::test
