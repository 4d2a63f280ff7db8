// The demo's verdict is worth something only if its workload repeats itself exactly and its digest sees damage.
#include "workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "database.h"
#include "keys.h"
#include "memory_vfs.h"
#include "vmm/units.h"

namespace tenants {
namespace {

constexpr WorkloadOptions kOptions{.seed = 7, .bytes = 2 * vmm::MiB};

// A database in ordinary memory and its workload.
struct Bench {
  explicit Bench(const WorkloadOptions& options = kOptions, const char* name = "workload") : memory(8 * vmm::MiB) {
    auto made = MemoryVfs::create(name, memory);
    EXPECT_TRUE(made) << made.error();
    vfs = std::move(*made);
    auto opened = Database::open(*vfs);
    EXPECT_TRUE(opened) << opened.error();
    database = std::move(*opened);
    auto begun = Workload::create(database, options);
    EXPECT_TRUE(begun) << begun.error();
    workload = std::move(*begun);
  }

  void step(std::uint64_t times) {
    for (std::uint64_t i = 0; i < times; ++i) {
      const auto done = workload->step();
      ASSERT_TRUE(done) << done.error();
    }
  }

  std::uint64_t digest() {
    const auto digest = workload->digest();
    EXPECT_TRUE(digest) << digest.error();
    return digest.value_or(0);
  }

  std::vector<std::byte> memory;
  std::unique_ptr<MemoryVfs> vfs;
  Database database;
  std::unique_ptr<Workload> workload;
};

std::uint64_t digest_after(std::uint64_t steps, const WorkloadOptions& options = kOptions) {
  Bench bench(options);
  bench.step(steps);
  return bench.digest();
}

TEST(WorkloadTest, SameSeedAndStepsGiveTheSameDatabase) {
  for (const std::uint64_t steps : {0U, 3U, 6U, 2000U}) EXPECT_EQ(digest_after(steps), digest_after(steps)) << steps;
}

TEST(WorkloadTest, AnotherSeedOrOneStepMoreGivesAnother) {
  EXPECT_NE(digest_after(500), digest_after(501));
  EXPECT_NE(digest_after(500), digest_after(500, {.seed = 8, .bytes = kOptions.bytes}));
}

TEST(WorkloadTest, LoadsAsManyBytesAsAskedAndStaysWithinHalfAsMuchMore) {
  Bench bench;
  while (!bench.workload->loaded()) bench.step(1);
  EXPECT_EQ(bench.workload->transactions(), 0U);
  EXPECT_GE(bench.vfs->size(), kOptions.bytes);
  bench.step(5000);
  EXPECT_EQ(bench.workload->transactions(), 5000U);
  EXPECT_LE(bench.vfs->size(), kOptions.bytes * 3 / 2);
  EXPECT_TRUE(bench.database.check_integrity());
}

constexpr WorkloadOptions with_reference(std::uint64_t seed) {
  return {.seed = seed, .bytes = vmm::MiB, .reference = vmm::MiB};
}

// Else there is nothing for a host to share.
TEST(WorkloadTest, ReferenceRowsAreOnTheSamePagesOfEachDatabase) {
  std::uint64_t digest = 0;
  {
    Bench one(with_reference(1)), other(with_reference(2), "other");
    for (Bench* bench : {&one, &other}) bench->step(3000);
    std::uint64_t equal = 0;
    for (std::uint64_t at = 0; at < 2 * vmm::MiB; at += vmm::kPageSize)
      equal += std::memcmp(one.memory.data() + at, other.memory.data() + at, vmm::kPageSize) == 0 ? 1 : 0;
    EXPECT_GE(equal * vmm::kPageSize, vmm::MiB);
    digest = one.digest();
    EXPECT_NE(digest, other.digest());
  }
  EXPECT_EQ(digest_after(3000, with_reference(1)), digest);
}

TEST(WorkloadTest, TheDigestSeesWhatIsReadOfReferenceRows) {
  const auto digest = [](const char* change) {
    Bench bench(with_reference(1));
    while (!bench.workload->loaded()) bench.step(1);
    EXPECT_TRUE(bench.database.execute(change));
    bench.step(100);
    EXPECT_TRUE(bench.database.execute("UPDATE reference SET text = ''"));  // so that only reads can differ
    return bench.digest();
  };
  EXPECT_EQ(digest(""), digest(""));
  EXPECT_NE(digest(""), digest("UPDATE reference SET text = 'changed'"));
}

TEST(WorkloadTest, TheDigestSeesOneFlippedBitInARow) {
  Bench bench;
  bench.step(300);
  const std::uint64_t before = bench.digest();
  ASSERT_EQ(bench.digest(), before);
  // A word that only bodies hold, beyond what SQLite has in its page cache.
  const std::string_view word = "lantern ";
  const auto found = std::search(bench.memory.begin() + 256 * 1024, bench.memory.end(), word.begin(), word.end(),
                                 [](std::byte byte, char c) { return byte == static_cast<std::byte>(c); });
  ASSERT_NE(found, bench.memory.end());
  *found ^= std::byte{1};
  EXPECT_NE(bench.digest(), before);
  *found ^= std::byte{1};
  EXPECT_EQ(bench.digest(), before);
}

TEST(KeysTest, AFifthOfTheRowsGetsMostAccesses) {
  constexpr std::uint64_t kRows = 100000;
  constexpr std::uint64_t kPicks = 400000;
  const Keys keys(kRows, 1);
  Random random(2);
  std::vector<std::uint64_t> picks(kRows);
  for (std::uint64_t i = 0; i < kPicks; ++i) {
    const std::int64_t key = keys.pick(random);
    ASSERT_GE(key, 1);
    ASSERT_LE(key, static_cast<std::int64_t>(kRows));
    ++picks[static_cast<std::uint64_t>(key - 1)];
  }
  // Blocks of 64 keys lie on the same pages, so the blocks are what is hot.
  std::vector<std::uint64_t> blocks(kRows / 64 + 1);
  for (std::uint64_t i = 0; i < kRows; ++i) blocks[i / 64] += picks[i];
  std::sort(blocks.rbegin(), blocks.rend());
  std::uint64_t hot = 0;
  for (std::size_t i = 0; i < blocks.size() / 5; ++i) hot += blocks[i];
  EXPECT_GT(hot, kPicks * 80 / 100);
  EXPECT_LT(hot, kPicks * 92 / 100);
}

TEST(KeysTest, EveryNumberOfRowsStaysInRange) {
  for (const std::uint64_t rows : {1U, 2U, 3U, 63U, 64U, 65U, 1000U}) {
    const Keys keys(rows, rows);
    Random random(3);
    for (int i = 0; i < 2000; ++i) {
      const std::int64_t key = keys.pick(random);
      ASSERT_GE(key, 1) << rows;
      ASSERT_LE(key, static_cast<std::int64_t>(rows)) << rows;
    }
  }
}

}  // namespace
}  // namespace tenants
