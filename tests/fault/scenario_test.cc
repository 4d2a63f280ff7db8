#include "fault/scenario.h"

#include <utility>

namespace vmm::test {

struct Scenario::Tenant {
  std::string name;
  Guest guest;
  PageOracle oracle;
};

template <class F>
auto Scenario::api(F&& f) {
  struct Inside {
    Scenario& s;
    explicit Inside(Scenario& scenario) : s(scenario) {
      if (s.enter_api != nullptr) s.enter_api();
    }
    ~Inside() {
      if (s.leave_api != nullptr) s.leave_api();
      s.progress_.fetch_add(1, std::memory_order_relaxed);
    }
  } inside(*this);
  return f();
}

void Scenario::complain(std::string text) {
  if (result_.complaint.empty()) result_.complaint = std::move(text);
}

template <class T>
bool Scenario::good(const char* verb, const Result<T>& result) {
  if (result) return true;
  ++result_.errors;
  if (!result.error().code || result.error().operation.empty())
    complain(std::string(verb) + ": an error that says nothing: " + result.error().message());
  return false;
}

void Scenario::check(Tenant& t, std::uint64_t first, std::uint64_t end, const char* when) {
  for (auto page = first; page < end; ++page) {
    const auto seen = t.oracle.look(page);
    progress_.fetch_add(1, std::memory_order_relaxed);
    if (seen == PageOracle::Look::wrong) {
      ++result_.wrong;
      complain("guest " + t.name + " page " + std::to_string(page) + " is wrong " + when + ": first word " +
               std::to_string(*reinterpret_cast<const std::uint64_t*>(t.oracle.at(page))) + ", version " +
               std::to_string(t.oracle.version(page)));
    }
    if (seen == PageOracle::Look::lost) {
      ++result_.lost;
      result_.counted_lost = std::max(result_.counted_lost, t.guest.stats()->lost / kPageSize);
      // What is lost can be given up, and is zeros then.
      if (api([&] { return t.guest.discard(page * kPageSize, kPageSize); })) {
        t.oracle.expect_zeros(page, page + 1);
        if (t.oracle.look(page) != PageOracle::Look::right) complain("a lost page is not zeros after its discard");
      }
    }
  }
}

void Scenario::write(Tenant& t, std::uint64_t first, std::uint64_t end) {
  for (auto page = first; page < end; ++page) {
    // A write to a lost page would get the signal too: look first, discard what is lost.
    check(t, page, page + 1, "before it is written");
    if (t.oracle.look(page) != PageOracle::Look::right) continue;
    t.oracle.write(page);
    progress_.fetch_add(1, std::memory_order_relaxed);
  }
}

void Scenario::discard(Tenant& t, std::uint64_t first, std::uint64_t end) {
  const auto bytes = (end - first) * kPageSize;
  if (good("discard", api([&] { return t.guest.discard(first * kPageSize, bytes); }))) {
    t.oracle.expect_zeros(first, end);
    check(t, first, end, "after discard");
    return;
  }
  // Each page is as it was, or zeros.
  for (auto page = first; page < end; ++page)
    if (t.oracle.look(page) == PageOracle::Look::wrong && t.oracle.look_for(page, 0) == PageOracle::Look::right)
      t.oracle.expect_zeros(page, page + 1);
  check(t, first, end, "after a discard that failed");
}

void Scenario::pin(Tenant& t, std::uint64_t first, std::uint64_t end) {
  auto pin = api([&] { return t.guest.pin(first * kPageSize, (end - first) * kPageSize); });
  if (!good("pin", pin)) return;
  good("reclaim", api([&] { return t.guest.reclaim(options_.guest_memory); }));
  check(t, first, end, "while pinned");
  api([&] { pin->release(); });
}

void Scenario::live(Tenant& t) {
  const auto pages = t.oracle.pages();
  const auto all = pages * kPageSize;
  write(t, 0, pages - 16);  // the last ones are never touched until the end
  good("reclaim", api([&] { return t.guest.reclaim(all); }));
  check(t, 0, pages - 16, "after reclaim");
  good("reclaim", api([&] { return t.guest.reclaim(all); }));
  discard(t, 0, pages / 8);
  pin(t, pages / 8, pages / 8 + 16);
  good("reclaim", api([&] { return t.guest.reclaim(all); }));
  good("prefetch", api([&] { return t.guest.prefetch(pages / 4 * kPageSize, pages / 4 * kPageSize); }));
  good("restore", api([&] { return t.guest.restore(); }));
  check(t, 0, pages, "after restore");
  write(t, pages / 2, pages);
  good("reclaim", api([&] { return t.guest.reclaim(all); }));
  // Every third, so that the read-ahead finds no stream.
  for (std::uint64_t page = 1; page < pages; page += 3) check(t, page, page + 1, "after the second reclaim");
  discard(t, pages / 2, pages / 2 + 32);
  check(t, 0, pages, "at the end");
  result_.swapped_out += t.guest.stats()->swapped_out;
}

ScenarioResult Scenario::run() {
  HostOptions ho;
  ho.memory = 48 * MiB;
  ho.swap_directory = options_.swap_directory;
  ho.isolation = options_.way.isolation;
  ho.swap_io = options_.way.swap_io;
  ho.management = options_.management;
  // A failed write is tried again at the next reclaim.
  ho.swap_retry_timeout = std::chrono::milliseconds(0);
  auto host = api([&] { return Host::create(ho); });
  if (!good("Host::create", host)) return result_;
  result_.host_made = true;
  {
    std::vector<std::unique_ptr<Tenant>> tenants;
    for (const bool large : {true, false}) {
      GuestOptions go;
      go.name = large ? "large" : "small";
      go.memory = options_.guest_memory;
      go.large_pages = large;
      auto guest = api([&] { return host->create_guest(go); });
      if (!good("create_guest", guest)) continue;
      ++result_.guests_made;
      const auto memory = guest->memory();
      tenants.push_back(
          std::make_unique<Tenant>(Tenant{go.name, std::move(*guest), PageOracle(memory, tenants.size() + 1)}));
    }
    for (auto& t : tenants) live(*t);
    for (auto& t : tenants) check(*t, 0, t->oracle.pages(), "after the other guest's life");
    for (auto& t : tenants) api([&] { t->guest = Guest(); });
  }
  api([&] { *host = Host(); });
  return result_;
}

}  // namespace vmm::test
