#!/bin/bash
# Compares what a shared library offers with the description of it that is checked in: exported functions, and the
# layout of the types in the public headers. New functions are no difference, nor are fields at the end of a struct of
# vmm/c.h, which carries its size. Anything else breaks programs that exist: docs/packaging.md says what then is to be
# done.
#   check_abi.sh [--renew] <library with debug information> <description> <source tree>
# --renew writes the description.
set -euo pipefail

renew=
if [[ ${1:-} == --renew ]]; then renew=1; shift; fi
library=$1 description=$2 source=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

for tool in abidw abidiff; do
  command -v "$tool" > /dev/null || { echo "skipped: $tool is not installed (package abigail-tools)"; exit 77; }
done
if ! readelf -S "$library" | grep -q '\.debug_info'; then
  echo "skipped: $library has no debug information"
  exit 77
fi

public=(--headers-dir "$source/include/vmm" --drop-private-types)
if [[ -n $renew ]]; then
  abidw "${public[@]}" --exported-interfaces-only --no-corpus-path --no-comp-dir-path --no-show-locs \
    --type-id-style hash --out-file "$description" "$library"
  echo "$description: $(grep -c '<elf-symbol ' "$description") symbols, $(wc -c < "$description") bytes"
  exit
fi

status=0
abidiff --headers-dir2 "$source/include/vmm" --drop-private-types --exported-interfaces-only --no-added-syms \
  --no-show-locs --suppressions "$here/allowed.suppr" "$description" "$library" || status=$?
# Bits: 1 error, 2 usage, 4 changed, 8 changed so that programs break.
case $status in
  0) echo "$library offers all that $description says" ;;
  1 | 2 | 3) echo "abidiff failed: $status" ;;
  *)
    echo
    echo "What programs that exist rely on has changed: see above, and docs/packaging.md, \"Versions\"."
    echo "Where that is meant: ./run abi"
    ;;
esac
exit "$status"
