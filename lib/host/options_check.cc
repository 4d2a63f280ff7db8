#include "host/options_check.h"

#include <string>

#include "base/error.h"
#include "base/text.h"

namespace vmm::host {
namespace {

constexpr std::uint64_t kLeastBudget = 16 * MiB;

std::string field(const char* name, const std::string& value) { return std::string(name) + " = " + value; }
std::string field(const char* name, std::uint64_t value) { return field(name, std::to_string(value)); }

}  // namespace

Result<void> check_host_options(const HostOptions& o, std::uint64_t budget, const Capabilities& caps) {
  if (budget < kLeastBudget)
    return base::invalid(field("HostOptions::memory", budget),
                         "give at least 16777216 bytes (16 MiB), or 0 for what the machine allows");
  if (o.swap_in_batch_pages < 1 || o.swap_in_batch_pages > 64)
    return base::invalid(field("HostOptions::swap_in_batch_pages", o.swap_in_batch_pages), "give 1 to 64");
  if (o.swap_async_write_pages < 1 || o.swap_async_write_pages > 64)
    return base::invalid(field("HostOptions::swap_async_write_pages", o.swap_async_write_pages), "give 1 to 64");
  if (!(o.min_free >= 0 && o.min_free <= 0.5))
    return base::invalid(field("HostOptions::min_free", std::to_string(o.min_free)), "give a share from 0 to 0.5");
  if (o.rebalance_period.count() <= 0)
    return base::invalid(field("HostOptions::rebalance_period", std::to_string(o.rebalance_period.count()) + " ms"),
                         "give at least 1 ms");
  if (o.watchdog_timeout.count() <= 0)
    return base::invalid(field("HostOptions::watchdog_timeout", std::to_string(o.watchdog_timeout.count()) + " ms"),
                         "give at least 1 ms");
  if (o.swap_retry_timeout.count() < 0)
    return base::invalid(field("HostOptions::swap_retry_timeout", std::to_string(o.swap_retry_timeout.count()) + " ms"),
                         "give 0 or more");
  const auto needs = [&](const char* capability, const char* option) -> Result<void> {
    if (caps.has(capability)) return {};
    const auto* item = caps.find(capability);
    return base::fail(Errc::not_supported, option, item != nullptr ? item->remedy : "see probe()");
  };
  if (o.isolation == Isolation::move)
    for (const char* c : {"uffdio_move", "wp_async", "pagemap_scan"})
      if (auto r = needs(c, "HostOptions::isolation = move"); !r) return r;
  if (o.isolation == Isolation::write_protect)
    if (auto r = needs("userfaultfd", "HostOptions::isolation = write_protect"); !r) return r;
  if (o.swap_io == SwapIo::io_uring)
    if (auto r = needs("io_uring", "HostOptions::swap_io = io_uring"); !r) return r;
  return {};
}

Result<void> check_guest_options(const GuestOptions& o, const topology::Topology& topology) {
  if (o.name.empty()) return base::invalid(field("GuestOptions::name", "\"\""), "give the guest a name");
  if (o.name.find('/') != std::string::npos)
    return base::invalid(field("GuestOptions::name", "\"" + o.name + "\""), "a name has no '/'");
  const auto who = "guest \"" + o.name + "\": ";
  if (o.memory == 0)
    return base::invalid(who + field("GuestOptions::memory", o.memory), "give at least one page, 4096 bytes");
  if (o.memory % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::memory", o.memory), "give a multiple of 4096");
  if (o.memory > (std::uint64_t{1} << 46))
    return base::invalid(who + field("GuestOptions::memory", o.memory), "at most 64 TiB");
  if (o.reservation > o.memory)
    return base::invalid(who + field("GuestOptions::reservation", o.reservation),
                         "at most the guest's memory, " + std::to_string(o.memory));
  if (o.reservation % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::reservation", o.reservation), "give a multiple of 4096");
  if (o.limit % kPageSize != 0)
    return base::invalid(who + field("GuestOptions::limit", o.limit), "give a multiple of 4096, or 0 for none");
  if (o.limit != 0 && o.limit < o.reservation)
    return base::invalid(who + field("GuestOptions::limit", o.limit),
                         "at least the reservation, " + std::to_string(o.reservation));
  if (o.limit != 0 && o.limit < kHugePageSize)
    return base::invalid(who + field("GuestOptions::limit", o.limit), "at least 2097152 (2 MiB), or 0 for none");
  for (const int node : o.node_affinity) {
    const auto* n = topology.find(node);
    if (n == nullptr) {
      std::vector<int> ids;
      for (const auto& existing : topology.nodes()) ids.push_back(existing.id);
      return base::fail_errno(ENODEV, who + field("GuestOptions::node_affinity", std::to_string(node)),
                              "this process may use nodes " + base::list_text(ids));
    }
    if (n->memory_only)
      return base::fail_errno(ENODEV, who + field("GuestOptions::node_affinity", std::to_string(node)),
                              "the node has no processors and cannot be a home node");
  }
  return {};
}

Result<void> check_admission(const GuestOptions& o, const AdmissionState& s) {
  const auto who = "guest \"" + o.name + "\": ";
  const auto usable =
      static_cast<std::uint64_t>(static_cast<double>(s.budget) * (1.0 - s.min_free)) -
      std::min(s.overhead, s.budget / 2);
  // Page table and slot table, the kernel's page tables of the memory and of its staging area: four words a page.
  const auto metadata = o.memory / kPageSize * 32;
  if (s.reserved + o.reservation + metadata > usable)
    return base::fail(Errc::admission_refused,
                      who + field("GuestOptions::reservation", o.reservation) + " and " + base::bytes_text(metadata) +
                          " of tables: " + base::bytes_text(usable - std::min(usable, s.reserved)) +
                          " of HostOptions::memory are unreserved",
                      "lower the reservation or the memory, or raise HostOptions::memory");
  if (!s.can_reclaim && s.guest_memory + o.memory > usable)
    return base::fail(Errc::admission_refused,
                      who + field("GuestOptions::memory", o.memory) +
                          ": without userfaultfd nothing can be reclaimed, and " +
                          base::bytes_text(usable - std::min(usable, s.guest_memory)) + " are left",
                      "lower the memory, or make userfaultfd available: see probe()");
  return {};
}

}  // namespace vmm::host
