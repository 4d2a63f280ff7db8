#include "environment.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "inside.h"
#include "program_memory.h"

namespace vmm::run {
namespace {

constexpr const char* kPreload = "LD_PRELOAD";

bool is(const char* entry, std::string_view name) noexcept {
  return std::strncmp(entry, name.data(), name.size()) == 0 && entry[name.size()] == '=';
}

}  // namespace

void leave_environment(const Settings& settings) noexcept {
  ::unsetenv(kSettingsVariable);
  if (settings.former_preload) {
    ::setenv(kPreload, settings.former_preload->c_str(), 1);
  } else {
    ::unsetenv(kPreload);
  }
}

WithSettings::WithSettings(char* const* environment) {
  const Settings& settings = ProgramMemory::settings();
  Settings next = settings;
  next.former_preload.reset();
  for (char* const* at = environment; at != nullptr && *at != nullptr; ++at) {
    if (is(*at, kSettingsVariable)) continue;
    if (is(*at, kPreload)) {
      next.former_preload = *at + std::strlen(kPreload) + 1;
      continue;
    }
    list_.push_back(*at);
  }
  settings_ = std::string(kSettingsVariable) + "=" + to_text(next);
  preload_ = std::string(kPreload) + "=" + settings.library;
  if (next.former_preload && !next.former_preload->empty()) preload_ += ":" + *next.former_preload;
  list_.push_back(settings_.data());
  list_.push_back(preload_.data());
  list_.push_back(nullptr);
}

}  // namespace vmm::run
