#!/bin/bash
# check_man_page.sh <page> <vmmctl>: the page names every command and option of the program and every field that hosts
# take (lib/host/control_fields.cc), and mandoc has nothing to say about it.
set -euo pipefail

page=$1 vmmctl=$2 failed=0
fields=$(dirname "$0")/../../lib/host/control_fields.cc
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

# The names between two lines of a text, sorted, each on a line.
between() { sed -n "/$1/,/$2/ p" | sed "1d;/$2/d" | grep -oE "$3" | tr -d '"{' | sort; }
for of in guest host; do
  [[ $of == guest ]] && begin='^Fields of a guest are$' end='^those of the host are$' table=kGuestFields
  [[ $of == host ]] && begin='^those of the host are$' end='^\.Fl -guest' table=kHostFields
  taken=$(between "$table\[\]" '^};' '\{"[a-z_]+"' < "$fields")
  [[ -n $taken ]] || { echo "$fields has no fields of a $of where they are looked for"; exit 1; }
  named=$(grep -E "^\.Va |$begin|$end" "$page" | sed 's/^\.Va //' | between "$begin" "$end" '[a-z_]+')
  if ! difference=$(diff <(echo "$taken") <(echo "$named")); then
    echo "fields of a $of: < the page lacks, > hosts do not take:"
    echo "$difference"
    failed=1
  fi
done
[[ $failed -eq 0 ]] || exit 1

if ! command -v mandoc > /dev/null; then
  echo "skipped: mandoc is not installed, which checks how the page is written"
  exit 77
fi
# Pages that this machine does not have may be referred to.
if mandoc -Tlint -Wwarning "$page" | grep -v 'referenced manual not found'; then exit 1; fi
