//! Where the generator says what is wrong: the journal if it is there, the kernel's log before
//! that, standard error for whoever runs it by hand. Never waits, never fails.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The units of an instance miss something.
    Error,
    /// As configured, but maybe not as expected.
    Notice,
}

impl Severity {
    /// The number of syslog(3).
    const fn priority(self) -> u8 {
        match self {
            Severity::Error => 3,
            Severity::Notice => 5,
        }
    }
}

/// Says one line.
pub(super) fn tell(severity: Severity, text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let told = !std::io::stderr().is_terminal()
        && (to_journal(severity, &text).is_ok() || to_kernel(severity, &text).is_ok());
    if !told {
        let _ = writeln!(std::io::stderr(), "{NAME}: {text}");
    }
}

/// The native protocol of the journal: one datagram of fields.
fn to_journal(severity: Severity, text: &str) -> std::io::Result<usize> {
    let priority = severity.priority();
    let fields = format!("MESSAGE={text}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER={NAME}\n");
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(fields.as_bytes(), "/run/systemd/journal/socket")
}

/// One record of the kernel's log, which the journal reads when it starts.
fn to_kernel(severity: Severity, text: &str) -> std::io::Result<()> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let mut log = OpenOptions::new().write(true).custom_flags(flags.bits()).open("/dev/kmsg")?;
    // A record holds about 1000 bytes (Documentation/ABI/testing/dev-kmsg).
    let cut = text.char_indices().map(|(at, _)| at).nth(800).unwrap_or(text.len());
    log.write_all(format!("<{}>{NAME}: {}\n", severity.priority(), &text[..cut]).as_bytes())
}

const NAME: &str = "raftctl-generator";
