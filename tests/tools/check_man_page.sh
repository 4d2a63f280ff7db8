#!/bin/bash
# check_man_page.sh <page> <vmmctl>: the page names every command and option of the program, and mandoc has nothing to
# say about it.
set -euo pipefail

page=$1 vmmctl=$2 failed=0
text=$(tr -d '\\' < "$page")

commands=$("$vmmctl" --help | sed -n '/^Subcommands:/,/^$/ s/^  \([a-z]*\) .*/\1/p')
[[ -n $commands ]] || { echo "--help lists no commands"; exit 1; }
for command in $commands; do
  grep -qE "^\.(Cm|It Cm|Ss) .*$command|^\.Ss .*$command" "$page" || { echo "the page lacks $command"; failed=1; }
  for option in $("$vmmctl" "$command" --help | sed -n 's/^  \(-[a-z],\)\{0,1\}--\([a-z-]*\).*/\2/p'); do
    [[ $option == help ]] && continue
    grep -qE -- "-$option( |,|$)" <<< "$text" || { echo "the page lacks --$option of $command"; failed=1; }
  done
done
[[ $failed -eq 0 ]] || exit 1

if ! command -v mandoc > /dev/null; then
  echo "skipped: mandoc is not installed, which checks how the page is written"
  exit 77
fi
# Pages that this machine does not have may be referred to.
if mandoc -Tlint -Wwarning "$page" | grep -v 'referenced manual not found'; then exit 1; fi
