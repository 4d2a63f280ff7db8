#include "host/balloon_session.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "base/text.h"
#include "os/affinity.h"
#include "vmm/units.h"

namespace vmm::host {
namespace {

constexpr std::uint64_t kLook = 65536;  // pages looked through while inside the gate

// Without memory for it a range is not told: the driver goes on to take it for given, as which it may be used.
void append(std::vector<BalloonRange>& ranges, std::uint64_t first, std::uint64_t count) noexcept {
  const BalloonRange range{first * kPageSize, count * kPageSize};
  if (!ranges.empty() && ranges.back().offset + ranges.back().bytes == range.offset) {
    ranges.back().bytes += range.bytes;
    return;
  }
  try {
    ranges.push_back(range);
  } catch (const std::bad_alloc&) {
  }
}

std::uint64_t pages_named(const BalloonRange& range, std::uint64_t most) noexcept {
  return std::min(range.bytes / kPageSize + (range.bytes % kPageSize != 0 ? 1 : 0), most);
}

}  // namespace

BalloonSession::BalloonSession(BalloonGuest& guest, std::shared_ptr<BalloonDriver> driver) noexcept
    : guest_(guest), driver_(std::move(driver)) {}

BalloonSession::~BalloonSession() = default;

Result<std::shared_ptr<BalloonSession>> BalloonSession::start(BalloonGuest& guest,
                                                              std::shared_ptr<BalloonDriver> driver) {
  std::shared_ptr<BalloonSession> s(new BalloonSession(guest, std::move(driver)));
  auto thread = os::Thread::start("vmm-balloon", [s] { s->run(); });
  if (!thread) return tl::unexpected(thread.error());
  s->thread_ = std::move(*thread);
  return s;
}

std::shared_ptr<BalloonDriver> BalloonSession::end(Why why) noexcept {
  std::shared_ptr<BalloonDriver> driver;
  bool wait = false;
  {
    base::MutexLock lock(mutex_);
    ended_ = true;
    replaced_ = why == Why::replaced;
    driver = std::move(driver_);
    // The end of a request that is worked on may still be told to a driver that was replaced.
    wait = replaced_ ? request_ == Kind::none : !in_driver_;
  }
  changed_.notify_all();
  gate_.close();
  gate_.wait_until_empty();
  if (wait && thread_.tid() != os::current_tid()) thread_.join();
  else thread_.detach();
  return driver;
}

std::uint64_t BalloonSession::popped() noexcept {
  const GatePass pass(gate_);
  return pass ? guest_.popped() : 0;
}

std::uint64_t BalloonSession::inflate(std::uint64_t pages, base::Nanos now) noexcept {
  const auto popped_now = popped();
  {
    const GatePass pass(gate_);
    pages = pass ? std::min(pages, guest_.room()) : 0;
  }
  base::MutexLock lock(mutex_);
  judge_locked(popped_now, now);
  const bool asleep = (distrusted_until_ && now < *distrusted_until_) || (exhausted_until_ && now < *exhausted_until_);
  return !asleep && request_locked(Kind::inflate, pages, now) ? pages : 0;
}

bool BalloonSession::deflate(std::uint64_t pages, base::Nanos now) noexcept {
  base::MutexLock lock(mutex_);
  return request_locked(Kind::deflate, pages, now);
}

// Gives the thread something to do. False: there is nothing to do, it is busy, or it is to end.
bool BalloonSession::request_locked(Kind kind, std::uint64_t pages, base::Nanos now) noexcept {
  if (ended_ || pages == 0 || request_ != Kind::none) return false;
  request_ = kind;
  request_pages_ = pages;
  since_ = now;
  overdue_ = false;
  changed_.notify_all();
  return true;
}

void BalloonSession::poll(base::Nanos now, base::Nanos timeout) noexcept {
  const auto popped_now = popped();
  base::MutexLock lock(mutex_);
  judge_locked(popped_now, now);
  if (!in_driver_ || overdue_) return;
  if (!since_) since_ = now;
  if (now - *since_ <= timeout) return;
  overdue_ = true;
  timeout_ = timeout;
  distrust_locked(Trouble::hangs, now);
}

// The driver's doings since it was last judged.
void BalloonSession::judge_locked(std::uint64_t popped, base::Nanos now) noexcept {
  if (threw_) {
    threw_ = false;
    answer_.reset();
    distrust_locked(Trouble::throws, now);
    return;
  }
  if (!answer_) return;
  auto a = *std::exchange(answer_, std::nullopt);
  // What the last answers had freed and is in use again has not been free, either.
  const bool soon = judged_at_ && now - *judged_at_ < 2 * Balloon::kExhausted;
  const auto before = soon ? std::min(judged_popped_, a.popped) : a.popped;
  a.freed -= std::min(a.freed, popped - std::min(popped, before));
  judged_at_ = now;
  judged_popped_ = popped;
  if (a.freed < a.asked / 2) exhausted_until_ = now + Balloon::kExhausted;
  fruitless_ = a.freed * Balloon::kFruitlessPart < a.asked ? fruitless_ + 1 : 0;
  if (fruitless_ < Balloon::kMostFruitless) return;
  judged_ = a;
  distrust_locked(Trouble::fruitless, now);
}

void BalloonSession::distrust_locked(Trouble why, base::Nanos now) noexcept {
  trouble_ = why;
  fruitless_ = 0;
  distrusted_until_ = now + Balloon::kDistrusted;
}

bool BalloonSession::busy() const noexcept {
  base::MutexLock lock(mutex_);
  return request_ != Kind::none;
}

bool BalloonSession::distrusted(base::Nanos now) const noexcept {
  base::MutexLock lock(mutex_);
  // One that hangs still is not trusted again by time alone.
  return (in_driver_ && overdue_) || (distrusted_until_ && now < *distrusted_until_);
}

bool BalloonSession::exhausted(base::Nanos now) const noexcept {
  base::MutexLock lock(mutex_);
  return exhausted_until_ && now < *exhausted_until_;
}

std::optional<BalloonNews> BalloonSession::take_news() {
  base::MutexLock lock(mutex_);
  std::optional<BalloonNews> news;
  switch (trouble_) {
    case Trouble::none: return news;
    case Trouble::hangs:
      news = {"did not answer within " +
              std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(timeout_).count()) + " ms"};
      break;
    case Trouble::throws: news = {"threw: " + std::string(thrown_.data())}; break;
    case Trouble::fruitless:
      news = {"freed " + base::bytes_text(judged_.freed * kPageSize) + " of " +
              base::bytes_text(judged_.asked * kPageSize) + ", as little as the times before"};
      break;
  }
  trouble_ = Trouble::none;
  return news;
}

