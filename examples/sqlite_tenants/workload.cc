#include "workload.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace tenants {
namespace {

constexpr std::uint64_t kRowsPerStep = 1000;
constexpr std::uint64_t kMinBody = 256;
constexpr std::uint64_t kMaxBody = 704;
constexpr std::uint64_t kTags = 5000;
// Four rows fill a page.
constexpr std::uint64_t kReferenceText = 992;
constexpr std::int64_t kScanRows = 20;
// Every so many transactions the pages that deletes left free are cut off the end of the file.
constexpr std::uint64_t kVacuumPeriod = 128;

// Bodies are made of these, so that they compress about as well as text does.
constexpr std::array<std::string_view, 32> kWords = {
    "amber ",  "barrel ", "cedar ",  "delta ",   "ember ",  "falcon ", "garden ",  "harbour ",
    "island ", "jasper ", "kernel ", "lantern ", "meadow ", "nickel ", "orchard ", "pepper ",
    "quarry ", "river ",  "saddle ", "timber ",  "umber ",  "valley ", "willow ",  "xenon ",
    "yarrow ", "zephyr ", "anchor ", "basalt ",  "copper ", "dune ",   "engine ",  "fjord ",
};

void write_words(std::string& text, std::uint64_t length, Random& random) {
  text.clear();
  std::uint64_t bits = 0;
  for (unsigned i = 0; text.size() < length; ++i) {
    if (i % 12 == 0) bits = random.next();  // 5 bits a word
    text += kWords[bits % kWords.size()];
    bits /= kWords.size();
  }
  text.resize(length);
}

std::uint64_t fold(std::uint64_t digest, const Statement& row) noexcept {
  const std::array<std::int64_t, 3> numbers = {row.number(0), row.number(1), row.number(2)};
  const std::string_view body = row.bytes(3);
  digest = XXH3_64bits_withSeed(numbers.data(), sizeof(numbers), digest);
  return XXH3_64bits_withSeed(body.data(), body.size(), digest);
}

}  // namespace

Workload::Workload(Database& database, const WorkloadOptions& options)
    : database_(database),
      options_(options),
      random_(options.seed),
      reference_rows_((options.reference + kReferenceText - 1) / kReferenceText),
      tags_(reference_rows_ > 0 ? reference_rows_ : kTags) {
  body_.reserve(std::max(kMaxBody, kReferenceText) + 16);
}

Outcome<std::unique_ptr<Workload>> Workload::create(Database& database, const WorkloadOptions& options) {
  std::unique_ptr<Workload> made(new Workload(database, options));
  const bool refers = made->reference_rows_ > 0;
  const char* const tables[] = {
      refers ? "CREATE TABLE reference(tag INTEGER PRIMARY KEY, text BLOB NOT NULL)" : "",
      "CREATE TABLE item(key INTEGER PRIMARY KEY, version INTEGER NOT NULL, tag INTEGER NOT NULL, body BLOB NOT NULL)",
  };
  for (const char* table : tables)
    if (auto done = database.execute(table); !done) return fail(done.error());
  struct Text {
    Statement& statement;
    const char* sql;
  };
  const Text texts[] = {
      {made->begin_, "BEGIN"},
      {made->commit_, "COMMIT"},
      {made->insert_, "INSERT OR REPLACE INTO item(key, version, tag, body) VALUES(?1, 0, ?2, ?3)"},
      {made->select_, refers ? "SELECT key, version, item.tag, body || text FROM item JOIN reference USING(tag) WHERE "
                               "key = ?1"
                             : "SELECT key, version, tag, body FROM item WHERE key = ?1"},
      {made->scan_, "SELECT key, version, tag, body FROM item WHERE key >= ?1 ORDER BY key LIMIT ?2"},
      {made->update_, "UPDATE item SET version = version + 1, tag = ?2, body = ?3 WHERE key = ?1"},
      {made->delete_, "DELETE FROM item WHERE key = ?1"},
      {made->refer_, refers ? "INSERT INTO reference(tag, text) VALUES(?1, ?2)" : ""},
  };
  for (const Text& text : texts) {
    if (*text.sql == '\0') continue;
    auto prepared = database.prepare(text.sql);
    if (!prepared) return fail(prepared.error());
    text.statement = std::move(*prepared);
  }
  return made;
}

