#include "output.h"

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "support/temp_directory.h"

namespace vmmctl {
namespace {

class OutputTest : public testing::Test {
 protected:
  std::string path() const { return directory_.file("out"); }
  std::string text() const {
    std::ifstream file(path());
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const vmm::test::TempDirectory directory_;
};

TEST_F(OutputTest, AFileIsMadeAnewWithTheFirstWrite) {
  std::ofstream(path()) << "what an earlier record holds";
  { EXPECT_TRUE(Output::open(path())); }
  EXPECT_EQ(text(), "what an earlier record holds");
  {
    auto output = Output::open(path());
    ASSERT_TRUE(output);
    EXPECT_TRUE(output->write("a"));
    EXPECT_EQ(text(), "a");
    EXPECT_TRUE(output->write("b"));
  }
  EXPECT_EQ(text(), "ab");
}

TEST_F(OutputTest, AFileThatWasNotThereIsOnlyLeftWithSomethingInIt) {
  {
    auto output = Output::open(path());
    ASSERT_TRUE(output);
    const Output moved = std::move(*output);
    EXPECT_EQ(::access(path().c_str(), F_OK), 0);
  }
  EXPECT_NE(::access(path().c_str(), F_OK), 0);
  EXPECT_TRUE(Output::open(path())->write("a"));
  EXPECT_EQ(text(), "a");
}

TEST_F(OutputTest, APathThatCannotBeWrittenIsSaidAtOnce) {
  for (const std::string& wrong : {directory_.path(), directory_.file("no/such")}) {
    const auto output = Output::open(wrong);
    ASSERT_FALSE(output) << wrong;
    EXPECT_THAT(output.error().message(), testing::HasSubstr(wrong));
  }
}

}  // namespace
}  // namespace vmmctl
