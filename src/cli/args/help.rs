//! What stands under the options in the help of each verb: the fine print, and examples.

pub(super) const STATUS_HELP: &str = "\
The leader is marked with a star. A node that does not answer within 500 ms is shown as
unreachable. Behind a role is what the host is at when it is neither active nor at rest: unknown,
starting, stopping, waiting (for its members to stop), settling (scripts), releasing. Under the
table is what systemd does by itself when a stop takes too long, and what should be put right. The
exit status is 5 when the cluster has no leader.

Example:
  raftctl status --json=pretty n2";

pub(super) const MONITOR_HELP: &str = "\
Prints the present state first, then one line (or one JSON object) for each change. When the
agent goes away it says so, and goes on when the agent is back.

Examples:
  raftctl monitor --event leader --event unit
  raftctl monitor --json=short | while read -r change; do logger \"$change\"; done";

pub(super) const TRANSFER_HELP: &str = "\
The present leader stops its members, hands over, and the command returns when the new one leads.
That may take as long as the members take to stop; after two seconds it says what it waits for. The
transfer goes on when the command is interrupted. If the agent asked does not lead, the leader's
agent is asked when it runs on this host.

Example:
  raftctl transfer n2";

pub(super) const TAKEOVER_HELP: &str = "\
For a cluster that waits for a node which is lost while it was active, and cannot know whether its
units still run: on_demote_timeout = \"none\", or not yet as long ago as the others have to wait.
You vouch for it: if that host is up, two hosts are active. Has to be run where the leader is.

Example:
  raftctl takeover --force";

pub(super) const MAINTENANCE_HELP: &str = "\
A host that is out of service stops its members and hands over if it is active, and becomes active
again only after it was put back; a restart changes nothing about that. It votes and follows all
the same. Has to be run on that host.

Examples:
  raftctl maintenance on
  raftctl maintenance off n1";

pub(super) const PAUSE_HELP: &str = "\
For work on the agents or on the network between them. While the cluster is paused the members of
the active node run on whatever its agent does, and nobody takes over when it fails.

Example:
  raftctl pause";

pub(super) const RESUME_HELP: &str = "\
The active node has to say that it is guarded again. If its host is known to be down, and only then,
--force does without.

Example:
  raftctl resume";

pub(super) const WAIT_HELP: &str = "\
The exit status is 6 when the time is over; what was seen last is on standard error. An agent that
is not there yet is waited for, too.

Examples:
  raftctl wait --for leader
  raftctl wait --for active --node n1 --timeout 30s && systemctl start report";

pub(super) const GET_HELP: &str = "\
The bytes are printed as they are; on a terminal a line feed follows if there is none at their end.
The exit status is 1, and nothing is printed, when there is no such key. In JSON, what is not text
is in base64 (value_base64, key_base64).

The value is the newest one on every node: the agent asks the leader, and waits for one. With
--stale it answers from what it has.

Examples:
  raftctl get config/motd >/etc/motd
  raftctl get --stale --timeout 1s lock || echo free";

pub(super) const PUT_HELP: &str = "\
At most 1 MiB, under a key of at most 1024 bytes. Nothing is taken away from what is read from
standard input or FILE, also no line feed at its end. It is done, on a majority of the hosts, when
the command returns; --json says at which revision.

When the exit status is 7 a precondition did not hold: --token, --if-absent, --if-revision. When it
is 6 it is not known whether the value was written; 5 when it was not, because there was no leader.

Examples:
  raftctl put greeting hello
  tar c conf.d | raftctl put config/archive -
  raftctl put --if-absent lock/report \"$(hostname)\" && run-report
  raftctl put --token \"$RAFTCTL_TOKEN\" primary \"$(hostname)\"";

pub(super) const DELETE_HELP: &str = "\
The exit status is 1 when there was nothing to delete. With --prefix or --all many keys are deleted
in several steps, each of them at once.

Examples:
  raftctl delete lock/report
  raftctl delete --prefix session/";

