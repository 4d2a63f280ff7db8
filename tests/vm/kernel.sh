#!/bin/bash
# kernel.sh <version> <folder>: unpacks the newest of Debian's cloud kernels of that version ("6.12") into the folder,
# unless it is there, and prints the path of its image. Exit status 77, and the reason: there is none to be had.
set -euo pipefail

version=$1 folder=$2

skip() {
  echo "skipped: $*"
  exit 77
}

newest_package() {
  apt-cache search --names-only "^linux-image-${version//./\\.}\\..*-cloud-amd64\$" | cut -d ' ' -f 1 | sort -V | tail -n 1
}

# newest_unpacked: what an earlier run has left, if any.
newest_unpacked() {
  find "$folder/" -mindepth 1 -maxdepth 1 -name "linux-image-$version.*" | sort -V | tail -n 1
}

# fetch_newest: $package, whole or not at all.
fetch_newest() {
  local work=$folder/work
  [[ -n $package ]] || return 1
  rm -rf "$work"
  mkdir -p "$work"
  if (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package" &&
        dpkg -x linux-image-*.deb unpacked) >&2; then
    mv "$work/unpacked" "$folder/$package"
  fi
  rm -rf "$work"
  [[ -d $folder/$package ]]
}

mkdir -p "$folder"
exec 9> "$folder/lock"
flock 9  # several tests want the same kernel

package=
if command -v apt-get > /dev/null && [[ $(uname -m) == x86_64 ]]; then
  package=$(newest_package)
  if [[ -z $package || ! -d $folder/$package ]] && ! fetch_newest && [[ $EUID -eq 0 && -z $(newest_unpacked) ]]; then
    # The lists are missing, or older than the archive.
    apt-get update -qq >&2 || true
    package=$(newest_package)
    fetch_newest || true
  fi
fi
unpacked=$(newest_unpacked)
[[ -n $unpacked ]] || skip "no package linux-image-$version.*-cloud-amd64 is to be had from the package archive"
find "$unpacked/boot" -name 'vmlinuz-*'
