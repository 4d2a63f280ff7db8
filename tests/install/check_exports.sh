#!/bin/bash
# Checks that a shared library exports names of the public namespace vmm and nothing else, under the given SONAME and in
# the given nodes of its symbol map, and among them the one given; and every function of the header of C, if one is
# given.
#   check_exports.sh <library> <soname> <mangled name> <node of C++> [<node of C> <header of C>]
set -euo pipefail

library=$1 soname=$2 expected=$3 node=$4 c_node=${5:-none}
symbols=$(nm -D --defined-only --format=posix "$library" | awk '$2 != "A" { print $1 }')
unversioned=$(grep -v '@' <<< "$symbols" || true)
elsewhere=$(grep -vE "^vmm_[a-z_]*@@$c_node\$|^_Z.*@@${node//./\\.}\$" <<< "$symbols" || true)
if [[ -n $unversioned$elsewhere ]]; then
  echo "$library: names of C belong to the node $c_node, those of C++ to $node, but there are:"
  printf '%s\n' "$elsewhere"
  exit 1
fi
# Code and constants; a variable that programs could write, or that is one in all of a process (u), is none of ours.
writable=$(nm -D --defined-only --format=posix "$library" | awk '$2 !~ /^[TWVRA]$/' || true)
writable=$(grep -vE '^_ZT[VI]N3vmm' <<< "$writable" || true)  # their relocations make these data
if [[ -n $writable ]]; then
  echo "$library exports what is neither code nor constant:"
  echo "$writable"
  exit 1
fi
names=$(sed 's/@.*//' <<< "$symbols")
if [[ $# -gt 5 ]]; then
  declared=$(sed -n 's/^VMM_API .*[ *]\(vmm_[a-z_]*\)(.*/\1/p' "$6" | sort)
  exported=$(grep '^vmm_' <<< "$names" | sort)
  if [[ -z $declared ]] || ! diff <(echo "$declared") <(echo "$exported"); then
    echo "$library does not export exactly the functions of $6: those above are in the header (<) or exported (>) alone"
    exit 1
  fi
  names=$(grep -v '^vmm_' <<< "$names")
  echo "$(wc -l <<< "$declared") functions of C"
fi
bad=$(grep -vE '^_Z(NK?3vmm|T[ISV]N3vmm)' <<< "$names" || true)
# vmm::Host yes, vmm::os::File no.
bad+=$(grep -E '^_Z(T[ISV])?NK?3vmm(4base|6policy|2os|8topology|6region|7sharing|7reclaim|7migrate|4host|4heap|8internal)[0-9]' \
  <<< "$names" || true)
if [[ -n $bad ]]; then
  echo "$library exports names that are not of the public namespace vmm:"
  c++filt <<< "$bad"
  exit 1
fi
if ! grep -qx "$expected" <<< "$names"; then
  echo "$library does not export $(c++filt "$expected")"
  exit 1
fi
if ! readelf -d "$library" | grep -qF "Library soname: [$soname]"; then
  echo "$library: the SONAME is not $soname:"
  readelf -d "$library" | grep SONAME || echo "it has none"
  exit 1
fi
# libnuma, liburing and hwloc are for the library; a jemalloc here would replace the program's malloc.
if readelf -d "$library" | grep NEEDED | grep -q jemalloc; then
  echo "$library needs jemalloc"
  exit 1
fi
echo "$(wc -l <<< "$names") names, all public"
