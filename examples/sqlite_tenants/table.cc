#include "table.h"

#include <cstdio>

#include "outcome.h"

namespace tenants {
namespace {

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(vmm::MiB); }

std::string microseconds(const vmm::LatencySummary& latency, std::uint64_t ns) {
  return latency.count == 0 ? "-" : std::to_string((ns + 500) / 1000);
}

std::string row(const TenantView& view, double swap_ins, double transactions) {
  const vmm::GuestStats& guest = view.guest;
  return format("%-7.7s %-11.11s %-8s %7.1f %7.1f %7.1f %8.1f %7.1f %7.1f %7.1f %9.0f %6s %7s %4d %8.0f",
                guest.name.c_str(), guest.pool.c_str(), to_string(view.phase), mib(view.file_bytes), mib(guest.target),
                mib(guest.active), mib(guest.resident), mib(guest.swapped), mib(guest.shared), mib(guest.shared_saved),
                swap_ins, microseconds(guest.fault_latency, guest.fault_latency.p50_ns).c_str(),
                microseconds(guest.fault_latency, guest.fault_latency.p99_ns).c_str(), guest.home_node, transactions);
}

}  // namespace

std::vector<std::string> summary_lines(const vmm::HostStats& host) {
  std::vector<std::string> lines;
  lines.push_back(format("host: state %s, budget %.1f, consumed %.1f (overhead %.1f), free %.1f, swapped %.1f MiB",
                         vmm::to_string(host.state), mib(host.memory), mib(host.consumed), mib(host.overhead),
                         mib(host.free), mib(host.swapped)));
  lines.push_back(format("sharing: %.1f MiB of the guests show %.1f, %.1f MiB are saved", mib(host.shared),
                         mib(host.shared_common), mib(host.shared_saved)));
  for (const vmm::PoolStats& pool : host.pools)
    if (pool.name != "/")
      lines.push_back(format("pool %s: %llu shares, consumed %.1f MiB", pool.name.c_str(),
                             static_cast<unsigned long long>(pool.shares), mib(pool.consumed)));
  return lines;
}

void LiveTable::draw(const std::string& title, const vmm::HostStats& host, std::span<const TenantView> tenants,
                     std::span<const std::string> notes) {
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - last_time_).count();
  last_time_ = now;
  last_.resize(tenants.size());
  const auto rate = [seconds](std::uint64_t is, std::uint64_t& was) {
    const std::uint64_t grown = is > was ? is - was : 0;
    was = is;
    return seconds > 0 ? static_cast<double>(grown) / seconds : 0;
  };

  std::vector<std::string> lines = {title};
  lines.push_back(format("%-7s %-11s %-8s %7s %7s %7s %8s %7s %7s %7s %9s %14s %4s %8s", "", "", "", "file", "target",
                         "active", "resident", "swapped", "shared", "saved", "swap-ins", "fault us", "home", "trans-"));
  lines.push_back(format("%-7s %-11s %-8s %7s %7s %7s %8s %7s %7s %7s %9s %6s %7s %4s %8s", "guest", "pool", "phase",
                         "MiB", "MiB", "MiB", "MiB", "MiB", "MiB", "MiB", "/s", "p50", "p99", "node", "act./s"));
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    const double swap_ins = rate(tenants[i].guest.swap_ins, last_[i].swap_ins);
    const double transactions = rate(tenants[i].transactions, last_[i].transactions);
    lines.push_back(row(tenants[i], swap_ins, transactions));
  }
  for (auto& line : summary_lines(host)) lines.push_back(std::move(line));
  lines.insert(lines.end(), notes.begin(), notes.end());

  std::string text;
  if (terminal_) {
    if (lines_drawn_ > 0) text = format("\x1b[%zuA", lines_drawn_);
    // Without wrapping, so that a line of text is a line of the terminal; the rest of each line and of the screen goes.
    text += "\x1b[?7l";
    for (const std::string& line : lines) text += line + "\x1b[K\n";
    text += "\x1b[J\x1b[?7h";
  } else {
    for (const std::string& line : lines) text += line + "\n";
    text += "\n";
  }
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  lines_drawn_ = lines.size();
}

}  // namespace tenants
