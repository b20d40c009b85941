#!/usr/bin/env bash
# Installs from Debian's archive what this machine lacks: install-packages.sh WHAT PROGRAM:PACKAGE… The program tells
# whether the package is there; where none does, "dpkg" in its place asks dpkg. WHAT names in messages who needs it.
set -euo pipefail
what=$1
shift
export PATH="/usr/sbin:/sbin:$PATH"

missing=()
for entry in "$@"; do
  program=${entry%%:*} package=${entry#*:}
  if [ "$program" = dpkg ]; then
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  else
    [ -x "$(command -v "$program")" ] || missing+=("$package")
  fi
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "$what need these programs, known here by their Debian packages: ${missing[*]}. Install them and try again." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "$what need packages that are not installed: ${missing[*]}." >&2
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