Outcome<void> Workload::step() {
  auto done = loaded()                              ? transaction()
              : reference_loaded_ < reference_rows_ ? load_reference()
              : bytes_loaded_ < options_.bytes      ? load_rows()
                                                    : make_index();
  if (done) steps_.fetch_add(1, std::memory_order_relaxed);
  return done;
}

Outcome<void> Workload::load_reference() {
  if (auto done = begin_.run(); !done) return done;
  for (std::uint64_t i = 0; i < kRowsPerStep && reference_loaded_ < reference_rows_; ++i, ++reference_loaded_) {
    Random random(reference_loaded_);
    write_words(body_, kReferenceText, random);
    refer_.bind(1, static_cast<std::int64_t>(reference_loaded_));
    refer_.bind(2, body_);
    if (auto done = refer_.run(); !done) return done;
  }
  return commit_.run();
}

Outcome<void> Workload::load_rows() {
  if (auto done = begin_.run(); !done) return done;
  for (std::uint64_t i = 0; i < kRowsPerStep && bytes_loaded_ < options_.bytes; ++i) {
    if (auto done = write(insert_, static_cast<std::int64_t>(++rows_loaded_)); !done) return done;
    bytes_loaded_ += body_.size();
  }
  return commit_.run();
}

Outcome<void> Workload::make_index() {
  keys_ = Keys(rows_loaded_, options_.seed);
  auto done = database_.execute("CREATE INDEX item_tag ON item(tag)");
  if (done) loaded_.store(true, std::memory_order_relaxed);
  return done;
}

Outcome<void> Workload::transaction() {
  if (auto done = begin_.run(); !done) return done;
  for (unsigned i = 0; i < kOperations; ++i)
    if (auto done = operation(); !done) return done;
  if (auto done = commit_.run(); !done) return done;
  if (transactions_.fetch_add(1, std::memory_order_relaxed) % kVacuumPeriod != 0) return {};
  return database_.execute("PRAGMA incremental_vacuum(64)");
}

Outcome<void> Workload::operation() {
  const std::int64_t key = keys_.pick(random_);
  const std::uint64_t percent = random_.below(100);
  if (percent < 55) {
    select_.bind(1, key);
    return read(select_);
  }
  if (percent < 60) {
    scan_.bind(1, key);
    scan_.bind(2, kScanRows);
    return read(scan_);
  }
  if (percent < 88) return write(update_, key);
  if (percent < 94) return write(insert_, key);
  delete_.bind(1, key);
  return delete_.run();
}

Outcome<void> Workload::read(Statement& statement) {
  while (true) {
    const auto row = statement.step();
    if (!row) return fail(row.error());
    if (!*row) return {};
    read_digest_ = fold(read_digest_, statement);
  }
}

Outcome<void> Workload::write(Statement& statement, std::int64_t key) {
  make_body(key);
  statement.bind(1, key);
  statement.bind(2, static_cast<std::int64_t>(random_.below(tags_)));
  statement.bind(3, body_);
  return statement.run();
}

// The length depends on the key alone: an updated row stays where it is and the file keeps its size.
void Workload::make_body(std::int64_t key) {
  const std::uint64_t length = kMinBody + Random(static_cast<std::uint64_t>(key)).below(kMaxBody - kMinBody + 1);
  write_words(body_, length, random_);
}

Outcome<std::uint64_t> Workload::digest() {
  std::uint64_t digest = read_digest_;
  for (const char* sql : {"SELECT key, version, tag, body FROM item ORDER BY key",
                          reference_rows_ > 0 ? "SELECT tag, 0, 0, text FROM reference ORDER BY tag" : ""}) {
    if (*sql == '\0') continue;
    auto all = database_.prepare(sql);
    if (!all) return fail(all.error());
    while (true) {
      const auto row = all->step();
      if (!row) return fail(row.error());
      if (!*row) break;
      digest = fold(digest, *all);
    }
  }
  return digest;
}

}  // namespace tenants
