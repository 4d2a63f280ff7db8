#include "sharing/page_key.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "vmm/units.h"

namespace vmm::sharing {
namespace {

std::vector<std::byte> page_of(std::uint64_t seed) {
  base::Random random(seed);
  std::vector<std::byte> page(kPageSize);
  for (auto& byte : page) byte = static_cast<std::byte>(random.below(256));
  return page;
}

ProcessSecret secret_of_process() { return *ProcessSecret::create(); }

TEST(PageKeys, AreTheSameForTheSameBytesUnderTheSameSalt) {
  const auto secret = secret_of_process();
  const PageKeys one(secret, "salt"), same(secret, "salt");
  const auto page = page_of(1), copy = page;
  EXPECT_EQ(one.key_of(page.data()), one.key_of(copy.data()));
  EXPECT_EQ(one.key_of(page.data()), same.key_of(copy.data()));
}

TEST(PageKeys, ChangeWithEveryByte) {
  const auto secret = secret_of_process();
  const PageKeys keys(secret, "");
  auto page = page_of(2);
  std::set<std::uint64_t> seen = {keys.key_of(page.data())};
  for (auto& byte : page) {
    byte ^= std::byte{1};
    EXPECT_TRUE(seen.insert(keys.key_of(page.data())).second);
  }
}

// Who knows its pages' keys, and chooses bytes, learns nothing of another salt's, nor of another process's.
TEST(PageKeys, OfOtherSaltsAndProcessesSayNothing) {
  const auto secret = secret_of_process(), other_process = secret_of_process();
  const PageKeys keys(secret, "a");
  const PageKeys others[] = {PageKeys(secret, "b"), PageKeys(secret, ""), PageKeys(secret, std::string("a\0", 2)),
                             PageKeys(other_process, "a")};
  const auto pages = {page_of(3), page_of(4), std::vector<std::byte>(kPageSize)};
  for (const auto& other : others) {
    std::set<std::uint64_t> differences;
    for (const auto& page : pages) differences.insert(keys.key_of(page.data()) ^ other.key_of(page.data()));
    EXPECT_EQ(differences.size(), pages.size()) << "each page's keys differ in another way";
    EXPECT_EQ(differences.count(0), 0u);
  }
}

}  // namespace
}  // namespace vmm::sharing
