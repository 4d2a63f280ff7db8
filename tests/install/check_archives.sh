#!/bin/bash
# Checks that static libraries define no names that a program, or each other, may have: strong symbols are of the
# namespace vmm, of vmm/c.h, or begin with vmm_je_; no two members define the same one. Weak ones are templates and
# inline functions, of which the linker takes one.
#   check_archives.sh <archive>...
set -euo pipefail

failed=0
strong_of() {
  nm --defined-only --extern-only --format=posix "$1" 2> /dev/null |
    awk 'NF >= 2 && $2 ~ /^[TDBRCA]$/ { print $1 }'
}
for archive; do
  strong=$(strong_of "$archive")
  foreign=$(grep -vE '^(vmm_[a-z_]+|_Z(T[VIS]|Thn[0-9]+_)?NK?3vmm[A-Za-z0-9_]*)$' <<< "$strong" || true)
  if [[ -n $foreign ]]; then
    echo "$archive defines for everybody:"
    c++filt <<< "$foreign"
    failed=1
  fi
  echo "$archive: $(wc -l <<< "$strong") names"
done
twice=$(for archive; do
  strong_of "$archive"
done | sort | uniq -d)
if [[ -n $twice ]]; then
  echo "defined more than once:"
  c++filt <<< "$twice"
  failed=1
fi
exit $failed
