#!/bin/bash
# make.sh <source> [output]: the API reference of include/vmm, into <output>/html (<source>/build/docs/html without it).
# Exit status 1, and the warnings on standard error, if doxygen has anything to say.
set -euo pipefail

cd "$1"
output=${2:-build/docs}
mkdir -p "$output"
{
  cat docs/doxygen/Doxyfile
  echo "OUTPUT_DIRECTORY = \"$output\""
  echo "PROJECT_NUMBER = $(sed -n 's/^project(libvmm VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)"
} | doxygen -
