#!/bin/bash
# kvm.sh <build folder> <kernel> [<rounds>]
#
# Runs the build folder's examples/kvm_guest where there is a /dev/kvm for sure: on a machine that QEMU emulates together
# with AMD's virtualisation, under that kernel of Debian's ("6.12"). Ends as the example did. Exit status 77, and the
# reason: it cannot be done here. Logs, in <build folder>/vm/kvm.<kernel>: console.log of the example, kernel.log of the
# kernel. Environment: VMM_VM_SECONDS, after which the machine is stopped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/vm/rig.sh
source "$here/rig.sh"

if [[ $# -lt 2 ]]; then
  sed -n '2,/^set/ s/^# \{0,1\}//p' "$0"
  exit 2
fi
build=$(realpath "$1") version=$2 rounds=${3:-500} limit=${VMM_VM_SECONDS:-600}
need_tools
command -v xz > /dev/null || skip "xz is not installed"
logs=$build/vm/kvm.$version
mkdir -p "$logs"
rm -f "$logs"/*.log
image=$("$here/kernel.sh" "$version" "$build/vm/kernels") || { status=$?; echo "$image"; exit "$status"; }
modules=$(dirname "$(dirname "$image")")/lib/modules/$(basename "$image" | sed 's/^vmlinuz-//')/kernel

work=$(mktemp -d "$logs/work.XXXXXX") emulator=
trap 'if [[ -n $emulator ]]; then kill "$emulator" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
make_root "$work/root"
add_program "$build/examples/kvm_guest"
for module in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
  file=$(find "$modules" -path "*/$module.ko*")
  [[ -n $file ]] || skip "the kernel's package has no module $module"
  if [[ $file == *.xz ]]; then xz -dc "$file"; else cat "$file"; fi > "$root/$(basename "$module").ko"
  printf 'insmod /%q.ko\n' "$(basename "$module")" >> "$root/programs"
done
printf 'run %s\n' "${build@Q}/examples/kvm_guest $rounds" >> "$root/programs"
make_disk "$work/disk" 512M

status=0
boot_until_up -smp 2 -m 1024 || status=$?
if [[ ! -t 1 ]]; then cat "$logs/console.log"; fi  # else it has been followed
echo "logs: $logs/console.log and kernel.log"
has_ended "$status"
grep -qx 'vm: exit status 0' "$logs/console.log" || fail "kvm_guest in the machine"
