// Processors by shares: what guests with one busy thread each get of the processors of this machine, with weights for
// threads and without.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "comparisons.h"
#include "os/nice.h"
#include "policy/cpu_entitlement.h"
#include "support/hosts.h"
#include "vmm/vmm.h"

namespace vmm::bench {
namespace {

constexpr auto kSettles = std::chrono::seconds(12), kMeasured = std::chrono::seconds(30);

class BusyThread {
 public:
  explicit BusyThread(Guest& guest) : thread_([this, &guest] { run(guest); }) {
    while (!seated_) std::this_thread::yield();
  }
  ~BusyThread() {
    over_ = true;
    thread_.join();
  }

 private:
  void run(Guest& guest) {
    const auto seat = guest.attach_current_thread();
    seated_ = true;
    while (!over_) work_ = work_ + 1;
  }
  std::atomic<bool> over_{false}, seated_{false};
  volatile std::uint64_t work_ = 0;
  std::thread thread_;
};

struct Worst {
  double least = 1, most = 1;  // processor time that a guest got, of what it was entitled to
};

Worst run(const Settings& settings, bool weighted, const std::vector<std::uint64_t>& shares) {
  HostOptions o;
  o.memory = 256 * MiB;
  o.swap_directory = settings.directory;
  o.cpu_weights = weighted;
  auto host = make_host(o);
  std::vector<Guest> guests;
  for (const auto s : shares) {
    GuestOptions g;
    g.name = "guest" + std::to_string(guests.size());
    g.memory = 1 * MiB;
    g.shares = Shares::custom(s);
    g.reservation = g.memory;
    guests.push_back(value_of(host.create_guest(g)));
  }
  std::vector<std::unique_ptr<BusyThread>> busy;
  for (auto& guest : guests) busy.push_back(std::make_unique<BusyThread>(guest));
  const auto used = [&] {
    std::vector<double> ns;
    for (auto& guest : guests) ns.push_back(static_cast<double>(guest.stats()->attached_cpu_ns));
    return ns;
  };
  std::this_thread::sleep_for(kSettles);
  const auto before = used();
  std::this_thread::sleep_for(kMeasured);
  auto got = used();
  double all = 0;
  for (std::size_t i = 0; i < got.size(); ++i) all += got[i] -= before[i];
  // Of what all got together: other programs run, too.
  std::vector<policy::CpuClaim> claims;
  for (const auto s : shares) claims.push_back({s, std::chrono::duration<double, std::nano>(kMeasured).count()});
  const auto entitled = policy::cpu_entitlements(claims, all);
  Worst worst;
  for (std::size_t i = 0; i < got.size(); ++i) {
    worst.least = std::min(worst.least, got[i] / entitled[i]);
    worst.most = std::max(worst.most, got[i] / entitled[i]);
  }
  return worst;
}

}  // namespace

void measure_cpu_weights(const Settings& settings, Report& report) {
  if (!os::can_lower_nice(os::thread_nice(0).value_or(0)).value_or(false)) {
    report.skipped("cpu_weights", "this process may not lower nice values: it takes CAP_SYS_NICE, or a RLIMIT_NICE");
    return;
  }
  // More than there are processors, so that all wait.
  std::vector<std::uint64_t> shares = {4000, 2000, 1000, 1000};
  for (auto more = std::thread::hardware_concurrency(); more > 2; --more) shares.push_back(1000);
  const auto with = run(settings, true, shares), without = run(settings, false, shares);
  const auto name = text("cpu_weights, %zu guests, shares 4:2:1:1...", shares.size());
  report.at_least(name + ", least part of its entitlement", with.least, 0.95,
                  text("%.2f without weights; %d s of processor time", without.least,
                       static_cast<int>(kMeasured.count())));
  report.at_most(name + ", most", with.most, 1.05, text("%.2f without weights", without.most));
}

}  // namespace vmm::bench
