// Program files: which file a name means, as shells and env(1) find it, and whether the dynamic linker will load a
// library into it.
// Thread-safety: any thread.
#pragma once

#include <string>

namespace vmm::run {

struct ProgramFile {
  int status = 0;       // 0, or what a shell would end with: 127 not found, 126 not to be executed
  std::string path;     // status 0: where it is
  std::string problem;  // status other than 0
};

// `path` is $PATH; names with a '/' are not looked for.
ProgramFile find_program(const std::string& name, const std::string& path);

// Why no library can be loaded into the program at `path`, or empty. Of a script, its interpreter is looked at.

std::string why_not_preloadable(const std::string& path);

}  // namespace vmm::run
