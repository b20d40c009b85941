#!/bin/bash
# Second half of the guest's first process, in the guest's own root: makes what a running system has, runs the command,
# says how it ended, and powers off.
step='to read the job'
trap 'echo "failed $step" >&3; busybox poweroff -f -n' EXIT
set -euo pipefail
cd /run/job
mapfile -d '' -t command <command
mapfile -d '' -t environment <environment
mapfile -d '' -t modules <modules
mapfile -d '' -t shares <shares
mapfile -d '' -t settings <settings
directory=${settings[0]} udev=${settings[1]}
cp lvm.conf /etc/lvm/lvm.conf
rm -rf /run/job

step='to mount the system folders'
mkdir -p /dev/pts /dev/shm /run/lock /run/lvm /etc/target
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o size=100%,mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -sf "/proc/self/fd/${number%:*}" "/dev/${number#*:}"; done
hostname lab
echo '127.0.0.1 localhost lab' >/etc/hosts
echo '::1 localhost' >>/etc/hosts

step='to load modules'
mkdir -p /lib/modules
ln -sfn "/usr/lib/uml/modules/$(uname -r)" "/lib/modules/$(uname -r)"
modprobe --all "${modules[@]}"
mount -t configfs configfs /sys/kernel/config
ip link set lo up

if [ "$udev" = yes ]; then
  step='to start udev'
  /lib/systemd/systemd-udevd --daemon
  udevadm trigger --type=subsystems
  udevadm trigger --type=devices
  udevadm settle --timeout=60
else
  # Nobody answers libdevmapper's questions to udev, so LVM makes its nodes and links itself.
  export DM_DISABLE_UDEV=1
  cat >>/etc/lvm/lvm.conf <<'CONF'
devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" }
activation { udev_sync = 0 udev_rules = 0 }
CONF
fi

step="to enter $directory"
cd "$directory"
ulimit -n 65536
trap - EXIT
set +e
# A program asks what its output is: through pipes it is what it is in any run of tests, and no terminal.
exec 4> >(exec cat >/dev/tty1 3>&-)
out=$!
exec 5> >(exec cat >/dev/tty2 3>&-)
err=$!
echo running >&3
env -i DM_DISABLE_UDEV="${DM_DISABLE_UDEV:-}" "${environment[@]}" "${command[@]}" >&4 2>&5 3>&- 4>&- 5>&- &
wait $!
status=$?
# What was left behind would hold the pipes open.
for process in /proc/[0-9]*; do
  case ${process#/proc/} in 1 | "$out" | "$err") ;; *) kill -KILL "${process#/proc/}" 2>/dev/null ;; esac
done
exec 4>&- 5>&-
wait "$out" "$err"
for share in "${shares[@]}"; do sync -f "$share"; done
echo "exit $status" >&3
busybox poweroff -f -n
