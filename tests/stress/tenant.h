// Tenant: one guest of the stress test, with the shadow of its pages. Its functions do one thing to the guest's
// memory and to the shadow, or compare the two; what differs ends the process with a report.
//
// Thread-safety: every function from any thread, with the page lock it names; created and destroyed by one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "stress/page_shadow.h"
#include "vmm/guest.h"

namespace vmm::stress {

// Who does something, for logs and reports.
struct Actor {
  unsigned thread = 0;
  std::uint64_t number = 0;  // of the operation
  Op op = Op::none;
};

class Tenant {
 public:
  // `id` is unique in the process.
  Tenant(Guest guest, std::uint64_t id, std::string name);
  ~Tenant();
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  std::uint64_t id() const noexcept { return id_; }
  const std::string& name() const noexcept { return name_; }
  std::uint64_t pages() const noexcept { return pages_; }
  std::byte* at(std::uint64_t page) const noexcept { return base_ + page * kPageSize; }
  Guest& guest() noexcept { return guest_; }
  PageShadow& shadow(std::uint64_t page) const noexcept { return shadow_[page]; }
  // From now on the host may ask for its pages.
  void give_balloon(std::uint64_t seed);
  void log(const Actor& who, std::uint64_t first, std::uint64_t pages) const noexcept;

  // The page as its shadow says; counters are those of the shadow when called.
  PageImage expected(std::uint64_t page) const noexcept;

  // Lock shared or exclusive. All words must be right; of counters that other threads may change now, what they
  // may be.
  void verify(const Actor& who, std::uint64_t page) const;
  // The same of bytes that were read out of the guest in another way.
  void verify_image(const Actor& who, std::uint64_t page, const PageImage& found,
                    const std::array<std::uint32_t, kMostThreads>& counters_before) const;
  std::array<std::uint32_t, kMostThreads> counters(std::uint64_t page) const noexcept;
  // No lock: exact if nobody changed the page meanwhile, else the page is at least this guest's or zero.
  void glance(const Actor& who, std::uint64_t page) const;

  // Lock exclusive. Version and shadow of a new whole page; the caller stores its words.
  PageImage next_image(std::uint64_t page, Kind kind) noexcept;
  void write(const Actor& who, std::uint64_t page, Kind kind) noexcept;
  // One word changes, and the one changed before goes back to what it was.
  void patch(const Actor& who, std::uint64_t page) noexcept;
  // Lock exclusive. The page is zero from now on.
  void set_zero(std::uint64_t page) noexcept;

  // Lock shared: adds one to the thread's own counter.
  void count(const Actor& who, std::uint64_t page) const noexcept;

  // The page and its counters, exactly. Nobody else uses the tenant.
  void compare(const Actor& who, std::uint64_t page) const;

  // A page round which threads meet.
  std::uint64_t hot() const noexcept { return hot_.load(std::memory_order_relaxed); }
  void set_hot(std::uint64_t page) noexcept { hot_.store(page, std::memory_order_relaxed); }

 private:
  Guest guest_;
  const std::uint64_t id_;
  const std::string name_;
  std::byte* const base_;
  const std::uint64_t pages_;
  const std::shared_ptr<PageShadow[]> shadow_owner_;  // with its balloon driver
  PageShadow* const shadow_;
  std::atomic<std::uint64_t> hot_{0};
};

// [first, first + pages) locked exclusively, in ascending order.
class ExclusivePages {
 public:
  ExclusivePages(Tenant& tenant, std::uint64_t first, std::uint64_t pages) noexcept;
  ~ExclusivePages();
  ExclusivePages(const ExclusivePages&) = delete;
  ExclusivePages& operator=(const ExclusivePages&) = delete;

 private:
  Tenant& tenant_;
  const std::uint64_t first_, pages_;
};

// As ExclusivePages, shared.
class SharedPages {
 public:
  SharedPages(Tenant& tenant, std::uint64_t first, std::uint64_t pages) noexcept;
  ~SharedPages();
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

 private:
  Tenant& tenant_;
  const std::uint64_t first_, pages_;
};

}  // namespace vmm::stress
