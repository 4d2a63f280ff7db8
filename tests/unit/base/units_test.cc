#include "vmm/units.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>

namespace vmm {
namespace {

static_assert(KiB == 1ULL << 10 && MiB == 1ULL << 20 && GiB == 1ULL << 30);
static_assert(kPageSize == 4096 && kHugePageSize == 512 * kPageSize);
// 64 bits wide: 4 GiB and more of guest memory do not wrap.
static_assert(sizeof(kPageSize) == sizeof(std::uint64_t) && 4 * GiB == 1ULL << 32);

TEST(Units, ThePageIsTheKernels) { EXPECT_EQ(kPageSize, static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))); }

}  // namespace
}  // namespace vmm
