#!/usr/bin/env bash
# The tests that need device-mapper, the kernel's iSCSI target and its initiator: runs the vitest project "lab" in a guest.
# Installs from Debian's archive what they need, and builds. Arguments are passed on to vitest:
# "npm run test:lab -- test/lab/machine.test.ts". LAB_UDEV=1 runs them with udev, as on a real host; that takes longer.
set -euo pipefail
cd "$(dirname "$0")/../.."

# A program that tells whether a package is there, and the package.
needed=(
  linux.uml:user-mode-linux
  modprobe:kmod
  busybox:busybox-static
  setpriv:util-linux
  ip:iproute2
  mkfs.ext4:e2fsprogs
  udevadm:udev
  dbus-daemon:dbus
  lvs:lvm2
  dmsetup:dmsetup
  dmeventd:dmeventd
  thin_delta:thin-provisioning-tools
  cryptsetup:cryptsetup-bin
  iscsid:open-iscsi
  multipath:multipath-tools
  tgtd:tgt
  targetcli:targetcli-fb
)
export PATH="/usr/sbin:/sbin:$PATH"
missing=()
for entry in "${needed[@]}"; do
  [ -x "$(command -v "${entry%%:*}")" ] || missing+=("${entry#*:}")
done

if [ "${#missing[@]}" -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "The lab needs these programs, known here by their Debian packages: ${missing[*]}. Install them and try again." >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "The lab needs packages that are not installed: ${missing[*]}." >&2
    echo "Run this as root once, or: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # No service is wanted on the host: all of it runs in the guest.
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

# The launcher's own tests run where it does. Whoever names suites wants those alone.
[ "$#" -gt 0 ] || node node_modules/vitest/vitest.mjs run --project launcher

share=()
[ -z "${TEST_REPORTS:-}" ] || share=(--share "$TEST_REPORTS")
node test/lab/main.ts "${share[@]}" -- node node_modules/vitest/vitest.mjs run --project lab "$@"
