#!/usr/bin/env bash
# The tests with real programs. Installs from Debian's archive what they need, builds, runs the vitest project "system".
# Arguments are passed on to vitest: "npm run test:system -- test/system/crash.test.ts".
set -euo pipefail
cd "$(dirname "$0")/../.."

needed=(
  cinder:python3-cinderclient
  openstack:python3-openstackclient
  qemu-io:qemu-utils
  iscsi-inq:libiscsi-bin
  tgtd:tgt
  mkfs.xfs:xfsprogs
  strace:strace
  # qemu finds its iSCSI module by itself; only dpkg knows where.
  dpkg:qemu-block-extra
)
bash test/install-packages.sh 'The system tests' "${needed[@]}"

# Under npm the first node on the path is the root's; elsewhere it may be the machine's, which may be older.
export PATH="$PWD/node_modules/.bin:/usr/sbin:/sbin:$PATH"
npm run --silent build:js

node node_modules/vitest/vitest.mjs run --project system "$@"
