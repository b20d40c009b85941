#!/usr/bin/env bash
# The tests with real programs. Installs from Debian's archive what they need, builds, runs the vitest project "system".
# Arguments are passed on to vitest: "npm run test:system -- test/system/crash.test.ts".
set -euo pipefail
cd "$(dirname "$0")/../.."

# A program that tells whether a package is there, and the package.
needed=(
  cinder:python3-cinderclient
  openstack:python3-openstackclient
  qemu-io:qemu-utils
  iscsi-inq:libiscsi-bin
  tgtd:tgt
  mkfs.xfs:xfsprogs
  strace:strace
)
export PATH="/usr/sbin:/sbin:$PATH"
missing=()
for entry in "${needed[@]}"; do
  [ -x "$(command -v "${entry%%:*}")" ] || missing+=("${entry#*:}")
done
# qemu finds its iSCSI module by itself; only dpkg knows where.
dpkg-query --show --showformat='${db:Status-Status}' qemu-block-extra 2>/dev/null | grep -qx installed || missing+=(qemu-block-extra)

if [ "${#missing[@]}" -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "The system tests need these programs, known here by their Debian packages: ${missing[*]}. Install them and try again." >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "The system tests need packages that are not installed: ${missing[*]}." >&2
    echo "Run this as root once, or: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A service that Debian would start at once is not wanted: the tests start their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Under npm the first node on the path is the root's; elsewhere it may be the machine's, which may be older.
export PATH="$PWD/node_modules/.bin:$PATH"
npm run --silent build:js

node node_modules/vitest/vitest.mjs run --project system "$@"
