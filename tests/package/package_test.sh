#!/bin/bash
# Makes the Debian packages and looks at them: names and dependencies, every file, what lintian says, hardening; then
# installs them with dpkg into a root of their own, builds and runs a program against that, and removes them.
#   package_test.sh <source tree>
set -euo pipefail

source=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/package/make.sh
source "$here/make.sh"
make_packages "$source"
work=$(mktemp -d "${TMPDIR:-/tmp}/libvmm-package.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
  echo "FAILED: $1"
  failed=1
}

names=(libvmm-dev libvmm0 vmmctl)
found=$(for package in "${packages[@]}"; do basename "$package"; done | sort)
expected=$(for name in "${names[@]}"; do echo "${name}_${version}_$(dpkg --print-architecture).deb"; done | sort)
[[ $found == "$expected" ]] || { fail "the packages are $found"; exit 1; }

# depends <package> <dependency as an extended regular expression>...: these and no others but the compiler's libraries.
depends() {
  local name=$1 all one
  shift
  all=$(dpkg-deb -f "$source/build/packages/${name}_"*.deb Depends | tr ',' '\n' | sed 's/^ *//')
  for one in "$@" '(libc6|libgcc-s1|libstdc\+\+6) \(>= .*\)'; do
    grep -qE "^($one)$" <<< "$all" || [[ $one == *libgcc* ]] || fail "$name does not depend on $one, but on: $all"
    all=$(grep -vE "^($one)$" <<< "$all" || true)
  done
  [[ -z $all ]] || fail "$name depends on $all besides"
}
same="libvmm0 \\(= ${version//./\\.}\\)"
depends libvmm0 'libhwloc15 .*' 'libnuma1 .*' 'liburing2 .*' 'libxxhash0 .*'
depends libvmm-dev "$same" libexpected-dev liburing-dev libhwloc-dev libnuma-dev libxxhash-dev
# libvmm_run.so has libvmm in it.
depends vmmctl "$same" 'libncursesw6 .*' 'libtinfo6 .*' 'libhwloc15 .*' 'libnuma1 .*' 'liburing2 .*' 'libxxhash0 .*'

# Every file, and none twice. contents names them with @LIBDIR@ for the libraries' folder and @VERSION@.
for name in "${names[@]}"; do
  dpkg-deb --fsys-tarfile "$source/build/packages/${name}_"*.deb | tar t > "$work/list"
  sed -n 's|^\./\(.*[^/]\)$|\1|p' "$work/list" | sort > "$work/has"
  {
    sed -n "s/^$name: //p" "$here/contents"
    if [[ $name == libvmm-dev ]]; then
      for header in "$source"/include/vmm/*.h; do echo "usr/include/vmm/${header##*/}"; done
    fi
    for file in copyright changelog.gz changelog.Debian.gz; do echo "usr/share/doc/$name/$file"; done
  } | sed -e "s|@LIBDIR@|usr/lib/$triplet|" -e "s|@VERSION@|${version%-*}|" | sort > "$work/wanted"
  diff "$work/wanted" "$work/has" || fail "$name: those above are missing (<) or not in tests/package/contents (>)"
done

# They are not uploaded to Debian, where a first version would name the request that it answers.
lintian --allow-root --fail-on error,warning --tag-display-limit 0 --suppress-tags initial-upload-closes-no-bugs \
  "${packages[@]}" || fail "lintian is not content"

for package in "${packages[@]}"; do dpkg-deb -x "$package" "$work/all"; done
while read -r file; do
  dynamic=$(readelf -dW "$file") headers=$(readelf -lW "$file")
  if grep -qE 'R(UN)?PATH' <<< "$dynamic"; then fail "$file has an RPATH"; fi
  grep -q GNU_RELRO <<< "$headers" || fail "$file is not linked with -z relro"
  grep -q 'FLAGS.* NOW' <<< "$dynamic" || fail "$file is not linked with -z now"
  if ! grep 'GNU_STACK' <<< "$headers" | grep -q 'RW '; then fail "$file has an executable stack"; fi
done < <(find "$work/all" -type f \( -name '*.so.*' -o -path '*/bin/*' \))
readelf -hW "$work/all/usr/bin/vmmctl" | grep -q 'DYN' || fail "vmmctl is not position independent"
if grep -rlF "$source/" "$work/all"; then fail "the files above name the source tree"; fi

# A root of its own; what the packages need is in the machine's.
root=$work/root
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/triggers"
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
rooted() {
  dpkg --root="$root" --force-not-root --force-script-chrootless --force-depends --log="$work/dpkg.log" "$@" \
    > "$work/log" 2>&1 || { cat "$work/log"; return 1; }
}
files_in_root() { (cd "$root" && find . -mindepth 1 -path ./var/lib/dpkg -prune -o -print | sort); }
before=$(files_in_root)
rooted -i "${packages[@]}" || fail "dpkg -i"
libdir=$root/usr/lib/$triplet
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
"$root/usr/bin/vmmctl" --version | grep -qF "${version%-*}" || fail "vmmctl --version"
for linked in shared static; do
  options=()
  if [[ $linked == static ]]; then options=(--static); rm "$libdir"/libvmm.so; fi
  read -ra flags <<< "$(pkg-config --cflags "${options[@]}" --libs libvmm)"
  g++ -std=c++20 "$source/examples/hello_guest/main.cc" -o "$work/hello" "${flags[@]}" ||
    fail "hello_guest does not build with pkg-config ${options[*]}"
  "$work/hello" > "$work/said" 2>&1 || true
  grep -q 'every word is as written' "$work/said" || fail "hello_guest, $linked: $(cat "$work/said")"
done
ln -s libvmm.so.0 "$libdir/libvmm.so"
rooted -r vmmctl libvmm-dev libvmm0 || fail "dpkg -r"
[[ $(files_in_root) == "$before" ]] || fail "dpkg -r leaves $(diff <(echo "$before") <(files_in_root))"
rooted -i "${packages[@]}" && rooted -P vmmctl libvmm-dev libvmm0 || fail "dpkg -P"
[[ $(files_in_root) == "$before" ]] || fail "dpkg -P leaves $(diff <(echo "$before") <(files_in_root))"
if [[ -n $(dpkg --root="$root" -l 2> /dev/null | grep '^[a-z]') ]]; then fail "dpkg still knows packages"; fi

[[ $failed -ne 0 ]] || echo "$version: ${names[*]}"
exit $failed
