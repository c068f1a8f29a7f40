#!/usr/bin/env bash
# sim.sh SEEDS [START]: simulates SEEDS histories, the first with seed START.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_build_tools
export SIM_SEEDS="$1" SIM_START="${2:-0}"
exec "$CARGO" test --locked --test sim every_seed -- --nocapture
