// Inside: while one lives on a thread, what that thread allocates is ordinary memory of the C library, not the guest's.
// The library's own threads are inside for good (own_threads.cc): were anything of theirs in guest memory, they could
// come to wait for a page that they themselves are to bring.
// Thread-safety: a flag of each thread's own, in memory that is there before any code runs.
#pragma once

namespace vmm::run {

extern __thread bool inside __attribute__((tls_model("initial-exec")));

class Inside {
 public:
  Inside() noexcept : before_(inside) { inside = true; }
  ~Inside() { inside = before_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  const bool before_;
};

}  // namespace vmm::run
