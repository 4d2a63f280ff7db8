#!/bin/bash
# check_example.sh <expression> <program> [arguments]...: the program succeeds, and a line that it prints matches. What
# it prints is shown.
set -euo pipefail

expression=$1
shift
output=$("$@") || { status=$?; echo "$output"; echo "exit status $status"; exit $status; }
echo "$output"
grep -qE -- "$expression" <<< "$output" || { echo "no line matches $expression"; exit 1; }