void BalloonSession::run() noexcept {
  for (;;) {
    std::shared_ptr<BalloonDriver> driver;
    auto request = Kind::none;
    std::uint64_t pages = 0;
    {
      base::MutexLock lock(mutex_);
      while (!ended_ && request_ == Kind::none) changed_.wait(mutex_);
      if (ended_) return;
      driver = driver_;
      request = request_;
      pages = request_pages_;
    }
    request == Kind::inflate ? ask(*driver, pages) : take_back(*driver, pages);
    driver.reset();  // the last to hold it only where nobody waits for this thread
    base::MutexLock lock(mutex_);
    request_ = Kind::none;
    since_.reset();
  }
}

// Calls the driver, unless it is to be called no more. False: that, or it threw.
template <class Call>
bool BalloonSession::call(BalloonDriver& driver, const Call& what) noexcept {
  {
    base::MutexLock lock(mutex_);
    if (ended_ && !replaced_) return false;
    in_driver_ = true;
  }
  const auto threw = [&](const char* text) {
    base::MutexLock lock(mutex_);
    threw_ = true;
    const auto length = std::min(std::char_traits<char>::length(text), thrown_.size() - 1);
    std::copy_n(text, length, thrown_.begin());
    thrown_[length] = '\0';
  };
  bool returned = false;
  try {
    what(driver);
    returned = true;
  } catch (const std::exception& e) {
    threw(e.what());
  } catch (...) {
    threw("no std::exception");
  }
  base::MutexLock lock(mutex_);
  in_driver_ = false;
  since_.reset();  // the next call's time is its own
  return returned;
}

