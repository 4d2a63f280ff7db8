// A program that knows nothing of libvmm, for vmmctl run: run_subject NAME [NUMBER]. Each part checks what it gets from
// the C library and the kernel; it prints "well" and ends with 0, or says what was wrong and ends with 1.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "parts.h"

int main(int argc, char** argv) {
  using namespace subject;
  const std::string_view name = argc > 1 ? argv[1] : "";
  const std::size_t number = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  if (name == "malloc") return allocators();
  if (name == "threads") return threads(number);
  if (name == "mappings") return mappings();
  if (name == "limits") return limits();
  if (name == "full") return full();
  if (name == "descriptors") return descriptors(number);
  if (name == "fork") return fork_and_check(number);
  if (name == "fork_exec") return fork_and_exec(number);
  if (name == "fork_tree") return fork_tree(number);
  if (name == "fork_drop") return fork_and_drop(number);
  if (name == "session") return own_session();
  if (name == "plugin") return plugin();
  if (name == "environment") return environment();
  if (name == "exec") return exec_again(argv[0]);
  std::fprintf(stderr, "run_subject: there is no part '%s'\n", argc > 1 ? argv[1] : "");
  return 2;
}
