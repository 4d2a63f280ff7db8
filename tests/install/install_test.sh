#!/bin/bash
# Installs a build tree into a fresh prefix and builds a consumer outside of the source tree against it: by
# find_package (default, shared, static), and by pkg-config (shared, static), and one of libvmm::heap, one in C and the
# 20 lines of examples/hello_guest likewise. Runs each. Then uninstalls it all.
#   install_test.sh <cmake> <build tree> <source tree> <C++ compiler> <CMake generator> <C compiler>
set -euo pipefail

cmake=$1 build=$2 source=$3 compiler=$4 generator=$5 c_compiler=$6
work=$(mktemp -d "${TMPDIR:-/tmp}/libvmm-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

# The tree is installed and then moved: nothing in it may remember where it was put.
"$cmake" --install "$build" --prefix "$work/first" > "$work/log" || { cat "$work/log"; exit 1; }
cp -a "$work/first" "$work/prefix"
prefix=$work/prefix
cp -r "$source/tests/install/consumer" "$source/tests/install/hello" "$work"
mv "$work/consumer" "$work/source"
cp "$source/examples/hello_guest/main.cc" "$work/hello"

missing() {
  echo "FAILED: $1"
  failed=1
}
for header in "$source"/include/vmm/*.h; do
  [[ -f $prefix/include/vmm/${header##*/} ]] || missing "header ${header##*/} is not installed"
done
libdir=$(dirname "$(find "$prefix" -name libvmm.a)")
[[ -e $libdir/libvmm.so ]] || missing "libvmm.so is not installed"
[[ -e $libdir/libvmm_heap.so ]] || missing "libvmm_heap.so is not installed"
[[ -f $libdir/libvmm_heap.a ]] || missing "libvmm_heap.a is not installed"
[[ -f $libdir/pkgconfig/libvmm.pc ]] || missing "libvmm.pc is not installed"
[[ -f $libdir/pkgconfig/libvmm-heap.pc ]] || missing "libvmm-heap.pc is not installed"
for section in 3 7; do
  [[ -f $prefix/share/man/man$section/libvmm.$section ]] || missing "libvmm.$section is not installed"
done
# vmmctl is built with the tests; it finds libvmm.so wherever both are.
if [[ -e $build/tools/vmmctl ]]; then
  [[ -f $prefix/share/man/man1/vmmctl.1 ]] || missing "vmmctl.1 is not installed"
  "$prefix/bin/vmmctl" --version > "$work/out" 2>&1 || { cat "$work/out"; missing "vmmctl does not run"; }
fi
if grep -rlF -e "$build" -e "$source" -e "$work/first" "$prefix/include" "$libdir/cmake" "$libdir/pkgconfig"; then
  missing "the files above name the build tree, the source tree or the first prefix"
fi

