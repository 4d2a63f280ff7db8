// Database and Statement: an SQLite connection to the file of a MemoryVfs, and its prepared statements.
// Errors are sentences that name what was done, SQLite's reason and what it means here.
// Thread-safety: one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "memory_vfs.h"
#include "outcome.h"

namespace tenants {

// Lives no longer than its Database. Parameters are numbered from 1, columns from 0.
class Statement {
 public:
  Statement() = default;

  void bind(int parameter, std::int64_t value) noexcept { sqlite3_bind_int64(handle_.get(), parameter, value); }
  // The bytes must stay as they are until the statement has run.
  void bind(int parameter, std::string_view bytes) noexcept {
    sqlite3_bind_blob64(handle_.get(), parameter, bytes.data(), bytes.size(), SQLITE_STATIC);
  }

  // True: a row is there. False: the statement has run to its end and may be bound and stepped anew.
  Outcome<bool> step();
  // Steps to the end, whatever rows there are.
  Outcome<void> run();

  std::int64_t number(int column) const noexcept { return sqlite3_column_int64(handle_.get(), column); }
  // Valid until the next step.
  std::string_view bytes(int column) const noexcept;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

class Database {
 public:
  // Opens the file with a page cache of 64 pages, so that nearly every access goes to the file's memory,
  // and with everything that is not the database itself on the heap.
  static Outcome<Database> open(const MemoryVfs& vfs);

  Outcome<void> execute(const char* sql);
  Outcome<Statement> prepare(const char* sql);

  // PRAGMA integrity_check: an error holds the first of its findings.
  Outcome<void> check_integrity();

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

}  // namespace tenants
