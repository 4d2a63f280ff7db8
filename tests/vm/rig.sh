# shellcheck shell=bash
# What the scripts share that boot an emulated machine: its root folder, which becomes a disk, and how they end.

PATH+=:/usr/sbin:/sbin

skip() {
  echo "skipped: $*"
  exit 77
}
fail() {
  echo "failed: $*"
  exit 1
}

# need_tools: or it cannot be done here.
need_tools() {
  local tool
  for tool in qemu-system-x86_64 busybox mkfs.ext4; do
    command -v "$tool" > /dev/null || skip "$tool is not installed"
  done
}

# add_program <program>: with the libraries that it loads, all where they lie here; without debug information. Where
# BusyBox has linked its own of that name, the link goes: followed, it leads out of the root folder.
add_program() {
  local file
  cp -L --remove-destination --parents "$1" "$root"
  strip -g "$root$1"
  while read -r file; do
    if [[ ! -e $root$file ]]; then cp -L --parents "$file" "$root"; fi
  done < <(ldd "$1" 2> /dev/null | grep -oE '/[^ ]+')
}

# make_root <folder>: $root from now on, of a machine whose first process is init, and which has BusyBox.
make_root() {
  local applet
  root=$1
  mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,var/tmp}
  chmod 1777 "$root"/{tmp,var/tmp}
  cp "$(dirname "${BASH_SOURCE[0]}")/init" "$root/init"
  add_program "$(command -v busybox)"
  for applet in $(busybox --list); do
    if [[ $applet != busybox ]]; then ln -s "$(command -v busybox)" "$root/bin/$applet"; fi
  done
}

# make_disk <file> <size>: of $root.
make_disk() {
  truncate -s "$2" "$1"
  mkfs.ext4 -q -F -d "$root" "$1"
}
