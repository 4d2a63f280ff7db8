#!/bin/bash
# Checks what the files of a source tree include, and that the library is silent.
#   check_layers.sh <root>      root holds lib/ and include/
# Prints one line "file:line: reason" per violation; exit status 1 if there is one, 2 on wrong use.
#
# The rules:
#   1. lib/<layer> includes only itself and the layers before it in the list below; include/ includes nothing of lib/.
#   2. Headers of system calls only in lib/os; hwloc's only in lib/topology and lib/os.
#   3. No output to stdout or stderr, except by lib/base/check.cc just before it aborts.
#   4. Every folder of lib/ is a known layer.
set -euo pipefail

layers="base policy os topology region sharing reclaim migrate host heap"

if [[ $# -ne 1 || ! -d $1/lib ]]; then
  echo "usage: check_layers.sh <root>, a folder that holds lib/ and include/" >&2
  exit 2
fi
cd "$1"

folders=(lib)
[[ -d include ]] && folders+=(include)

# shellcheck disable=SC2016  # the awk program is meant literally
find "${folders[@]}" -type f \( -name '*.h' -o -name '*.cc' \) -print0 | LC_ALL=C sort -z |
  xargs -0 awk -v layers="$layers" '
  BEGIN {
    count = split(layers, names, " ")
    for (i = 1; i <= count; ++i) height[names[i]] = i
    # POSIX and Linux headers whose functions enter the kernel. sys/types.h and errno.h only name things.
    n = split("aio.h dirent.h err.h error.h fcntl.h ftw.h glob.h grp.h libaio.h liburing.h mqueue.h net/if.h netdb.h numa.h " \
              "numacompat1.h numaif.h poll.h pthread.h pty.h pwd.h sched.h semaphore.h signal.h spawn.h syslog.h " \
              "termios.h thread.h ucontext.h unistd.h utime.h csignal", list, " ")
    for (i = 1; i <= n; ++i) syscall_header[list[i]] = 1
  }
  function complain(reason) { printf "%s:%d: %s\n", FILENAME, FNR, reason; bad = 1 }
  FNR == 1 {
    split(FILENAME, part, "/")
    in_lib = part[1] == "lib"
    layer = in_lib && part[3] != "" ? part[2] : ""
    if (in_lib && !(layer in height)) complain("not in the folder of a known layer (" layers ")")
    in_comment = 0
  }
  {
    line = $0
    # Comments may name what code may not use.
    if (in_comment) {
      if (!sub(/^.*\*\//, "", line)) next
      in_comment = 0
    }
    gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, " ", line)
    sub(/\/\/.*$/, "", line)
    if (sub(/\/\*.*$/, "", line)) in_comment = 1
  }
  line ~ /^[ \t]*#[ \t]*(include|include_next|import)[ \t]*[<"]/ {
    header = line
    sub(/^[^<"]*[<"]/, "", header)
    sub(/[>"].*$/, "", header)
    top = header
    sub(/\/.*$/, "", top)
    if (header ~ /(^|\/)\.\.?\//) complain("includes " header " by a relative path; paths begin at include/ or lib/")
    if (top != header && top in height) {
      if (!in_lib) complain("a public header includes " header " of lib/")
      else if (layer in height && height[top] > height[layer])
        complain("layer " layer " includes " header " of the higher layer " top)
    }
    if (layer != "os") {
      if (header in syscall_header || (header ~ /^(sys|linux|asm|arpa|netinet)\// && header != "sys/types.h")) {
        # check.cc ends the process and must not depend on a higher layer for its last words.
        if (!(FILENAME == "lib/base/check.cc" && header == "unistd.h"))
          complain("includes <" header "> outside lib/os; put the system call there")
      }
      if (top ~ /^hwloc/ && layer != "topology") complain("includes <" header "> outside lib/topology")
    }
    next
  }
  in_lib && FILENAME != "lib/base/check.cc" {
    # Words in string literals are not calls.
    gsub(/\\./, "", line)
    gsub(/"[^"]*"/, "\"\"", line)
    if (line ~ /(^|[^A-Za-z0-9_])(printf|vprintf|fprintf|vfprintf|dprintf|vdprintf|puts|fputs|putchar|putc|fputc|fwrite|perror|psignal|syslog)[ \t]*\(/ ||
        line ~ /(^|[^A-Za-z0-9_])(cout|cerr|clog|wcout|wcerr|wclog|stdout|stderr|STDOUT_FILENO|STDERR_FILENO)([^A-Za-z0-9_]|$)/)
      complain("writes to stdout or stderr; report by Result or event instead")
  }
  END { exit bad }
' || exit 1
