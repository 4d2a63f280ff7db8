#!/bin/bash
# Processes that end while hosts and guests are alive: at exit() and its like, and with them in static storage,
# destroyed in either order. None hangs, crashes or leaves a swap file; a sanitizer that finds something says so.
#   ends_test.sh <program>
set -euo pipefail

program=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/libvmm-ends.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
  echo "FAILED: $way: $1"
  sed 's/^/  /' "$work/out"
  failed=1
}

# ends <way> <line of its output>...: those lines in any order, and no others.
ends() {
  way=$1
  shift
  local status=0
  mkdir "$work/swap"
  timeout -s ABRT 60 "$program" "$way" "$work/swap" > "$work/out" 2>&1 || status=$?
  [[ $status -eq 0 ]] || fail "it ended with $status"
  if ! diff <(printf '%s\n' "$@" | sed '/^$/d' | sort) <(sort "$work/out") > "$work/difference"; then
    fail "its output is not what was expected"
  fi
  rmdir "$work/swap" 2> /dev/null || { fail "left in the swap directory: $(ls -A "$work/swap")"; rm -r "$work/swap"; }
}

inert='the handle is empty, moved from, or its host is gone'
nothing_made="first: inert: stats: $inert (the handle is empty or was moved from)"
ended="$inert (the guest or its host has ended)"
for way in return exit exit_in_thread c_exit; do
  ends "$way" "$nothing_made" "${nothing_made/first/second}"
done
ends _exit ''
ends quick_exit at_quick_exit

# A host in one file and its guest in the other: one of the two ways ends the host first, the other the guest.
orders=()
for way in host_in_first_guest_in_second host_in_second_guest_in_first; do
  other=first guest=second
  if [[ $way == *guest_in_first ]]; then other=second guest=first; fi
  mkdir "$work/probe"
  if grep -q "^$guest: its host is alive" <<< "$("$program" "$way" "$work/probe" 2>&1)"; then
    orders+=(guest)
    ends "$way" "${nothing_made/first/$other}" "$guest: its host is alive, its memory is right"
  else
    orders+=(host)
    ends "$way" "${nothing_made/first/$other}" "$guest: inert: stats of guest \"static\": $ended"
  fi
  rm -r "$work/probe"
done
if [[ ${orders[0]} == "${orders[1]}" ]]; then
  echo "FAILED: the ${orders[0]} ended first both times: the other order was not tested"
  failed=1
fi
# Two of each, crossed: of one pair the host ends first, of the other the guest.
alive=first dead=second
if [[ ${orders[0]} == guest ]]; then alive=second dead=first; fi
ends two_hosts "$alive: its host is alive, its memory is right" "$dead: inert: stats of guest \"same name\": $ended"
exit $failed
