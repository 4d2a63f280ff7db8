// PageSource: what the fault service asks for pages that are swapped. Implemented by the reclaim layer.
// Thread-safety: one fault thread calls everything but set_bell(), end_helping() and helper_progress(); nothing
// allocates, logs or waits.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "os/poller.h"

namespace vmm::region {

class GuestMemory;

// What became of a fault, or of an attempt to answer it.
enum class Outcome : std::uint8_t {
  done,         // answered
  reading,      // a read is under way; its completion answers
  wait_page,    // somebody else works on the page
  wait_credit,  // no free memory
  wait_stopped, // the guest is stopped
  wait_buffer,  // all read buffers are in use
  wait_zeros,   // the worker zeroes a huge page
  wait_kernel,  // the kernel asks to try again
};

// What the watchdog reads of a thread: the fault that it answers now, or the page that it puts in place.
struct FaultProgress {
  std::uint64_t answered = 0;  // grows with every one
  std::uint64_t address = 0;   // 0 = idle
};

class PageSource {
 public:
  virtual ~PageSource() = default;

  // Begins to read `page`, which is swapped and locked by the caller; with a demand, also what the guest's read
  // window says. Outcome::reading: the source owns the lock and puts the page in place when it has come.
  // Any other outcome: nothing was begun, the lock is the caller's.
  virtual Outcome start(GuestMemory& guest, std::uint64_t page, base::Nanos since, bool demand) noexcept = 0;

  // A thread waits for `page`, whose read is in flight: the reader may go further ahead.
  virtual void touched(GuestMemory& guest, std::uint64_t page) noexcept = 0;

  // Begins reads for a prefetch while buffers and memory are plentiful; advances next. True when it has ended.
  virtual bool pump(GuestMemory& guest, std::uint64_t& next, std::uint64_t end) noexcept = 0;

  // One is readable when reap() has something to do; -1: never.
  virtual std::array<int, 2> event_fds() const noexcept = 0;
  // Puts in place some of what has come, and says in `working_on` at which address. True if it did anything.
  virtual bool reap(std::atomic<std::uint64_t>& working_on) noexcept = 0;
  // Hands started reads to the kernel.
  virtual void flush() noexcept = 0;
  // Reads are in flight that threads wait for or soon will; not those of a prefetch.
  virtual bool awaited() noexcept = 0;
  // Some of what has come is left for the next reap().
  virtual bool left() const noexcept = 0;
  // The bell of the fault thread, for who helps the source: rung once when pump(), in_flight() or a wait for a buffer,
  // having answered no, may have another answer. Set before the fault thread begins.
  virtual void set_bell(const os::Doorbell& bell) noexcept = 0;
  // The fault thread has ended, and its bell is about to go.
  virtual void end_helping() noexcept = 0;
  // Any thread. Of who helps the source.
  virtual FaultProgress helper_progress() const noexcept = 0;
  // Reads in flight for that guest, and those that are being put in place.
  virtual unsigned in_flight(const GuestMemory& guest) noexcept = 0;
};

}  // namespace vmm::region
