// BalloonSession: one driver of one guest, from the day it is set to the day it is replaced or the guest ends, and the
// thread that calls it. Shared by the balloon and that thread, which may be the last to hold it.
//
// The thread enters the session's gate only while it works on pages. So who ends the session waits for pages that are
// being given, and never for a driver: a thread that is inside one is left to itself.
// Thread-safety: every function from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "host/balloon.h"
#include "host/gate.h"
#include "os/thread.h"

namespace vmm::host {

class BalloonSession {
 public:
  enum class Why { replaced, guest_ends };

  // Errors: EAGAIN, ENOMEM.
  static Result<std::shared_ptr<BalloonSession>> start(BalloonGuest& guest, std::shared_ptr<BalloonDriver> driver);
  ~BalloonSession();

  // As the functions of Balloon.
  std::uint64_t inflate(std::uint64_t pages, base::Nanos now) noexcept VMM_EXCLUDES(mutex_);
  bool deflate(std::uint64_t pages, base::Nanos now) noexcept VMM_EXCLUDES(mutex_);
  void poll(base::Nanos now, base::Nanos timeout) noexcept VMM_EXCLUDES(mutex_);
  bool busy() const noexcept VMM_EXCLUDES(mutex_);
  bool distrusted(base::Nanos now) const noexcept VMM_EXCLUDES(mutex_);
  bool exhausted(base::Nanos now) const noexcept VMM_EXCLUDES(mutex_);
  std::optional<BalloonNews> take_news() VMM_EXCLUDES(mutex_);

  // Once. The driver is called no more, but for the call under way and, if it is replaced, the end of that request.
  // Returns the driver.
  std::shared_ptr<BalloonDriver> end(Why why) noexcept VMM_EXCLUDES(mutex_);

 private:
  enum class Kind : std::uint8_t { none, inflate, deflate };
  enum class Trouble : std::uint8_t { none, hangs, throws, fruitless };
  using Ranges = std::vector<BalloonRange>;

  BalloonSession(BalloonGuest& guest, std::shared_ptr<BalloonDriver> driver) noexcept;
  void run() noexcept VMM_EXCLUDES(mutex_);
  template <class Call>
  bool call(BalloonDriver& driver, const Call& what) noexcept VMM_EXCLUDES(mutex_);
  void ask(BalloonDriver& driver, std::uint64_t pages) VMM_EXCLUDES(mutex_);
  std::uint64_t give(const BalloonRange& range, Ranges& refused) noexcept;
  void take_back(BalloonDriver& driver, std::uint64_t pages) VMM_EXCLUDES(mutex_);
  std::uint64_t take_back(std::uint64_t first, std::uint64_t count, std::uint64_t most, Ranges& back) noexcept;
  void remember(std::uint64_t first, std::uint64_t count) noexcept;
  bool request_locked(Kind kind, std::uint64_t pages, base::Nanos now) noexcept VMM_REQUIRES(mutex_);
  void judge_locked(std::uint64_t popped, base::Nanos now) noexcept VMM_REQUIRES(mutex_);
  void distrust_locked(Trouble why, base::Nanos now) noexcept VMM_REQUIRES(mutex_);
  std::uint64_t popped() noexcept;

  BalloonGuest& guest_;  // inside the gate only
  Gate gate_;

  mutable base::Mutex mutex_{base::LockRank::balloon};
  base::CondVar changed_;
  std::shared_ptr<BalloonDriver> driver_ VMM_GUARDED_BY(mutex_);
  bool ended_ VMM_GUARDED_BY(mutex_) = false;
  bool replaced_ VMM_GUARDED_BY(mutex_) = false;
  // The request: none, asked for, or worked on.
  Kind request_ VMM_GUARDED_BY(mutex_) = Kind::none;
  std::uint64_t request_pages_ VMM_GUARDED_BY(mutex_) = 0;
  bool in_driver_ VMM_GUARDED_BY(mutex_) = false;              // code of the driver may be running
  std::optional<base::Nanos> since_ VMM_GUARDED_BY(mutex_);    // that call was first known of
  bool overdue_ VMM_GUARDED_BY(mutex_) = false;                // it took too long, and that has been said
  // The answer, until it is judged.
  struct Answer {
    std::uint64_t asked = 0, freed = 0;
    std::uint64_t popped = 0;  // the guest's count when the giving began
  };
  std::optional<Answer> answer_ VMM_GUARDED_BY(mutex_);
  bool threw_ VMM_GUARDED_BY(mutex_) = false;
  unsigned fruitless_ VMM_GUARDED_BY(mutex_) = 0;
  // When the last answer was judged, and the guest's count of pops then.
  std::optional<base::Nanos> judged_at_ VMM_GUARDED_BY(mutex_);
  std::uint64_t judged_popped_ VMM_GUARDED_BY(mutex_) = 0;
  std::optional<base::Nanos> distrusted_until_ VMM_GUARDED_BY(mutex_), exhausted_until_ VMM_GUARDED_BY(mutex_);
  // News, and what it is about.
  Trouble trouble_ VMM_GUARDED_BY(mutex_) = Trouble::none;
  std::array<char, 128> thrown_ VMM_GUARDED_BY(mutex_) = {};
  base::Nanos timeout_ VMM_GUARDED_BY(mutex_){};
  Answer judged_ VMM_GUARDED_BY(mutex_);

  // The thread's own: what was given last, in a ring; what has left it is found by looking at the pages.
  static constexpr std::size_t kRemembered = 256;
  std::array<reclaim::PageStretch, kRemembered> recent_;
  std::size_t newest_ = 0;

  os::Thread thread_;  // of who ends the session
};

}  // namespace vmm::host