void BalloonSession::ask(BalloonDriver& driver, std::uint64_t pages) {
  Ranges ranges, refused;
  if (!call(driver, [&](BalloonDriver& d) { ranges = d.inflate(pages * kPageSize); })) return;
  bool late = false, accept = false;
  {
    base::MutexLock lock(mutex_);
    late = overdue_;
    accept = !late && !ended_;
  }
  Answer answer{pages, 0, popped()};
  for (const auto& range : ranges) {
    if (accept) {
      answer.freed += give(range, refused);
      continue;
    }
    const GatePass pass(gate_);
    if (pass) guest_.count_refused(pages_named(range, guest_.pages()));
  }
  if (!accept) refused.swap(ranges);
  {
    const GatePass pass(gate_);
    if (late && pass) guest_.count_late();
  }
  if (accept) {
    base::MutexLock lock(mutex_);
    answer_ = answer;
  }
  // Told also where nothing was refused: from now on the driver may use again what it gave.
  if (!ranges.empty() || !refused.empty()) call(driver, [&](BalloonDriver& d) { d.deflate(refused); });
}

// Returns how many of its pages were in memory, and are free now.
std::uint64_t BalloonSession::give(const BalloonRange& range, Ranges& refused) noexcept {
  if (range.bytes == 0) return 0;
  const auto first = range.offset / kPageSize, count = range.bytes / kPageSize;
  std::uint64_t freed = 0;
  for (std::uint64_t done = 0; done == 0 || done < count;) {
    const GatePass pass(gate_);
    if (!pass) {
      append(refused, first + done, count - done);
      return freed;
    }
    const auto pages = guest_.pages();
    const bool whole = range.offset % kPageSize == 0 && range.bytes % kPageSize == 0;
    if (!whole || first >= pages || count > pages - first) {
      guest_.count_refused(pages_named(range, pages));
      try {
        refused.push_back(range);
      } catch (const std::bad_alloc&) {
      }
      return freed;
    }
    const auto piece = std::min(reclaim::kMostGiven, count - done);
    const auto given = guest_.give(first + done, piece, guest_.room());
    freed += given.freed;
    for (std::uint64_t i = 0; i < piece;) {
      const bool accepted = given.accepted[i], already = given.already[i];
      auto end = i + 1;
      while (end < piece && given.accepted[end] == accepted && given.already[end] == already) ++end;
      if (accepted) remember(first + done + i, end - i);
      // What had been given before is so still.
      else if (!already) append(refused, first + done + i, end - i);
      i = end;
    }
    done += piece;
  }
  return freed;
}

void BalloonSession::remember(std::uint64_t first, std::uint64_t count) noexcept {
  auto& last = recent_[newest_];
  if (last.first + last.count == first) {
    last.count += count;
    return;
  }
  newest_ = (newest_ + 1) % kRemembered;
  recent_[newest_] = {first, count};
}

void BalloonSession::take_back(BalloonDriver& driver, std::uint64_t pages) {
  Ranges back;
  std::uint64_t taken = 0;
  for (std::size_t tries = 0; tries < kRemembered && taken < pages; ++tries) {
    auto& last = recent_[newest_];
    const auto count = std::min(last.count, pages - taken);
    taken += take_back(last.first + last.count - count, count, count, back);
    last.count -= count;
    // Popped pages are none: the rest of this stretch comes next.
    if (last.count == 0) newest_ = (newest_ + kRemembered - 1) % kRemembered;
  }
  std::uint64_t end = 0;
  {
    const GatePass pass(gate_);
    if (pass) end = guest_.pages();
  }
  for (std::uint64_t first = 0; first < end && taken < pages; first += kLook)
    taken += take_back(first, std::min(kLook, end - first), pages - taken, back);
  if (!back.empty()) call(driver, [&](BalloonDriver& d) { d.deflate(back); });
}

// Ballooned pages of the range, `most` and less than a stretch more.
std::uint64_t BalloonSession::take_back(std::uint64_t first, std::uint64_t count, std::uint64_t most,
                                        Ranges& back) noexcept {
  std::uint64_t taken = 0;
  for (const auto end = first + count; first < end && taken < most;) {
    const GatePass pass(gate_);
    if (!pass) break;
    const auto stretch = guest_.take_back(first, end - first);
    if (stretch.count == 0) break;
    append(back, stretch.first, stretch.count);
    taken += stretch.count;
    first = stretch.first + stretch.count;
  }
  return taken;
}

}  // namespace vmm::host
