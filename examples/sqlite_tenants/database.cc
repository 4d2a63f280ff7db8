#include "database.h"

#include <cinttypes>

namespace tenants {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

const char* meaning(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_FULL: return "the file has filled the guest's memory; take a smaller --size or fewer --seconds";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return "the guest's memory does not hold what SQLite wrote to it";
    case SQLITE_IOERR: return "the file ends before a page that SQLite knows of";
    case SQLITE_NOMEM: return "the process has no memory left for SQLite's own heap";
    case SQLITE_CANTOPEN: return "the file is open already, or SQLite asked for a second file";
    default: return "see https://sqlite.org/rescode.html";
  }
}

std::string describe(sqlite3* database, const char* doing) {
  const int code = sqlite3_extended_errcode(database);
  return format("%s: %s (SQLite code %d: %s)", doing, sqlite3_errmsg(database), code, meaning(code));
}

}  // namespace

Outcome<bool> Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_.get());
    return false;
  }
  auto error = describe(sqlite3_db_handle(handle_.get()), sqlite3_sql(handle_.get()));
  sqlite3_reset(handle_.get());
  return fail(std::move(error));
}

Outcome<void> Statement::run() {
  while (true) {
    const auto row = step();
    if (!row) return fail(row.error());
    if (!*row) return {};
  }
}

std::string_view Statement::bytes(int column) const noexcept {
  // The pointer first: sqlite3_column_bytes tells the length of the last form asked for.
  const auto* data = static_cast<const char*>(sqlite3_column_blob(handle_.get(), column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

Outcome<Database> Database::open(const MemoryVfs& vfs) {
  Database database;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2("main.db", &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                   vfs.name().c_str());
  database.handle_.reset(handle);
  if (code != SQLITE_OK) return fail(describe(handle, "open"));
  sqlite3_extended_result_codes(handle, 1);
  // The journal's place comes first: auto_vacuum writes to a new database.
  const auto set = database.execute(
      "PRAGMA journal_mode = MEMORY;"
      "PRAGMA temp_store = MEMORY;"
      "PRAGMA page_size = 4096;"  // kPageBytes
      "PRAGMA auto_vacuum = INCREMENTAL;"
      "PRAGMA synchronous = OFF;"
      "PRAGMA mmap_size = 0;"
      "PRAGMA cache_size = 64;");
  if (!set) return fail(set.error());
  // So that SQLite knows where the memory ends before it writes there: SQLite 3.40 does not roll back from a
  // journal in memory after its VFS has said SQLITE_FULL.
  const auto limit = format("PRAGMA max_page_count = %" PRIu64, vfs.capacity() / kPageBytes);
  if (auto done = database.execute(limit.c_str()); !done) return fail(done.error());
  return database;
}

Outcome<void> Database::execute(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return fail(describe(handle_.get(), sql));
}

Outcome<Statement> Database::prepare(const char* sql) {
  sqlite3_stmt* handle = nullptr;
  if (sqlite3_prepare_v2(handle_.get(), sql, -1, &handle, nullptr) != SQLITE_OK)
    return fail(describe(handle_.get(), sql));
  Statement statement;
  statement.handle_.reset(handle);
  return statement;
}

Outcome<void> Database::check_integrity() {
  auto check = prepare("PRAGMA integrity_check(1)");
  if (!check) return fail(check.error());
  const auto row = check->step();
  if (!row) return fail(row.error());
  const std::string finding(*row ? check->bytes(0) : "no answer");
  if (finding != "ok") return fail("PRAGMA integrity_check: " + finding);
  return {};
}

}  // namespace tenants
