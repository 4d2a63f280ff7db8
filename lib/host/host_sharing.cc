// Sharing of pages, asked for: Host::share_now() and Host::estimate_sharing().
#include <algorithm>
#include <string>

#include "base/error.h"
#include "host/host_core.h"
#include "sharing/share_estimator.h"

namespace vmm {
namespace {

void add(ShareReport& report, const GuestStats& s) {
  report.scanned += s.share_scanned;
  report.shared += s.share_made;
  report.zero += s.share_zero;
  report.broken += s.share_broken;
  report.cpu_ns += s.share_cpu_ns;
}

}  // namespace

// Of two namespaces: a salt that was given is never one that a guest has for itself.
std::string HostCore::salt_of(GuestCore& guest) {
  const auto& given = guest.options().share_salt;
  return given.empty() ? "guest " + std::to_string(guest.memory().id()) : "salt " + given;
}

// Guests that share are managed from now on. The first error; the others are all the same.
Result<void> HostCore::manage_sharers(const std::vector<std::shared_ptr<GuestCore>>& all, const char* call) {
  if (!sharing_)
    return base::invalid(std::string(call) + ": HostOptions::share_scan_ghz = 0, or no page can be managed",
                         "create the host with share_scan_ghz above 0, on a kernel that probe() finds able");
  Result<void> result;
  for (const auto& guest : all) {
    host::GatePass pass(guest->gate());
    if (!pass || !guest->memory().frames) continue;
    if (auto r = guest->manage("equal pages are looked for"); !r && result) result = r;
  }
  return result;
}

Result<ShareReport> HostCore::share_now() {
  if (in_child()) return forked("share_now");
  const auto all = guests();
  const auto managed = manage_sharers(all, "share_now");
  if (!sharing_) return tl::unexpected(managed.error());
  ShareReport before, report;
  for (const auto& guest : all)
    if (const auto s = guest->stats()) add(before, *s);
  for (const auto& node : nodes_) node->worker->share_now();
  for (const auto& guest : all)
    if (const auto s = guest->stats()) add(report, *s);
  report.scanned -= std::min(report.scanned, before.scanned);
  report.shared -= std::min(report.shared, before.shared);
  report.zero -= std::min(report.zero, before.zero);
  report.broken -= std::min(report.broken, before.broken);
  report.cpu_ns -= std::min(report.cpu_ns, before.cpu_ns);
  const auto now = stats();
  if (!now) return tl::unexpected(now.error());
  report.saved = now->shared_saved;
  if (!managed) return tl::unexpected(managed.error());
  return report;
}

Result<ShareEstimate> HostCore::estimate_sharing() {
  if (in_child()) return forked("estimate_sharing");
  const auto all = guests();
  if (auto r = manage_sharers(all, "estimate_sharing"); !r) return tl::unexpected(r.error());
  // A worker goes through a guest for one estimate at a time.
  base::MutexLock lock(estimate_mutex_);
  ShareEstimate estimate;
  sharing::ShareEstimator estimator(sharing_->secret);
  for (const auto& node : nodes_) {
    for (const auto& guest : all) {
      host::GatePass pass(guest->gate());
      if (!pass || !guest->memory().frames || &guest->node() != node.get()) continue;
      const auto& o = guest->options();
      estimator.add_guest(salt_of(*guest), o.share_salt.empty() ? o.name : o.share_salt);
    }
    if (auto r = node->worker->estimate_sharing(estimator); !r) return tl::unexpected(r.error());
    estimator.tell(estimate);
  }
  return estimate;
}

}  // namespace vmm
