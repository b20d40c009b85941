#!/usr/bin/env bash
# Installs from Debian's archive what a guest of the lab needs and this machine lacks.
set -euo pipefail
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
bash "$(dirname "$0")/../install-packages.sh" 'The guests of the lab' "${needed[@]}"
