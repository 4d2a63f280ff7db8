#include "stress/tenant.h"

#include <utility>

#include "stress/giving_driver.h"
#include "stress/report.h"

namespace vmm::stress {

const char* to_string(Op op) noexcept {
  constexpr const char* names[kOps] = {"none",    "read",       "glance",   "write",     "write_zeros", "patch",
                                       "count",   "bulk_write", "scan",     "discard",   "pin",         "unpin",
                                       "reclaim", "restore",    "prefetch", "device_in", "device_out",  "seat",
                                       "create",  "destroy",    "stats",    "native",    "give",        "configure",
                                       "rehome",  "compare"};
  return static_cast<unsigned>(op) < kOps ? names[static_cast<unsigned>(op)] : "?";
}

Tenant::Tenant(Guest guest, std::uint64_t id, std::string name)
    : guest_(std::move(guest)),
      id_(id),
      name_(std::move(name)),
      base_(guest_.memory().data()),
      pages_(guest_.memory().size() / kPageSize),
      shadow_owner_(new PageShadow[pages_]),
      shadow_(shadow_owner_.get()) {
  add_known(*this);
}

Tenant::~Tenant() { remove_known(*this); }

void Tenant::give_balloon(std::uint64_t seed) {
  if (auto r = guest_.set_balloon(std::make_shared<GivingDriver>(shadow_owner_, pages_, seed)); !r)
    report_failure(r.error().message());
}

void Tenant::log(const Actor& who, std::uint64_t first, std::uint64_t pages) const noexcept {
  for (auto page = first; page < first + pages; ++page) shadow_[page].log(who.op, who.thread, who.number);
}

PageImage Tenant::expected(std::uint64_t page) const noexcept {
  PageImage words;
  make_page(id_, page, shadow_[page].content(), words);
  for (std::size_t t = 0; t < kMostThreads; ++t) words[kCounters + t] = shadow_[page].counter(t);
  return words;
}

std::array<std::uint32_t, kMostThreads> Tenant::counters(std::uint64_t page) const noexcept {
  std::array<std::uint32_t, kMostThreads> counts;
  for (std::size_t t = 0; t < kMostThreads; ++t) counts[t] = shadow_[page].counter(t);
  return counts;
}

void Tenant::verify(const Actor& who, std::uint64_t page) const {
  shadow_[page].log(who.op, who.thread, who.number);
  const auto before = counters(page);
  PageImage found;
  read_page(at(page), found);
  verify_image(who, page, found, before);
}

void Tenant::verify_image(const Actor& who, std::uint64_t page, const PageImage& found,
                          const std::array<std::uint32_t, kMostThreads>& counters_before) const {
  const auto right = expected(page);
  for (std::size_t i = 0; i < kCounters; ++i)
    if (found[i] != right[i]) report_mismatch({*this, who, page, found, right, i});
  for (std::size_t t = 0; t < kMostThreads; ++t) {
    // A thread adds to the guest's word first, then to the shadow's.
    const auto value = found[kCounters + t];
    const std::uint64_t most = right[kCounters + t] + (t == who.thread ? 0 : 1);
    if (value < counters_before[t] || value > most) report_mismatch({*this, who, page, found, right, kCounters + t});
  }
}

void Tenant::glance(const Actor& who, std::uint64_t page) const {
  const auto& shadow = shadow_[page];
  const auto sequence = shadow.sequence();
  const auto content = shadow.content();
  PageImage found, right;
  read_page(at(page), found);
  make_page(id_, page, content, right);
  if (!PageShadow::changing(sequence) && shadow.sequence() == sequence) {
    for (std::size_t i = 0; i < kCounters; ++i)
      if (found[i] != right[i]) report_mismatch({*this, who, page, found, right, i});
  } else if (found[kIdentity] != 0 && found[kIdentity] != identity_of(id_, page)) {
    right[kIdentity] = identity_of(id_, page);
    report_mismatch({*this, who, page, found, right, kIdentity});
  }
}

PageImage Tenant::next_image(std::uint64_t page, Kind kind) noexcept {
  auto& shadow = shadow_[page];
  const Content next{shadow.content().version + 1, 0, kind};
  shadow.set_content(next);
  shadow.reset_counters();
  PageImage words;
  make_page(id_, page, next, words);
  return words;
}

void Tenant::write(const Actor& who, std::uint64_t page, Kind kind) noexcept {
  shadow_[page].log(who.op, who.thread, who.number);
  write_page(at(page), next_image(page, kind));
}

void Tenant::patch(const Actor& who, std::uint64_t page) noexcept {
  auto& shadow = shadow_[page];
  shadow.log(who.op, who.thread, who.number);
  const auto old = shadow.content();
  auto next = old;
  next.patch = (old.patch + 1) & 0xffffff;
  PageImage words;
  make_page(id_, page, next, words);
  shadow.set_content(next);
  for (const auto i :
       {old.patch != 0 ? patched_word(old) : kChecksum, next.patch != 0 ? patched_word(next) : kChecksum, kChecksum})
    word_at(at(page), i).store(words[i], kStoreOrder);
}

void Tenant::set_zero(std::uint64_t page) noexcept {
  auto& shadow = shadow_[page];
  shadow.set_content({shadow.content().version + 1, 0, Kind::zero});
  shadow.reset_counters();
}

void Tenant::count(const Actor& who, std::uint64_t page) const noexcept {
  shadow_[page].log(who.op, who.thread, who.number);
  word_at(at(page), kCounters + who.thread).fetch_add(1, std::memory_order_relaxed);
  shadow_[page].count(who.thread);
}

void Tenant::compare(const Actor& who, std::uint64_t page) const {
  shadow_[page].log(who.op, who.thread, who.number);
  const auto right = expected(page);
  PageImage found;
  read_page(at(page), found);
  for (std::size_t i = 0; i < kPageWords; ++i)
    if (found[i] != right[i]) report_mismatch({*this, who, page, found, right, i});
}

ExclusivePages::ExclusivePages(Tenant& tenant, std::uint64_t first, std::uint64_t pages) noexcept
    : tenant_(tenant), first_(first), pages_(pages) {
  for (auto page = first_; page < first_ + pages_; ++page) tenant_.shadow(page).lock();
}

ExclusivePages::~ExclusivePages() {
  for (auto page = first_; page < first_ + pages_; ++page) tenant_.shadow(page).unlock();
}

SharedPages::SharedPages(Tenant& tenant, std::uint64_t first, std::uint64_t pages) noexcept
    : tenant_(tenant), first_(first), pages_(pages) {
  for (auto page = first_; page < first_ + pages_; ++page) tenant_.shadow(page).lock_shared();
}

SharedPages::~SharedPages() {
  for (auto page = first_; page < first_ + pages_; ++page) tenant_.shadow(page).unlock_shared();
}

}  // namespace vmm::stress
