// LiveTable: what every guest and the host are doing, once a second.
// On a terminal the table is drawn over the last one; elsewhere one block follows another.
// Thread-safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tenant.h"
#include "vmm/stats.h"

namespace tenants {

// A line about the host, one about what its guests share, and one for each pool but the root.
std::vector<std::string> summary_lines(const vmm::HostStats& host);

class LiveTable {
 public:
  // Writes to stdout.
  explicit LiveTable(bool terminal) : terminal_(terminal) {}

  // `title` and `notes` are lines above and below the table. Rates are since the last call.
  void draw(const std::string& title, const vmm::HostStats& host, std::span<const TenantView> tenants,
            std::span<const std::string> notes);

 private:
  struct Last {
    std::uint64_t swap_ins = 0;
    std::uint64_t transactions = 0;
  };
  const bool terminal_;
  std::size_t lines_drawn_ = 0;
  std::vector<Last> last_;
  std::chrono::steady_clock::time_point last_time_ = std::chrono::steady_clock::now();
};

}  // namespace tenants
