#!/usr/bin/env bash
# Builds, starts a three-node cluster on this machine, shows it, and says what to type next.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/build.sh
raftctl="$target/release/raftctl"
started=$("$raftctl" cluster start | tee /dev/stderr)
# "n2 leads in term 1, after 86 ms"
leader=$(sed -n 's/^\([a-z][a-z0-9_-]*\) leads .*/\1/p' <<<"$started")
echo
"$raftctl" cluster status
cat <<END

What to type next:
  $raftctl cluster kill ${leader:-n1}   # kill -9 of the leader
  make status                              # another one leads, with a higher token
  $raftctl cluster start     # the killed one comes back as follower
  make logs                                # what the nodes and their event scripts said
  make stop                                # stop it; its state stays
  make clean                               # stop it and remove its state
END
