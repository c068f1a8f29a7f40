//! A script's process group: signalling it, and seeing whether anything in it still lives.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Signals the whole group; an empty one is no error.
pub(super) fn signal(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => {
            tracing::warn!(%group, %signal, %errno, "cannot signal an event script, ignoring");
        }
    }
}

/// Whether no member of the group runs any more. A zombie is none: whoever inherited it may reap
/// it late, or never.
pub(super) fn is_empty(group: Pid) -> bool {
    if killpg(group, None) == Err(Errno::ESRCH) {
        return true;
    }
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let stats = processes.flatten().filter_map(|process| {
        let name = process.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if is_process { fs::read(process.path().join("stat")).ok() } else { None }
    });
    stats.filter_map(|stat| parse_stat(&stat)).all(|(state, of)| {
        let is_gone = matches!(state, b'Z' | b'X');
        is_gone || of != group
    })
}

/// State and process group in the text of `/proc/PID/stat`: the third and the fifth field
/// (proc_pid_stat(5)). The second is a name in parentheses that may contain anything.
fn parse_stat(stat: &[u8]) -> Option<(u8, Pid)> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((state, Pid::from_raw(group)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_parenthesis() {
        let stat = b"42 (a) Z 1 (b) S 7 99 99 0 -1\n";
        assert_eq!(parse_stat(stat), Some((b'S', Pid::from_raw(99))));
        for bad in
            ["", "42", "42 (a)", "42 (a) S", "42 (a) S 7", "42 (a) S 7 x", "42 (a) S 7 \u{ff}"]
        {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_zombie_is_no_member() {
        let mut command = Command::new("/bin/cat");
        let cat = command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut cat = cat.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(cat.id()).unwrap());
        assert!(!is_empty(pid));
        drop(cat.stdin.take());
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert_eq!(killpg(pid, None), Ok(()), "not reaped, so the kernel still knows it");
        assert!(is_empty(pid));
        cat.wait().unwrap();
    }

    #[test]
    fn our_own_group_lives_and_an_unused_one_does_not() {
        assert!(!is_empty(nix::unistd::getpgrp()));
        // Above the largest value that pid_max may have (proc_sys_kernel(5)): 2^22.
        assert!(is_empty(Pid::from_raw(1 << 23)));
    }
}
