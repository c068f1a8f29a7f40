#!/usr/bin/env bash
# Builds the programs as they are shipped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_build_tools
[[ -d $target/release/deps ]] || say "building; the first time takes some minutes"
"$CARGO" build --locked --release --bins
