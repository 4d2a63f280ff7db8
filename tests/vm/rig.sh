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

# boot <QEMU argument>...: the machine of $work/disk and $image, until it turns itself off; 124 when that takes more
# than $limit s. Its logs are in $logs; $emulator is its process meanwhile.
boot() {
  local status=0
  # shellcheck disable=SC2154  # whoever boots sets them
  timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -nodefaults -display none -no-reboot "$@" \
    -drive "file=$work/disk,if=none,id=disk,format=raw,cache=unsafe" -device nvme,drive=disk,serial=disk \
    -serial "file:$logs/kernel.log" -serial "file:$logs/console.log" -kernel "$image" \
    -append 'console=ttyS0 root=/dev/nvme0n1 rw init=/init panic=-1 oops=panic' &
  emulator=$!
  if [[ -t 1 ]]; then tail -F --pid "$emulator" "$logs/console.log" 2> /dev/null & fi
  wait "$emulator" || status=$?
  emulator=
  touch "$logs"/{console,kernel}.log
  return "$status"
}

# boot_until_up <QEMU argument>...: again where the kernel has died before its first process, when nothing of ours has
# run. While several emulated processors start, one may meet an instruction that another is just replacing (Oops: int3).
boot_until_up() {
  local tries status
  for ((tries = 1; ; tries++)); do
    status=0
    boot "$@" || status=$?
    if [[ $tries -eq 3 || $status -ne 0 ]] || grep -q '^vm: Linux ' "$logs/console.log"; then return "$status"; fi
    mv "$logs/kernel.log" "$logs/kernel.$tries.log"
    echo "the kernel has not come up, once more: $(
      grep -m 1 -oE '(Oops|BUG|Kernel panic).*' "$logs/kernel.$tries.log" || echo 'it said nothing')"
  done
}

# has_ended <status of boot>: it did all that it was to do, or fails.
has_ended() {
  if grep -qx 'vm: end' "$logs/console.log"; then return; fi
  echo "--- the kernel's last messages"
  tail -n 20 "$logs/kernel.log"
  if [[ $1 -eq 124 ]]; then fail "the machine was not done after $limit s"; fi
  fail "the machine ended too early, QEMU with status $1"
}