pub(super) const KEYS_HELP: &str = "\
One on each line, in order of their bytes; the exit status is 1 when there are none. On a terminal,
and with --values, keys that are not plain words are quoted as in `raftctl txn`. The list is read in
pages of 1000 keys, or 4 MiB: it need not show the keys of one moment. In JSON, what is not text is
in base64 (key_base64, value_base64).

Examples:
  raftctl keys config/
  raftctl keys --values --limit 10 --after config/m config/
  raftctl keys --json=short | jq -r '.keys[].key'";

pub(super) const TXN_HELP: &str = "\
FILE has one comparison or step on each line. All lines with if must hold, then the steps are done,
else those after the line else; all at once or not at all:
  if KEY absent
  if KEY exists
  if KEY = VALUE
  if KEY revision N
  get KEY
  put KEY VALUE
  delete KEY
  delete-prefix PREFIX
  else

What is not a plain word is in quotes: 'as it is', or \"with \\n \\t \\r \\0 \\x1f \\\" \\\\\".
Behind # is a comment. Each get prints its key and value (KEY = VALUE, or KEY absent) in the same
way. The exit status is 7 when the comparisons did not hold; what is after else was done. At most
128 lines, 1 MiB of values, and 8 times get before and after else each.

Examples:
  printf '%s\\n' 'if lock absent' 'put lock n1' else 'get lock' | raftctl txn
  raftctl txn --json=short change.txn";

pub(super) const LEVEL_HELP: &str = "\
The same as `systemctl service-log-level raftctl@NODE`. The configuration file is not changed.

Example:
  raftctl log-level debug";

pub(super) const ATTACH_HELP: &str = "\
Writes /etc/systemd/system/UNIT.d/50-raftctl.conf and the link that starts the unit with the target
of the node, has systemd read them, and starts the unit where the target is up. It has to be done on
each host of the cluster. A unit that is enabled to start elsewhere is refused without --disable.

Examples:
  raftctl attach nginx
  raftctl attach --dry-run postgresql@16-main.service
  raftctl attach --on follower replica.service";

pub(super) const DETACH_HELP: &str = "\
Removes what attach wrote. A unit that runs goes on, here and wherever else it runs, without --now.

Example:
  raftctl detach --now nginx";

pub(super) const START_HELP: &str = "\
One agent for each node of the file, or the one of --node. Their standard error is passed on with
the name of the node before each line. A crashed agent is started again; a signal to stop is passed
on, and a second one kills.

Examples:
  raftctl start --config /etc/raftctl/n1.toml
  raftctl start --config three.toml --node n1";

pub(super) const CLUSTER_HELP: &str = "\
The cluster is that of --config, else of RAFTCTL_CLUSTER_CONFIG, ./raftctl-cluster.toml or
./.raftctl/cluster.toml; \"start\" makes the last one if there is none: three nodes on loopback.
State, logs and sockets are in FILE.d beside the file (cluster.d for cluster.toml).

Examples:
  raftctl cluster start
  raftctl cluster kill n1
  raftctl cluster status";

pub(super) const CONFIG_HELP: &str = "\
Example:
  raftctl config check /etc/raftctl/*.toml";

pub(super) const CHECK_HELP: &str = "\
One line for each file on standard output, one for each problem on standard error, with line and
column. Scripts that are not there are a warning: the file may be for another host.

Example:
  raftctl config check /etc/raftctl/n1.toml";

pub(super) const INIT_HELP: &str = "\
Asks for what the flags do not say, checks names and ports, writes /etc/raftctl/NODE.toml (root's,
mode 0644) and says what to type next. Starts nothing.

Examples:
  raftctl init
  raftctl init --yes --name n1 --member n1=192.0.2.1:7100 --member n2=192.0.2.2:7100 \
      --member n3=192.0.2.3:7100";

pub(super) const DOCTOR_HELP: &str = "\
One line for each check: ok, warn (works, but should be looked at) or fail, what was found, and
after the arrow what to do. The exit status is 1 when something failed. It changes nothing, and sees
most as root.

Examples:
  raftctl doctor
  raftctl doctor n1 --json=pretty";
