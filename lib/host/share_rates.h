// Share rates: how fast a node's pages are looked at for sharing; changed while the host runs.
// Thread-safety: any thread; each is right by itself.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace vmm::host {

struct ShareRates {
  std::atomic<double> bytes_per_second{0};  // of all guests together
  std::atomic<base::Nanos> scan_time{};     // of a guest
  std::atomic<double> most{0};              // pages a second, of each guest
};

}  // namespace vmm::host
