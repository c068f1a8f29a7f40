#!/usr/bin/env bash
# cluster.sh VERB [ARGUMENT...]: `raftctl cluster VERB` with the program that was built here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

raftctl="$target/release/raftctl"
verb="$1"
shift
if [[ ! -d .raftctl ]]; then
    case "$verb" in
    stop | clean) say "there is no local cluster here"; exit 0 ;;
    start) ;;
    *) die "there is no local cluster here; start one with: make launch" ;;
    esac
fi
[[ -x $raftctl ]] || scripts/build.sh
if [[ $verb == clean ]]; then
    "$raftctl" cluster stop
    "$raftctl" cluster clean
    rm -rf .raftctl
else
    exec "$raftctl" cluster "$verb" "$@"
fi
