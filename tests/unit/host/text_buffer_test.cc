#include "host/text_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace vmm::host {
namespace {

// Pieces of all lengths, also such as are longer than the buffer, in the order in which they come.
TEST(TextBuffer, IsWhatWasAppended) {
  TextBuffer buffer(10);
  std::string expected;
  for (std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097},
                             std::size_t{20000}, std::size_t{3}}) {
    for (int i = 0; i < 7; ++i) {
      const std::string piece(length, static_cast<char>('a' + i));
      buffer += piece;
      buffer += ',';
      EXPECT_EQ(buffer.back(), ',');
      buffer.append(std::uint64_t{18446744073709551615U});
      buffer.append(-7);
      EXPECT_EQ(buffer.back(), '7');
      buffer.append(0.25);
      buffer.append_decimal(1500, 3);
      expected += piece + ",18446744073709551615-70.251.5";
    }
  }
  EXPECT_EQ(buffer.take(), expected);
}

TEST(TextBuffer, TheLastByteIsKnownWhenTheBufferIsEmpty) {
  TextBuffer buffer;
  buffer += std::string(5000, 'x');
  EXPECT_EQ(buffer.back(), 'x');
  EXPECT_EQ(buffer.take().size(), 5000u);
}

}  // namespace
}  // namespace vmm::host
