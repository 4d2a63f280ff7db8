// The environment: what of it makes a program run in a guest. The program itself, and what it execs in its own place,
// has that; the programs that it starts have not, unless Settings::children.
// Thread-safety: one thread, but with_settings(), which any may call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "settings.h"

namespace vmm::run {

// Takes our part out of the process's environment.
void leave_environment(const Settings& settings) noexcept;

// `environment` with our part again, for who execs another program in this process's place. Valid as long as the
// object.
class WithSettings {
 public:
  explicit WithSettings(char* const* environment);
  char* const* get() const noexcept { return list_.data(); }

 private:
  std::string settings_, preload_;
  std::vector<char*> list_;
};

}  // namespace vmm::run