# What is not ours, in a folder of ours and beside it, stays when this is uninstalled.
libdir_first=$work/first/${libdir#"$prefix/"}
touch "$work/first/include/vmm/own.h" "$libdir_first/libother.so"
"$cmake" --build "$build" --target uninstall > "$work/log" 2>&1 || { cat "$work/log"; missing "uninstall fails"; }
left=$(cd "$work/first" && find . ! -type d | sort)
[[ $left == "$(printf '%s\n' ./include/vmm/own.h "./${libdir#"$prefix/"}/libother.so" | sort)" ]] ||
  missing "after uninstall there are: $left"
[[ ! -e $libdir_first/cmake/libvmm ]] || missing "uninstall leaves an empty folder"
if "$cmake" --build "$build" --target uninstall > "$work/log" 2>&1; then missing "uninstall of nothing succeeds"; fi
grep -q 'nothing has been' "$work/log" || missing "uninstall of nothing says $(cat "$work/log")"

# check <name> <so|a> <program>: it runs, and it needs libvmm.so only when linked so.
check() {
  local name=$1 kind=$2 program=$3 needs=a
  # Settings meant for the program's jemalloc, some of them wrong: the heap's takes none and says nothing.
  if ! MALLOC_CONF="junk:true,nonsense:1,narenas:0" "$program" > "$work/out" 2>&1; then
    cat "$work/out"
    missing "$name: the program failed"
    return
  fi
  if readelf -d "$program" | grep -q 'NEEDED.*libvmm\.so\.0'; then needs=so; fi
  [[ $needs == "$kind" ]] || missing "$name: linked lib*.$needs instead of lib*.$kind"
  if grep -q jemalloc "$work/out"; then missing "$name: $(grep jemalloc "$work/out")"; fi
  echo "$name: $(head -n 1 "$work/out")"
}

by_cmake() {
  local name=$1 kind=$2 tree="$work/$1"
  shift 2
  if ! { "$cmake" -G "$generator" -S "$work/source" -B "$tree" -DCMAKE_CXX_COMPILER="$compiler" \
                  -DCMAKE_C_COMPILER="$c_compiler" -DCMAKE_PREFIX_PATH="$prefix" "$@" &&
         "$cmake" --build "$tree"; } > "$work/log" 2>&1; then
    cat "$work/log"
    missing "$name: the consumer does not build"
    return
  fi
  check "$name" "$kind" "$tree/consumer"
  check "$name, heap" "$kind" "$tree/heap_consumer"
  check "$name, C" "$kind" "$tree/c_consumer"
  if ! { "$cmake" -G "$generator" -S "$work/hello" -B "$tree.hello" -DCMAKE_CXX_COMPILER="$compiler" \
                  -DCMAKE_PREFIX_PATH="$prefix" "$@" &&
         "$cmake" --build "$tree.hello"; } > "$work/log" 2>&1; then
    cat "$work/log"
    missing "$name: hello_guest does not build"
    return
  fi
  check "$name, hello_guest" "$kind" "$tree.hello/hello"
}
by_cmake find_package_default so
by_cmake find_package_shared so -DKIND=shared
by_cmake find_package_static a -DKIND=static
by_cmake find_package_BUILD_SHARED_LIBS_OFF a -DBUILD_SHARED_LIBS=OFF

export PKG_CONFIG_PATH=$libdir/pkgconfig
by_pkg_config() {
  local name=$1 kind=$2 source=$3 language=("$compiler" -std=c++20)
  shift 3
  if [[ $source == *.c ]]; then language=("$c_compiler" -std=c99 -pedantic -Wall -Wextra -Werror); fi
  if ! "${language[@]}" "$work/source/$source" -o "$work/$name" "$@" 2> "$work/log"; then
    cat "$work/log"
    missing "$name: the consumer does not build"
    return
  fi
  check "$name" "$kind" "$work/$name"
}
# shellcheck disable=SC2046  # the words are meant to be split
by_pkg_config pkg_config_shared so main.cc $(pkg-config --cflags --libs libvmm) -Wl,-rpath,"$libdir"
# shellcheck disable=SC2046
by_pkg_config pkg_config_hello_shared so ../hello/main.cc $(pkg-config --cflags --libs libvmm) -Wl,-rpath,"$libdir"
# shellcheck disable=SC2046
by_pkg_config pkg_config_c_shared so c.c $(pkg-config --cflags --libs libvmm) -Wl,-rpath,"$libdir"
# shellcheck disable=SC2046
by_pkg_config pkg_config_heap_shared so heap.cc $(pkg-config --cflags --libs libvmm-heap) -Wl,-rpath,"$libdir"
# As a distribution without libvmm.so would have it: then -lvmm is the archive.
rm "$libdir"/libvmm.so* "$libdir"/libvmm_heap.so*
# shellcheck disable=SC2046
by_pkg_config pkg_config_static a main.cc $(pkg-config --cflags --static --libs libvmm)
# shellcheck disable=SC2046
by_pkg_config pkg_config_hello_static a ../hello/main.cc $(pkg-config --cflags --static --libs libvmm)
# shellcheck disable=SC2046
by_pkg_config pkg_config_c_static a c.c $(pkg-config --cflags --static --libs libvmm)
# shellcheck disable=SC2046
by_pkg_config pkg_config_heap_static a heap.cc $(pkg-config --cflags --static --libs libvmm-heap)

exit $failed
