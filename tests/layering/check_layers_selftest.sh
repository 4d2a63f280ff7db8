#!/bin/bash
# Proves that check_layers.sh finds what it is there to find, and nothing in a tree that keeps the rules.
set -euo pipefail

checker=$(dirname "$0")/check_layers.sh
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failed=0

fresh_tree() {
  rm -rf "${root:?}"/*
  mkdir -p "$root"/lib/{base,policy,os,topology,region,host} "$root"/include/vmm
  printf '#pragma once\n#include <cstdint>\n#include "vmm/export.h"\n' > "$root/include/vmm/guest.h"
  printf '#include "base/check.h"\n#include <unistd.h>\nvoid f() { dprintf(2, "last words"); }\n' > "$root/lib/base/check.cc"
  printf '#include <sys/mman.h>\n#include <liburing.h>\n#include "base/error.h"\n' > "$root/lib/os/mapping.cc"
  printf '#include <hwloc.h>\n#include "os/mapping.h"\n' > "$root/lib/topology/topology.cc"
  # Comments and strings may name what code may not use; snprintf prints nowhere.
  printf '%s\n' '// #include <fcntl.h>, printf(x)' '/* std::cout' '#include <sys/mman.h>' '*/ int a;' \
    'const char* s = "printf(x) \" std::cerr";' 'int b = snprintf(p, n, "%d", 1);' > "$root/lib/region/region.cc"
}

# expect <description> <file the complaint names, empty = none>
expect() {
  local output status=0
  output=$("$checker" "$root" 2>&1) || status=$?
  if [[ -z $2 && $status -eq 0 && -z $output ]]; then return; fi
  if [[ -n $2 && $status -eq 1 && $output == *"$2"* && $(wc -l <<< "$output") -eq 1 ]]; then return; fi
  printf 'FAILED: %s: status %d, output:\n%s\n' "$1" "$status" "$output"
  failed=1
}

# breaks <description> <file> <line to add>
breaks() {
  fresh_tree
  mkdir -p "$(dirname "$root/$2")"
  printf '%s\n' "$3" >> "$root/$2"
  expect "$1" "$2:"
}

fresh_tree
expect "a tree that keeps the rules" ""

breaks "base includes os" lib/base/x.h '#include "os/file.h"'
breaks "policy includes host" lib/policy/x.cc '#include "host/host_core.h"'
breaks "region includes reclaim, with spaces" lib/region/x.cc '  #  include  "reclaim/victims.h"'
breaks "angle brackets do not hide it" lib/os/x.cc '#include <topology/nodes.h>'
breaks "a relative path does not hide it" lib/base/x.cc '#include "../os/file.h"'
breaks "a block comment before it does not hide it" lib/base/x.cc '/* see there */ #include "os/file.h"'
breaks "public header includes lib" include/vmm/x.h '#include "host/host_core.h"'
breaks "unknown layer" lib/misc/x.cc 'int x;'
breaks "file outside of the layers" lib/x.cc 'int x;'
for header in sys/mman.h sys/ioctl.h sys/syscall.h sys/epoll.h sys/eventfd.h sys/timerfd.h sys/stat.h sys/statvfs.h \
              numaif.h numa.h linux/userfaultfd.h liburing.h sched.h fcntl.h unistd.h pthread.h signal.h poll.h; do
  breaks "$header in region" lib/region/x.cc "#include <$header>"
done
breaks "system call header in a public header" include/vmm/x.h '#include <sys/mman.h>'
breaks "a system call header in check.cc other than unistd.h" lib/base/check.cc '#include <fcntl.h>'
breaks "hwloc in region" lib/region/x.cc '#include <hwloc/glibc-sched.h>'
breaks "printf" lib/host/x.cc 'void f() { printf("x"); }'
breaks "std::printf" lib/host/x.cc 'void f() { std::printf("x"); }'
breaks "fprintf to stderr" lib/os/x.cc 'void f() { fprintf(stderr, "x"); }'
breaks "std::cerr" lib/policy/x.h 'inline void f() { std::cerr << "x"; }'
breaks "write to descriptor 2" lib/os/x.cc 'void f() { write(STDERR_FILENO, "x", 1); }'

if "$checker" "$root/nowhere" > /dev/null 2>&1; then
  echo "FAILED: a missing folder passes"
  failed=1
fi
[[ $failed -eq 0 ]] && echo "check_layers.sh finds every kind of violation"
exit $failed
