#!/usr/bin/env bash
# sim.sh SEEDS [START]: simulates SEEDS histories, the first with seed START.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_build_tools
export SIM_SEEDS="$1" SIM_START="${2:-0}"
# Many seeds are worth an optimised build, with the checks of a debug build.
profile=dev
((SIM_SEEDS > 2000)) && profile=sim
exec "$CARGO" test --locked --profile "$profile" --test sim every_seed -- --nocapture
