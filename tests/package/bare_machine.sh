#!/bin/bash
# What a new user does: on a Debian 12 with nothing but its base system and a compiler, made by debootstrap in a folder,
# the packages are installed by apt, the 20 lines of examples/hello_guest built by pkg-config and by CMake, with the
# shared and the static library, and run; `vmmctl doctor` is asked; then the packages are removed, and nothing of them
# is left.
#   bare_machine.sh <source tree>
# Needs root, and Debian's mirror. Exit status 77, and the reason: it cannot be done here. Environment:
# VMM_DEBIAN_MIRROR.
set -euo pipefail

source=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mirror=${VMM_DEBIAN_MIRROR:-http://deb.debian.org/debian}
skip() {
  echo "skipped: $1"
  exit 77
}
[[ $EUID -eq 0 ]] || skip "only root can make a Debian system of its own"
# Mounts are made in a namespace of this script's own: they are gone when it ends, however it does.
if [[ -z ${VMM_BARE_MACHINE:-} ]]; then
  unshare --mount true 2> /dev/null || skip "this process may not have mounts of its own (unshare --mount)"
  VMM_BARE_MACHINE=1 exec unshare --mount --propagation private "$0" "$@"
fi
command -v debootstrap > /dev/null || skip "debootstrap is not installed"
# shellcheck source=tests/package/make.sh
source "$here/make.sh"
make_packages "$source"

work=$(mktemp -d /var/tmp/libvmm-bare.XXXXXX)
machine=$work/machine
at_end() {
  for mounted in proc sys dev; do
    if mountpoint -q "$machine/$mounted"; then umount -l "$machine/$mounted"; fi
  done
  rm -rf --one-file-system "$work"
}
trap at_end EXIT
failed=0
fail() {
  echo "FAILED: $1"
  failed=1
}

say() { echo "==> $*"; }
say "debootstrap of bookworm from $mirror"
if ! debootstrap --variant=minbase bookworm "$machine" "$mirror" > "$work/log" 2>&1; then
  tail -n 5 "$work/log"
  if grep -q "Failed getting release file\|Unable to\|Couldn't download" "$work/log"; then
    skip "Debian's mirror cannot be reached"
  fi
  fail "debootstrap"
  exit 1
fi
cp /etc/resolv.conf "$machine/etc/resolv.conf"
mount -t proc proc "$machine/proc"
mount --rbind /sys "$machine/sys"
mount --bind /dev "$machine/dev"

# in_machine <command>: its output is shown when it fails.
in_machine() {
  chroot "$machine" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
    http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" bash -euo pipefail -c "$1" > "$work/log" 2>&1 ||
    { tail -n 40 "$work/log"; return 1; }
}
ours() {
  find "$machine" -xdev \( -path "$machine/root" -o -path "$machine/packages" \) -prune -o -iname '*vmm*' -print | sort
}

in_machine 'apt-get update && apt-get install -y --no-install-recommends g++ cmake make pkg-config' ||
  { fail "apt cannot install a compiler"; exit 1; }
before=$(ours)
mkdir "$machine/packages"
cp "${packages[@]}" "$machine/packages"

say "vmmctl without the headers"
in_machine 'cd /packages && apt-get install -y ./libvmm0_*.deb ./vmmctl_*.deb' || fail "apt install libvmm0 vmmctl"
in_machine 'vmmctl --version' || fail "vmmctl --version"
# 0, 1 and 2: what the machine allows, from all to not enough.
in_machine 'status=0; vmmctl doctor || status=$?; test $status -le 2' || fail "vmmctl doctor"
grep -q '^libvmm on Linux .*: capability level' "$work/log" || fail "vmmctl doctor says $(cat "$work/log")"
level=$(sed -n 's/^libvmm on .*: capability level //p' "$work/log")
say "capability level there: $level"

say "the libraries' headers"
in_machine 'cd /packages && apt-get install -y ./libvmm-dev_*.deb' || fail "apt install libvmm-dev"
mkdir "$machine/root/hello"
cp "$source/examples/hello_guest/main.cc" "$source/tests/install/hello/CMakeLists.txt" "$machine/root/hello"
cp "$source/examples/hello_guest_c/main.c" "$machine/root/hello"
runs() {
  if [[ $level == none ]]; then return; fi  # it is larger than its host's memory
  in_machine "$2" || fail "$1 does not run"
  grep -q 'every word is as written' "$work/log" || fail "$1 says $(cat "$work/log")"
}
for kind in shared static; do
  static=
  # Linked with libvmm.a by name, for libvmm.so is there too.
  if [[ $kind == static ]]; then static='--static'; fi
  in_machine "cd /root/hello
    flags=\$(pkg-config --cflags $static --libs libvmm)
    if [ $kind = static ]; then flags=\${flags/-lvmm/-l:libvmm.a}; fi
    g++ -std=c++20 -Wall -Werror main.cc -o hello_$kind \$flags
    g++ -x c -std=c99 main.c -x none -o hello_c_$kind \$flags
    cmake -S . -B build_$kind -DKIND=$kind && cmake --build build_$kind" ||
    { fail "hello_guest does not build, $kind"; continue; }
  for program in hello_$kind hello_c_$kind build_$kind/hello; do
    runs "$program, $kind" "cd /root/hello && ./$program"
    needs=static
    if readelf -d "$machine/root/hello/$program" | grep -q 'NEEDED.*\[libvmm\.so\.0\]'; then needs=shared; fi
    [[ $needs == "$kind" ]] || fail "$program is linked $needs"
  done
done
in_machine 'man=$(zcat /usr/share/man/man3/libvmm.3.gz | wc -l) && test $man -gt 10' || fail "the manual page"

say "beside packages with names like ours"
in_machine 'cd /root && apt-get download vmm libvmmlib-dev' || fail "apt-get download"
for package in "$machine"/root/*.deb; do
  other=$(dpkg-deb -c "$package" | awk '$1 ~ /^[-l]/ { print $6 }' | sort)
  for file in "${packages[@]}"; do
    both=$(comm -12 <(echo "$other") <(dpkg-deb -c "$file" | awk '$1 ~ /^[-l]/ { print $6 }' | sort))
    [[ -z $both ]] || fail "$(basename "$package") and $(basename "$file") have $both"
  done
done

say "removed"
mapfile -t files < <(in_machine 'dpkg -L libvmm0 libvmm-dev vmmctl' && grep vmm "$work/log")
[[ ${#files[@]} -gt 30 ]] || fail "dpkg -L lists ${#files[@]} files"
in_machine 'apt-get purge -y --auto-remove libvmm0 libvmm-dev vmmctl' || fail "apt purge"
for file in "${files[@]}"; do
  if [[ -e $machine$file || -L $machine$file ]]; then fail "$file is left"; fi
done
[[ $(ours) == "$before" ]] || fail "left: $(diff <(echo "$before") <(ours))"
in_machine '! dpkg -l | grep -i vmm' || fail "dpkg knows it still"
in_machine '! ldconfig -p | grep vmm' || fail "ldconfig knows it still"
in_machine 'dpkg --audit && apt-get check' || fail "the packages' state is not sound"

[[ $failed -ne 0 ]] || echo "$version on a Debian of its own: installed, used, removed"
exit $failed
