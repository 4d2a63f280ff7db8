// ClientRig: a folder with the socket at which vmmctl finds whatever a test has answer there.
// Thread-safety: one thread.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fake_host.h"
#include "support/temp_directory.h"

namespace fake {

class ClientRig : public testing::Test {
 protected:
  std::string socket() const { return directory_.file("host.vmm"); }
  FakeHost answering(Answer answer) const {
    return FakeHost(socket(), [answer](const std::string&, const std::string&) { return answer; });
  }

  const vmm::test::TempDirectory directory_;
};

// The lines of a record, each as JSON.
inline std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> lines;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  EXPECT_EQ(begin, text.size()) << "the last line has no end";
  return lines;
}

}  // namespace fake
