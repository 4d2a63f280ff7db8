// SQLite on a MemoryVfs over ordinary memory.
#include "memory_vfs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "database.h"
#include "keys.h"
#include "vmm/units.h"

namespace tenants {
namespace {

using Range = std::pair<std::uint64_t, std::uint64_t>;

// A VFS over its own memory that records what it gives back, and gives it back unless told not to.
class MemoryVfsTest : public testing::Test {
 protected:
  void make(std::uint64_t bytes) {
    memory_.assign(bytes, std::byte{0});
    auto made = MemoryVfs::create("test", memory_, [this](std::uint64_t offset, std::uint64_t length) {
      discarded_.emplace_back(offset, length);
      if (discard_works_) std::fill_n(memory_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
      return discard_works_;
    });
    ASSERT_TRUE(made) << made.error();
    vfs_ = std::move(*made);
  }

  Database open() {
    auto opened = Database::open(*vfs_);
    EXPECT_TRUE(opened) << opened.error();
    return opened ? std::move(*opened) : Database();
  }

  static void execute(Database& database, const char* sql) {
    const auto done = database.execute(sql);
    ASSERT_TRUE(done) << done.error();
  }

  static std::int64_t number(Database& database, const char* sql) {
    auto statement = database.prepare(sql);
    if (!statement) return ADD_FAILURE() << statement.error(), -1;
    const auto row = statement->step();
    if (!row || !*row) return ADD_FAILURE() << (row ? "no row" : row.error()), -1;
    return statement->number(0);
  }

  static void expect_sound(Database& database) {
    const auto sound = database.check_integrity();
    EXPECT_TRUE(sound) << sound.error();
  }

  bool zero_from(std::uint64_t offset) const {
    return std::all_of(memory_.begin() + static_cast<std::ptrdiff_t>(offset), memory_.end(),
                       [](std::byte byte) { return byte == std::byte{0}; });
  }

  std::vector<std::byte> memory_;
  std::vector<Range> discarded_;
  bool discard_works_ = true;
  std::unique_ptr<MemoryVfs> vfs_;
};

constexpr const char* kFill =
    "CREATE TABLE t(k INTEGER PRIMARY KEY, b BLOB);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
    " INSERT INTO t SELECT i, randomblob(1 + i % 900) FROM n";
constexpr std::int64_t kLengths = 2153000;  // sum of length(b) of kFill

TEST_F(MemoryVfsTest, RowsSurviveClosingAndOpening) {
  make(16 * vmm::MiB);
  {
    Database database = open();
    execute(database, kFill);
  }
  Database database = open();
  EXPECT_EQ(number(database, "SELECT count(*) FROM t"), 5000);
  EXPECT_EQ(number(database, "SELECT sum(length(b)) FROM t"), kLengths);
  expect_sound(database);
}

TEST_F(MemoryVfsTest, TheFileIsTheMemory) {
  make(16 * vmm::MiB);
  Database database = open();
  execute(database, kFill);
  EXPECT_EQ(std::memcmp(memory_.data(), "SQLite format 3", 16), 0);
  EXPECT_EQ(vfs_->size(), static_cast<std::uint64_t>(number(database, "PRAGMA page_count")) * 4096);
  EXPECT_TRUE(zero_from(vfs_->size()));
}

TEST_F(MemoryVfsTest, ADatabaseKeepsEverythingButItselfOnTheHeap) {
  make(16 * vmm::MiB);
  Database database = open();
  EXPECT_EQ(number(database, "PRAGMA auto_vacuum"), 2);
  EXPECT_EQ(number(database, "PRAGMA temp_store"), 2);
  EXPECT_EQ(number(database, "PRAGMA cache_size"), 64);
  EXPECT_EQ(number(database, "PRAGMA page_size"), 4096);
  execute(database, kFill);
  // Sorting, a statement journal and a temporary table would each want a file.
  execute(database, "CREATE TEMP TABLE u AS SELECT * FROM t ORDER BY b, k DESC");
  execute(database, "BEGIN; UPDATE t SET k = k + 100000; ROLLBACK");
  EXPECT_EQ(number(database, "SELECT max(k) FROM t"), 5000);
}

TEST_F(MemoryVfsTest, VacuumGivesBackWhatDeletedRowsHeld) {
  make(16 * vmm::MiB);
  Database database = open();
  execute(database, kFill);
  const std::uint64_t before = vfs_->size();
  execute(database, "DELETE FROM t WHERE k > 500");
  execute(database, "VACUUM");
  EXPECT_LT(vfs_->size(), before / 4);
  ASSERT_FALSE(discarded_.empty());
  EXPECT_EQ(discarded_.back(), Range(vfs_->size(), before - vfs_->size()));
  EXPECT_TRUE(zero_from(vfs_->size()));
  EXPECT_EQ(number(database, "SELECT count(*) FROM t"), 500);
  expect_sound(database);
}

TEST_F(MemoryVfsTest, IncrementalVacuumGivesBackAsManyPagesAsAsked) {
  make(16 * vmm::MiB);
  Database database = open();
  execute(database, kFill);
  execute(database, "DELETE FROM t WHERE k > 500");
  const std::uint64_t before = vfs_->size();
  execute(database, "PRAGMA incremental_vacuum(10)");
  EXPECT_GE(before - vfs_->size(), 10 * vmm::kPageSize);
  EXPECT_LE(before - vfs_->size(), 12 * vmm::kPageSize);  // pointer-map pages go too
  EXPECT_TRUE(zero_from(vfs_->size()));
  expect_sound(database);
}

TEST_F(MemoryVfsTest, AFullMemoryIsSqliteFullAndTheTransactionIsUndone) {
  make(4 * vmm::MiB);
  Database database = open();
  execute(database, kFill);
  const std::uint64_t before = vfs_->size();
  // More changed pages than the page cache holds, so that some are in the file already when it is full.
  execute(database, "BEGIN; UPDATE t SET b = zeroblob(length(b))");
  const auto full = database.execute("INSERT INTO t VALUES(9999, zeroblob(3000000))");
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().find("SQLite code 13"), std::string::npos) << full.error();
  EXPECT_NE(full.error().find("--size"), std::string::npos) << full.error();
  EXPECT_EQ(vfs_->size(), before);
  EXPECT_TRUE(zero_from(before));
  EXPECT_EQ(number(database, "SELECT count(*) FROM t WHERE k < 9999 AND b <> zeroblob(length(b))"), 5000);
  expect_sound(database);
  execute(database, "INSERT INTO t VALUES(9999, zeroblob(300000))");
}

TEST_F(MemoryVfsTest, TheLastByteOfTheMemoryCanBeUsed) {
  make(3 * vmm::kPageSize + 100);
  const std::vector<char> bytes(vmm::kPageSize, 'x');
  EXPECT_EQ(vfs_->write(bytes.data(), 100, 3 * vmm::kPageSize), SQLITE_OK);
  EXPECT_EQ(vfs_->size(), vfs_->capacity());
  EXPECT_EQ(vfs_->write(bytes.data(), 101, 3 * vmm::kPageSize), SQLITE_FULL);
  EXPECT_EQ(vfs_->write(bytes.data(), 1, UINT64_MAX), SQLITE_FULL);
  EXPECT_EQ(vfs_->truncate(0), SQLITE_OK);
  EXPECT_EQ(discarded_, std::vector<Range>({{0, 3 * vmm::kPageSize}})) << "whole pages only";
  EXPECT_TRUE(zero_from(0));
}

TEST_F(MemoryVfsTest, AReadPastTheEndIsShortAndZeroFilled) {
  make(1 * vmm::MiB);
  ASSERT_EQ(vfs_->write("abc", 3, 0), SQLITE_OK);
  struct Case {
    std::uint64_t bytes, offset;
    int code;
    std::string_view expected;
  };
  for (const Case& c :
       {Case{3, 0, SQLITE_OK, "abc"}, Case{2, 1, SQLITE_OK, "bc"}, Case{4, 1, SQLITE_IOERR_SHORT_READ, {"bc\0\0", 4}},
        Case{2, 3, SQLITE_IOERR_SHORT_READ, {"\0\0", 2}},
        Case{2, 2 * vmm::MiB, SQLITE_IOERR_SHORT_READ, {"\0\0", 2}}}) {
    std::string got(c.bytes, '#');
    EXPECT_EQ(vfs_->read(got.data(), c.bytes, c.offset), c.code) << c.bytes << " at " << c.offset;
    EXPECT_EQ(got, c.expected) << c.bytes << " at " << c.offset;
  }
}

// Against a vector that does the same; every third discard fails, so that the VFS must write the zeros itself.
TEST_F(MemoryVfsTest, AnyOrderOfWritesAndTruncationsLeavesWhatAFileWouldHold) {
  constexpr std::uint64_t kBytes = 64 * vmm::kPageSize + 77;
  make(kBytes);
  std::vector<char> expected;
  Random random(20240611);
  for (int i = 0; i < 4000; ++i) {
    if (random.below(3) > 0) {
      const std::uint64_t offset = random.below(kBytes);
      const std::vector<char> bytes(1 + random.below(std::min<std::uint64_t>(kBytes - offset, 9000)),
                                    static_cast<char>(1 + random.below(255)));
      ASSERT_EQ(vfs_->write(bytes.data(), bytes.size(), offset), SQLITE_OK);
      if (expected.size() < offset + bytes.size()) expected.resize(offset + bytes.size());
      std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
    } else {
      discard_works_ = random.below(3) > 0;
      const std::uint64_t size = random.below(kBytes);
      ASSERT_EQ(vfs_->truncate(size), SQLITE_OK);
      if (size < expected.size()) expected.resize(size);
    }
    ASSERT_EQ(vfs_->size(), expected.size());
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), memory_.begin(),
                           [](char a, std::byte b) { return static_cast<std::byte>(a) == b; }))
        << "after operation " << i;
    ASSERT_TRUE(zero_from(expected.size())) << "after operation " << i;
  }
  for (const auto& [offset, bytes] : discarded_) {
    EXPECT_EQ(offset % vmm::kPageSize, 0U);
    EXPECT_EQ(bytes % vmm::kPageSize, 0U);
    EXPECT_LE(offset + bytes, kBytes);
  }
  EXPECT_FALSE(discarded_.empty());
}

