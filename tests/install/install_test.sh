#!/bin/bash
# Installs a build tree into a fresh prefix and builds a consumer outside of the source tree against it: by
# find_package (default, shared, static), and by pkg-config (shared, static). Runs each.
#   install_test.sh <cmake> <build tree> <source tree> <C++ compiler> <CMake generator>
set -euo pipefail

cmake=$1 build=$2 source=$3 compiler=$4 generator=$5
work=$(mktemp -d "${TMPDIR:-/tmp}/libvmm-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

# The tree is installed and then moved: nothing in it may remember where it was put.
"$cmake" --install "$build" --prefix "$work/first" > "$work/log" || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/prefix"
prefix=$work/prefix
cp -r "$source/tests/install/consumer" "$work/source"

missing() {
  echo "FAILED: $1"
  failed=1
}
for header in "$source"/include/vmm/*.h; do
  [[ -f $prefix/include/vmm/${header##*/} ]] || missing "header ${header##*/} is not installed"
done
libdir=$(dirname "$(find "$prefix" -name libvmm.a)")
[[ -e $libdir/libvmm.so ]] || missing "libvmm.so is not installed"
[[ -f $libdir/pkgconfig/libvmm.pc ]] || missing "libvmm.pc is not installed"
if grep -rlF -e "$build" -e "$source" -e "$work/first" "$prefix/include" "$libdir/cmake" "$libdir/pkgconfig"; then
  missing "the files above name the build tree, the source tree or the first prefix"
fi

# check <name> <so|a> <program>: it runs, and it needs libvmm.so only when linked so.
check() {
  local name=$1 kind=$2 program=$3 needs=a
  if ! "$program" > "$work/out" 2>&1; then
    cat "$work/out"
    missing "$name: the program failed"
    return
  fi
  if readelf -d "$program" | grep -q 'NEEDED.*libvmm\.so\.0'; then needs=so; fi
  [[ $needs == "$kind" ]] || missing "$name: linked lib*.$needs instead of lib*.$kind"
  echo "$name: $(head -n 1 "$work/out")"
}

by_cmake() {
  local name=$1 kind=$2 tree="$work/$1"
  shift 2
  if ! { "$cmake" -G "$generator" -S "$work/source" -B "$tree" -DCMAKE_CXX_COMPILER="$compiler" \
                  -DCMAKE_PREFIX_PATH="$prefix" "$@" && "$cmake" --build "$tree"; } > "$work/log" 2>&1; then
    cat "$work/log"
    missing "$name: the consumer does not build"
    return
  fi
  check "$name" "$kind" "$tree/consumer"
}
by_cmake find_package_default so
by_cmake find_package_shared so -DKIND=shared
by_cmake find_package_static a -DKIND=static
by_cmake find_package_BUILD_SHARED_LIBS_OFF a -DBUILD_SHARED_LIBS=OFF

export PKG_CONFIG_PATH=$libdir/pkgconfig
by_pkg_config() {
  local name=$1 kind=$2
  shift 2
  if ! "$compiler" -std=c++20 "$work/source/main.cc" -o "$work/$name" "$@" 2> "$work/log"; then
    cat "$work/log"
    missing "$name: the consumer does not build"
    return
  fi
  check "$name" "$kind" "$work/$name"
}
# shellcheck disable=SC2046  # the words are meant to be split
by_pkg_config pkg_config_shared so $(pkg-config --cflags --libs libvmm) -Wl,-rpath,"$libdir"
# As a distribution without libvmm.so would have it: then -lvmm is the archive.
rm "$libdir"/libvmm.so*
# shellcheck disable=SC2046
by_pkg_config pkg_config_static a $(pkg-config --cflags --static --libs libvmm)

exit $failed
