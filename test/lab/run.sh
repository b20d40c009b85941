#!/usr/bin/env bash
# The tests that need device-mapper, the kernel's iSCSI target and its initiator: runs the vitest project "lab" in a guest.
# Installs from Debian's archive what they need, and builds. Arguments are passed on to vitest:
# "npm run test:lab -- test/lab/machine.test.ts". LAB_UDEV=1 runs them with udev, as on a real host; that takes longer.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash test/lab/install.sh

# Under npm the first node on the path is the root's; elsewhere it may be the machine's, which may be older.
export PATH="$PWD/node_modules/.bin:$PATH"
npm run --silent build:js

# The launcher's own tests run where it does. Whoever names suites wants those alone.
[ "$#" -gt 0 ] || node node_modules/vitest/vitest.mjs run --project launcher

share=()
[ -z "${TEST_REPORTS:-}" ] || share=(--share "$TEST_REPORTS")
node test/lab/main.ts --deadline 1800 "${share[@]}" -- node node_modules/vitest/vitest.mjs run --project lab "$@"
