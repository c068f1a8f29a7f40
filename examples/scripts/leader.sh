#!/bin/sh
# An event script for both `leader` and `follower`: starts a service when this node becomes the
# one, stops it when it is no longer. See raftctl-events(7).
#
#   [events]
#   leader = "/etc/raftctl/scripts/leader.sh"
#   follower = "/etc/raftctl/scripts/leader.sh"
#
# Arguments: EVENT ROLE CLUSTER. Everything else is in the environment. Output goes to the log.
set -eu

event=$1
unit=example.service

case $event in
leader)
    # The token names this leadership. Storage that remembers the highest token it has seen can
    # refuse a writer whose token is lower: hand it on to whatever writes.
    echo "leading cluster $RAFTCTL_CLUSTER as $RAFTCTL_NODE, token $RAFTCTL_TOKEN"
    if [ -d /run/systemd/system ] && systemctl cat "$unit" >/dev/null 2>&1; then
        systemctl start "$unit"
    fi
    ;;
follower)
    # Also runs when the agent starts, and after failed elections: stopping must be harmless when
    # nothing runs.
    echo "following ${RAFTCTL_LEADER:-nobody yet} ($RAFTCTL_REASON)"
    if [ -d /run/systemd/system ] && systemctl cat "$unit" >/dev/null 2>&1; then
        systemctl stop "$unit"
    fi
    ;;
*)
    echo "unexpected event $event" >&2
    exit 2
    ;;
esac
