#!/usr/bin/env bash
# The tests that need device-mapper, the kernel's iSCSI target and its initiator: runs the vitest project "lab" in a guest.
# Installs from Debian's archive what they need, and builds. Arguments are passed on to vitest:
# "npm run test:lab -- test/lab/machine.test.ts". LAB_UDEV=1 and LAB_LONG=1 are told in README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash test/lab/install.sh

# Under npm the first node on the path is the root's; elsewhere it may be the machine's, which may be older.
export PATH="$PWD/node_modules/.bin:$PATH"
npm run --silent build:js

share=()
[ -z "${TEST_REPORTS:-}" ] || share=(--share "$TEST_REPORTS")
# The long forms take an hour or more, and everything takes longer with udev.
deadline=1500
[ -z "${LAB_LONG:-}${LAB_UDEV:-}" ] || deadline=7200
guest() { node test/lab/main.ts --deadline "$deadline" "${share[@]}" -- node node_modules/vitest/vitest.mjs run --project lab "$@"; }
if [ "$#" -gt 0 ]; then
  guest "$@"
  exit
fi

# A guest has one processor, so two of them share the suites, each on a processor of its own if there are two. What one
# suite leaves behind when it fails does not reach those in the next guest. What the second lane says comes when the first
# has ended.
all=(test/lab/*.test.ts)
named() { printf '%s\n' "${all[@]}" | grep -E "/($1)\.test\.ts$"; }
others() { printf '%s\n' "${all[@]}" | grep -vE "/($1|launcher)\.test\.ts$"; }
allowed=$(taskset --cpu-list --pid $$)
processors=()
IFS=, read -ra ranges <<<"${allowed##*: }"
for range in "${ranges[@]}"; do
  for ((processor = ${range%-*}; processor <= ${range#*-}; processor++)); do processors+=("$processor"); done
done
lane() {
  local broken=0 suites
  # What is started from here on may use this one alone.
  taskset --cpu-list --pid "${processors[$1 % ${#processors[@]}]}" "$BASHPID" >/dev/null
  shift
  for suites in "$@"; do
    # shellcheck disable=SC2086
    guest $suites || broken=$?
  done
  return "$broken"
}
first='driver-lvm-conformance|lio-conformance'
second='service|service-trouble|driver-lvm|crash'
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
broken=0
# The launcher's own tests run where it does, and wait most of the time.
node node_modules/vitest/vitest.mjs run --project launcher >"$said/launcher" 2>&1 &
launcher=$!
lane 1 "$(named "$second")" "$(others "$first|$second")" >"$said/lane" 2>&1 &
lane=$!
(lane 0 "$(named "$first")") || broken=$?
wait "$launcher" || broken=$?
wait "$lane" || broken=$?
cat "$said/launcher" "$said/lane"
exit "$broken"
