// What can be told of page nodes on any machine; several nodes are tests/numa's.
#include "os/page_nodes.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "os/mapping.h"
#include "os/node_info.h"
#include "vmm/units.h"

namespace vmm::os {
namespace {

class PageNodes : public testing::Test {
 protected:
  static constexpr std::size_t kPages = 16;
  void SetUp() override {
    auto mapping = Mapping::anonymous(kPages * kPageSize);
    ASSERT_TRUE(mapping) << mapping.error().message();
    memory_ = std::move(*mapping);
    advise_huge_pages(memory_.data(), memory_.size(), false);
    for (std::size_t i = 0; i < kPages; ++i) pages_[i] = memory_.data() + i * kPageSize;
  }
  void touch(std::size_t page) { memory_.data()[page * kPageSize] = std::byte{1}; }
  Mapping memory_;
  std::array<void*, kPages> pages_{};
};

TEST_F(PageNodes, PagesAreOnANodeOrNotThere) {
  const auto allowed = allowed_nodes();
  ASSERT_TRUE(allowed) << allowed.error().message();
  touch(3);
  std::array<int, kPages> nodes;
  ASSERT_EQ(nodes_of_pages(pages_.data(), kPages, nodes.data()), 0);
  for (std::size_t i = 0; i < kPages; ++i) {
    if (i == 3)
      EXPECT_NE(std::find(allowed->begin(), allowed->end(), nodes[i]), allowed->end()) << nodes[i];
    else
      EXPECT_TRUE(nodes[i] == -ENOENT || nodes[i] == -EFAULT) << nodes[i];
  }
}

TEST_F(PageNodes, MovingToWhereAPageIsChangesNothing) {
  touch(0);
  std::array<int, 1> node, status;
  ASSERT_EQ(nodes_of_pages(pages_.data(), 1, node.data()), 0);
  ASSERT_GE(node[0], 0);
  EXPECT_EQ(move_pages_to(pages_.data(), 1, node[0], status.data()), 0);
  EXPECT_EQ(status[0], node[0]);
  EXPECT_EQ(memory_.data()[0], std::byte{1});
}

TEST_F(PageNodes, ANodeThatIsNotThereIsAnError) {
  touch(0);
  std::array<int, 1> status;
  EXPECT_EQ(move_pages_to(pages_.data(), 1, 1023, status.data()), ENODEV);
  EXPECT_EQ(status[0], kUntold) << "the kernel has written nothing";
}

TEST_F(PageNodes, NoMoreThanTheMostAreAskedAtOnce) {
  const std::vector<void*> many(kMostPagesAsked + 1, pages_[0]);
  std::vector<int> status(many.size());
  EXPECT_EQ(nodes_of_pages(many.data(), many.size(), status.data()), EINVAL);
  EXPECT_EQ(move_pages_to(many.data(), many.size(), 0, status.data()), EINVAL);
}

}  // namespace
}  // namespace vmm::os
