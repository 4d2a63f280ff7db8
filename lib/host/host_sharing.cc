// Sharing of pages, asked for: Host::share_now().
#include <algorithm>
#include <optional>

#include "base/error.h"
#include "host/host_core.h"

namespace vmm {
namespace {

void add(ShareReport& report, const GuestStats& s) {
  report.scanned += s.share_scanned;
  report.shared += s.share_made;
  report.zero += s.share_zero;
  report.broken += s.share_broken;
}

}  // namespace

Result<ShareReport> HostCore::share_now() {
  if (in_child()) return forked("share_now");
  if (!sharing_)
    return base::invalid("share_now: HostOptions::share_scan_ghz = 0, or no page can be managed",
                         "create the host with share_scan_ghz above 0, on a kernel that probe() finds able");
  const auto all = guests();
  ShareReport before, report;
  std::optional<Error> refused;
  for (const auto& guest : all) {
    host::GatePass pass(guest->gate());
    if (!pass || !guest->memory().frames) continue;
    // The others go on.
    if (auto r = guest->manage("equal pages are looked for"); !r && !refused) refused = r.error();
  }
  for (const auto& guest : all)
    if (const auto s = guest->stats()) add(before, *s);
  for (const auto& node : nodes_) node->worker->share_now();
  for (const auto& guest : all)
    if (const auto s = guest->stats()) add(report, *s);
  report.scanned -= std::min(report.scanned, before.scanned);
  report.shared -= std::min(report.shared, before.shared);
  report.zero -= std::min(report.zero, before.zero);
  report.broken -= std::min(report.broken, before.broken);
  const auto now = stats();
  if (!now) return tl::unexpected(now.error());
  report.saved = now->shared_saved;
  if (refused) return tl::unexpected(*refused);
  return report;
}

}  // namespace vmm
