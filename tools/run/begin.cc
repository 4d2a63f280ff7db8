// Where it all begins: what the dynamic linker runs of this library before the program's main(), after the constructors
// of most other libraries.
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "environment.h"
#include "inside.h"
#include "messages.h"
#include "program_memory.h"

namespace vmm::run {
namespace {

__attribute__((constructor)) void begin() noexcept {
  const Inside here;
  const char* const text = std::getenv(kSettingsVariable);
  if (text == nullptr) return;  // loaded by somebody else: nothing changes
  keep_standard_error();
  const auto settings = parse_settings(text);
  if (!settings) fail_at_start("$VMM_RUN was not written by vmmctl run of this version");
  ProgramMemory::begin(*settings);
  if (!settings->children) leave_environment(*settings);
}

}  // namespace
}  // namespace vmm::run
