// The ways a host can be forced to work, for tests that run once with each: both isolations, both kinds of swap I/O.
// Thread-safety: pure.
#pragma once

#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "vmm/vmm.h"

namespace vmm::test {

struct Way {
  const char* name;
  Isolation isolation;
  SwapIo swap_io;
};

inline constexpr Way kMove{"move", Isolation::move, SwapIo::automatic};
inline constexpr Way kWriteProtect{"write_protect", Isolation::write_protect, SwapIo::threads};

inline void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

// Why this machine cannot do it; empty if it can.
inline std::string unable(const Way& way) {
  static const Capabilities caps = probe();
  if (caps.level == CapabilityLevel::none) return "probe(): no userfaultfd";
  if (way.isolation == Isolation::move)
    for (const char* needed : {"uffdio_move", "wp_async", "pagemap_scan"})
      if (!caps.has(needed)) return std::string("probe(): ") + needed + " is missing";
  return {};
}

// Why a system call into a missing page is not served; empty if it is.
inline std::string unable_in_kernel() {
  return probe().level == CapabilityLevel::user_mode ? "probe(): user_mode: system calls into missing pages fail" : "";
}

class EachWay : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (const auto why = unable(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
  static HostOptions host_options(const std::string& swap_directory, std::uint64_t memory = 64 * MiB) {
    HostOptions o;
    o.memory = memory;
    o.swap_directory = swap_directory;
    o.isolation = GetParam().isolation;
    o.swap_io = GetParam().swap_io;
    return o;
  }
  static GuestOptions guest_options(const std::string& name, std::uint64_t memory) {
    GuestOptions o;
    o.name = name;
    o.memory = memory;
    return o;
  }
};

inline std::string way_name(const testing::TestParamInfo<Way>& info) { return info.param.name; }

#define VMM_EACH_WAY(Suite)                                                                          \
  INSTANTIATE_TEST_SUITE_P(, Suite, testing::Values(::vmm::test::kMove, ::vmm::test::kWriteProtect), \
                           ::vmm::test::way_name)

}  // namespace vmm::test
