//! Who is at the other end of the private socket, by the kernel, and who of them may come in:
//! root, the agent's own user, and the members of one group.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::libc;
use nix::unistd::{Gid, Group, getegid, geteuid};
use tokio::net::UnixStream;

use crate::limits;

/// The group whose members may do everything, if the host has it.
const ADMINISTRATORS: &str = "raftctl";

/// Who is at the other end of a connection (unix(7), `SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCreds {
    /// Effective user id at the time of connect.
    pub uid: u32,
    /// Process id; `None` where the kernel does not tell, for example from another pid namespace.
    pub pid: Option<i32>,
}

/// The number of the group `raftctl`, where this process may give access to it: it runs in that
/// group, or as root. An agent that somebody runs for himself is his alone.
pub fn administrators() -> Option<u32> {
    match Group::from_name(ADMINISTRATORS) {
        Ok(group) => group.map(|group| group.gid).filter(may_admit).map(Gid::as_raw),
        Err(error) => {
            let group = ADMINISTRATORS;
            tracing::warn!(group, %error, "cannot look up the group of administrators, ignoring");
            None
        }
    }
}

fn may_admit(group: &Gid) -> bool {
    geteuid().is_root() || getegid() == *group
}

/// Gives the socket at `path` to `group`, so that its mode lets the members in.
pub(super) fn give_to(path: &Path, group: u32) -> io::Result<()> {
    // Only root has to: others run in the group (see `administrators`), and so does the socket.
    match geteuid().is_root() {
        true => std::os::unix::fs::chown(path, None, Some(group)),
        false => Ok(()),
    }
}

/// Who is at the other end of `stream`, or why he may not come in. `group` is whose members may.
pub(super) fn admit(stream: &UnixStream, group: Option<u32>) -> Result<PeerCreds, String> {
    let creds = stream.peer_cred().map_err(|error| format!("credentials unknown: {error}"))?;
    let (uid, own) = (creds.uid(), geteuid().as_raw());
    let peer = PeerCreds { uid, pid: creds.pid() };
    if uid == 0 || uid == own {
        return Ok(peer);
    }
    let Some(group) = group else {
        return Err(format!("user {uid} is neither root nor user {own}"));
    };
    let groups = peer_groups(stream).map_err(|error| format!("groups unknown: {error}"))?;
    if creds.gid() == group || groups.contains(&group) {
        return Ok(peer);
    }
    Err(format!("user {uid} is neither root nor user {own} nor in group {group}"))
}

/// The supplementary groups of the peer at the time of connect (`SO_PEERGROUPS`).
fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    // What most users have, and what the kernel says it needs.
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    for _ in 0..2 {
        let mut bytes = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: `groups` has room for `bytes` bytes, and the kernel writes at most that many.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = (bytes as usize / size_of::<libc::gid_t>()).min(limits::DBUS_PEER_GROUPS_MAX);
        let error = io::Error::last_os_error();
        groups.resize(count, 0);
        if result == 0 {
            return Ok(groups);
        }
        if error.raw_os_error() != Some(libc::ERANGE) {
            return Err(error);
        }
    }
    Err(io::ErrorKind::QuotaExceeded.into())
}