TEST_F(MemoryVfsTest, WorksWithoutADiscard) {
  memory_.assign(4 * vmm::MiB, std::byte{0});
  auto made = MemoryVfs::create("plain", memory_);
  ASSERT_TRUE(made) << made.error();
  vfs_ = std::move(*made);
  Database database = open();
  execute(database, kFill);
  execute(database, "DELETE FROM t; VACUUM");
  EXPECT_TRUE(zero_from(vfs_->size()));
}

TEST_F(MemoryVfsTest, DamagedMemoryIsReported) {
  make(16 * vmm::MiB);
  Database database = open();
  execute(database, kFill);
  std::fill_n(memory_.begin() + 200 * 4096, 2 * 4096, std::byte{0x5a});
  const auto sound = database.check_integrity();
  ASSERT_FALSE(sound);
  EXPECT_NE(sound.error().find("integrity_check"), std::string::npos) << sound.error();
}

TEST_F(MemoryVfsTest, RefusesASecondConnectionAWalAndOtherFiles) {
  make(4 * vmm::MiB);
  Database database = open();
  execute(database, "CREATE TABLE t(k)");
  EXPECT_FALSE(Database::open(*vfs_));
  EXPECT_FALSE(database.execute("ATTACH 'other.db' AS other"));
  execute(database, "PRAGMA journal_mode = WAL");
  execute(database, "INSERT INTO t VALUES(1)");
  EXPECT_EQ(number(database, "SELECT count(*) FROM t"), 1);
}

TEST_F(MemoryVfsTest, RefusesANameTwiceAndNoMemory) {
  make(1 * vmm::MiB);
  const auto again = MemoryVfs::create("test", memory_);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().find("VFS test: the name is taken"), std::string::npos) << again.error();
  EXPECT_FALSE(MemoryVfs::create("empty", {}));
  vfs_.reset();
  EXPECT_TRUE(MemoryVfs::create("test", memory_)) << "the name is free again";
}

}  // namespace
}  // namespace tenants
