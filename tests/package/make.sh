#!/bin/bash
# Sourced: make_packages <source tree> makes the Debian packages of preset `package`, as ./run package does, and sets
# `packages` (their files), `version` and `triplet`. What is built already is not built again.

make_packages() {
  local log tool
  for tool in dpkg-deb dpkg-shlibdeps lintian; do
    command -v "$tool" > /dev/null || { echo "skipped: $tool is not installed"; exit 77; }
  done
  log=$(mktemp)
  if ! (cd "$1" && cmake --preset package && cmake --build --preset package -j "$(nproc)" &&
        rm -f build/packages/*.deb && cpack --preset package) > "$log" 2>&1; then
    tail -n 60 "$log"
    rm "$log"
    echo "FAILED: the packages cannot be made"
    exit 1
  fi
  rm "$log"
  # shellcheck disable=SC2034  # for who sources this
  packages=("$1"/build/packages/*.deb)
  version=$(dpkg-deb -f "${packages[0]}" Version)
  triplet=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
}
