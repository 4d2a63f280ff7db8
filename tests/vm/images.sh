#!/bin/bash
# images.sh <build folder> <kernel>
#
# Leaves the memory of two quiet guests in <build folder>/vm/images/<kernel>: one.ram and two.ram, 384 MiB each, raw,
# with holes where a guest has touched nothing. Prints their paths, in this order. Nothing is done where they are there.
# Exit status 77, and the reason: it cannot be done here.
#
# Each guest is a machine in software emulation that boots that kernel of Debian's ("6.12") with a command line of its
# own. It lays addresses out by chance (KASLR), reads the same files into its page cache, in another order, and writes
# data of its own. Then it says that it is quiet, and is stopped. Environment: VMM_VM_SECONDS, at most for each.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/vm/rig.sh
source "$here/rig.sh"

memory_mib=384
files_mib=128  # that both read: libraries of this machine
own_mib=32     # that each writes

# What the machine runs, after its init: sourced by it. The kernel puts "guest=one" of its command line into the
# environment of init.
guest_program() {
  cat << END
hostname "\$guest"
order=; if [ "\$guest" = two ]; then order=-r; fi
find /files -type f | sort \$order | while read -r file; do cat "\$file" > /dev/null; done
# Bytes of its own, of which pages are read and written, as a program's are.
yes "\$guest \$(cat /proc/sys/kernel/random/uuid)" | nl | head -c ${own_mib}m > /dev/shm/own
sort /dev/shm/own | tail -n 1
i=0; while [ \$i -lt 8 ]; do sh -c 'while :; do sleep 3600; done' & i=\$((i + 1)); done
sync
sleep 2
echo 'vm: quiet'
sleep 3600
END
}

# Libraries of this machine, by name, up to $files_mib.
add_files() {
  local size file left=$((files_mib * 1024 * 1024))
  mkdir -p "$root/files"
  while read -r size file; do
    if [[ $size -gt $left ]]; then continue; fi
    cp "$file" "$root/files"
    left=$((left - size))
  done < <(find /usr/lib/x86_64-linux-gnu /usr/lib64 /usr/lib -maxdepth 1 -type f -name '*.so*' -size -16M \
             -printf '%s %p\n' 2> /dev/null | sort -u -k 2)
}

# boot_guest <name>: its memory is in $work/<name>.ram when it is quiet.
boot_guest() {
  local log=$work/$1.log waited=0
  TMPDIR=$work qemu-system-x86_64 -accel tcg,thread=multi -cpu max -nodefaults -display none -no-reboot -smp 2 \
    -machine pc,memory-backend=ram -m "$memory_mib" \
    -object "memory-backend-file,id=ram,size=${memory_mib}M,mem-path=$work/$1.ram,share=on" \
    -drive "file=$work/disk,if=none,id=disk,format=raw,snapshot=on" -device nvme,drive=disk,serial=disk \
    -serial "file:$log.kernel" -serial "file:$log" -kernel "$image" \
    -append "console=ttyS0 root=/dev/nvme0n1 rw init=/init panic=-1 oops=panic guest=$1" 2> "$log.emulator" &
  emulator=$!
  until grep -qsx 'vm: quiet' "$log"; do
    if ! kill -0 "$emulator" 2> /dev/null || [[ $waited -ge $limit ]]; then
      tail -n 20 "$log.emulator" "$log.kernel" "$log" >&2 || true
      fail "guest $1 was not quiet after $waited s"
    fi
    sleep 1
    waited=$((waited + 1))
  done
  kill "$emulator"
  wait "$emulator" || true
  emulator=
}

if [[ $# -ne 2 ]]; then
  sed -n '2,/^set/ s/^# \{0,1\}//p' "$0"
  exit 2
fi
folder=$1/vm/images/$2 limit=${VMM_VM_SECONDS:-600}
mkdir -p "$folder"
exec 8> "$folder/lock"
flock 8
if [[ ! -e $folder/one.ram || ! -e $folder/two.ram ]]; then
  need_tools
  image=$("$here/kernel.sh" "$2" "$1/vm/kernels") || { status=$?; echo "$image"; exit "$status"; }
  work=$(mktemp -d "$folder/work.XXXXXX") emulator=
  trap 'if [[ -n $emulator ]]; then kill "$emulator" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
  trap 'exit 1' INT TERM
  make_root "$work/root"
  add_files
  guest_program > "$root/programs"
  make_disk "$work/disk" 1G
  boot_guest one
  boot_guest two
  mv "$work"/{one,two}.ram "$folder"
fi
realpath "$folder"/{one,two}.ram
