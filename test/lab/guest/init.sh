#!/bin/bash
# First process of the guest. The kernel starts it on the host's root, read-only, with lab_job in its environment: the
# folder into which guest.ts wrote what to run. It lays a root of its own over the host's and goes on with session.sh.
# The consoles: tty1 is standard output, tty2 standard error, tty3 carries messages to guest.ts.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
for console in /dev/tty1 /dev/tty2 /dev/tty3; do stty -F "$console" raw -echo; done
exec </dev/null >/dev/tty1 2>/dev/tty2 3>/dev/tty3
step='to start'
trap 'echo "failed $step" >&3; busybox poweroff -f -n' EXIT
set -euo pipefail

step='to mount an overlay over the root'
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o size=100%,mode=755 tmpfs /run
insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
root=/run/root
over() {
  mkdir -p "/run/upper$1" "/run/work$1" "$2"
  mount -t overlay -o "lowerdir=$1,upperdir=/run/upper$1,workdir=/run/work$1" overlay "$2"
}
mkdir -p /run/upper /run/work
over /. "$root"
mount -t tmpfs -o size=100%,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
cp -r "$lab_job" "$root/run/job"
cp "${BASH_SOURCE[0]%/*}"/{session.sh,lvm.conf} "$root/run/job/"

mapfile -d '' -t settings <"$lab_job/settings"
directory=${settings[0]}
# The folder for temporary files would hide a checkout that lies in it.
case $directory in /tmp/*) over "$directory" "$root$directory" ;; esac

mapfile -d '' -t shares <"$lab_job/shares"
for share in "${shares[@]}"; do
  step="to share $share"
  mkdir -p "$root$share"
  mount -t hostfs -o "$share" none "$root$share"
done

step='to change the root'
for mounted in /dev /proc /sys; do mount --move "$mounted" "$root$mounted"; done
cd "$root"
mount --move . /
trap - EXIT
exec chroot . /bin/bash /run/job/session.sh
