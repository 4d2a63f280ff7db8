// What tests have in common that run programs by vmmctl run.
#pragma once

#include <gtest/gtest.h>

#include "vmm/capabilities.h"

namespace run_test {

class InGuestTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto level = vmm::probe().level; level != vmm::CapabilityLevel::full)
      GTEST_SKIP() << "vmmctl run needs level full; this is " << vmm::to_string(level);
  }
};

}  // namespace run_test
