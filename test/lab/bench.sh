#!/usr/bin/env bash
# What LVM and the kernel's target cost through Scoria, measured in a guest: "npm run bench:lab". With "-- --quick" a smoke
# run whose figures mean little; with "-- --write FILE" the tables go to a page of documentation too.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/lab/install.sh

export PATH="$PWD/node_modules/.bin:$PATH"
npm run --silent build:js

page=
options=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --write) page=$2 && shift 2 ;;
    *) options+=("$1") && shift ;;
  esac
done
# The guest writes nothing on the host but in here.
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
LAB_HOST=$(node -e 'import("./test/bench/report.ts").then(({ machine }) => console.log(machine()))')
export LAB_HOST
node test/lab/main.ts --deadline 3000 --disk 8 --share "$results" -- node --disable-warning=ExperimentalWarning test/lab/bench/main.ts --write "$results/page.md" "${options[@]}"
[ -z "$page" ] || { cp "$results/page.md" "$page" && oxfmt "$page"; }
