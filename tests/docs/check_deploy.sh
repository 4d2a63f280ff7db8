#!/bin/bash
# check_deploy.sh <source>: what examples/deploy has for systemd and sysctl is understood by them, and the service
# permits every system call that the seccomp profile there does.
set -euo pipefail

deploy=$1/examples/deploy
failed=0
complain() {
  echo "$1"
  failed=1
}

while read -r key _; do
  [[ -e /proc/sys/${key//.//} || $key == kernel.numa_balancing ]] || complain "90-libvmm.conf: there is no sysctl $key"
done < <(grep -E '^[a-z]' "$deploy/90-libvmm.conf")

if ! command -v systemd-analyze > /dev/null; then
  [[ $failed -eq 0 ]] || exit 1
  echo "skipped: systemd-analyze is not installed, which reads the service"
  exit 77
fi
place=$(mktemp -d)
trap 'rm -r "$place"' EXIT
# What it starts, and its manual pages, need not be installed here.
sed -e 's|^ExecStart=.*|ExecStart=/bin/true|' -e '/^Documentation=/d' "$deploy/libvmm-host.service" \
  > "$place/libvmm-host.service"
said=$(systemd-analyze verify --man=no "$place/libvmm-host.service" 2>&1) || complain "the service is refused"
if [[ -n $said ]]; then complain "$said"; fi

# Sets of calls hold other sets.
calls_of() {
  local call
  while read -r call; do
    if [[ $call == @* ]]; then calls_of "$call"; else echo "$call"; fi
  done < <(systemd-analyze syscall-filter "$1" 2> /dev/null | sed -n 's/^    \([@a-z].*\)/\1/p')
}
set_name=$(sed -n 's/^SystemCallFilter=//p' "$deploy/libvmm-host.service")
calls_of "$set_name" | sort -u > "$place/permitted"
[[ $(wc -l < "$place/permitted") -gt 200 ]] || complain "systemd-analyze lists no calls of $set_name"
while read -r call; do
  grep -qx "$call" "$place/permitted" || complain "SystemCallFilter=$set_name does not permit $call"
done < <(sed -n '/"names"/,/\]/p' "$deploy/seccomp.json" | grep -oE '"[a-z_0-9]+"' | tr -d '"' | grep -vx names)
exit $failed
