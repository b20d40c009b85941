#!/usr/bin/env bash
# Installs from Debian's archive what a guest of the lab needs and this machine lacks.
set -euo pipefail

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
