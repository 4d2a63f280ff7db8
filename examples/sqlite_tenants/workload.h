// Workload: what one tenant does with its database: a sequence of steps that depends on the seed and the
// size alone. So the number of steps done is all that a replay needs to do exactly the same again.
//
// First steps load the reference rows, which depend on their number alone: the first pages of all databases are equal.
// Then steps load rows; one makes the index; every later one is a transaction of kOperations operations: reads by key
// (of a row and of the reference row that it names), range scans, updates, deletes and inserts, with keys from Keys.
// Reference rows are never written again.
// Thread-safety: one thread at a time; steps(), transactions() and loaded() at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "database.h"
#include "keys.h"
#include "outcome.h"

namespace tenants {

struct WorkloadOptions {
  std::uint64_t seed = 0;
  std::uint64_t bytes = 0;      // of rows to load, keys and SQLite's overhead not counted
  std::uint64_t reference = 0;  // of reference rows, likewise; 0: there is no such table
};

class Workload {
 public:
  static constexpr unsigned kOperations = 8;

  // Makes the table in an empty database, which must outlive the workload.
  static Outcome<std::unique_ptr<Workload>> create(Database& database, const WorkloadOptions& options);

  // On error the database is as the last whole step left it, as far as it can still be told.
  Outcome<void> step();

  std::uint64_t steps() const noexcept { return steps_.load(std::memory_order_relaxed); }
  // Steps after loading.
  std::uint64_t transactions() const noexcept { return transactions_.load(std::memory_order_relaxed); }
  bool loaded() const noexcept { return loaded_.load(std::memory_order_relaxed); }

  // XXH3 over every column of every row of both tables in key order, and over every row that was ever read.
  Outcome<std::uint64_t> digest();

 private:
  Workload(Database& database, const WorkloadOptions& options);
  Outcome<void> load_reference();
  Outcome<void> load_rows();
  Outcome<void> make_index();
  Outcome<void> transaction();
  Outcome<void> operation();
  Outcome<void> read(Statement& statement);
  Outcome<void> write(Statement& statement, std::int64_t key);
  void make_body(std::int64_t key);

  Database& database_;
  const WorkloadOptions options_;
  Random random_;
  Keys keys_;
  std::string body_;
  const std::uint64_t reference_rows_;
  const std::uint64_t tags_;  // a row names one: its reference row, if there are any
  std::uint64_t reference_loaded_ = 0;
  std::uint64_t bytes_loaded_ = 0;
  std::uint64_t rows_loaded_ = 0;
  std::uint64_t read_digest_ = 0;
  std::atomic<std::uint64_t> steps_{0};
  std::atomic<std::uint64_t> transactions_{0};
  std::atomic<bool> loaded_{false};
  Statement begin_, commit_, insert_, select_, scan_, update_, delete_, refer_;
};

}  // namespace tenants
