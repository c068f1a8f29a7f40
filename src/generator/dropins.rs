//! What the drop-ins of one instance say. Text from a configuration reaches a unit file only as a
//! number, an address or a path of harmless characters.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::config::{Config, OnDemoteTimeout};

/// A drop-in for one unit.
pub(super) struct Dropin {
    /// The unit's full name.
    pub(super) unit: String,
    /// The content.
    pub(super) text: String,
}

/// The drop-ins of `config`, which was read from `file`, and what to note about it; or what is
/// wrong with it.
pub(super) fn of(config: &Config, file: &Path) -> Result<(Vec<Dropin>, Vec<String>), Vec<String>> {
    let name = &config.node.name;
    check_runtime_directory(config, file).map_err(|problem| vec![problem])?;
    let mut notes = Vec::new();
    let mut dropins = Vec::new();
    let mut add = |unit: String, body: String| {
        let head = format!("# From {} by raftctl-generator; change it there.\n", file.display());
        dropins.push(Dropin { unit, text: head + &body });
    };
    match listen(config) {
        Some(address) => add(
            format!("raftctl@{name}.socket"),
            // The empty one takes back what the template has.
            format!("[Socket]\nListenStream=\nListenStream={address}\n"),
        ),
        None => notes.push(format!(
            "{}: {} is a host name: the agent binds it itself, so that a peer's connection does \
             not start it; expected an IP address in [node] listen for that",
            file.display(),
            config.node.listen
        )),
    }
    let service = service(config, file).map_err(|problem| vec![problem])?;
    add(format!("raftctl@{name}.service"), service);
    if config.authority.on_demote_timeout == OnDemoteTimeout::Reboot {
        add(format!("raftctl-deadline@{name}.target"), reboot(config));
    }
    Ok((dropins, notes))
}

/// The address to listen on, if a socket unit can have it: no host name (systemd.socket(5)).
fn listen(config: &Config) -> Option<SocketAddr> {
    let listen = &config.node.listen;
    let ip: IpAddr = listen.host().parse().ok()?;
    Some(SocketAddr::new(ip, listen.port()))
}

/// The gate of the leader target has a path that the unit knows.
fn check_runtime_directory(config: &Config, file: &Path) -> Result<(), String> {
    let (found, expected) =
        (&config.node.runtime_directory, format!("/run/raftctl/{}", config.node.name));
    if *found == Path::new(&expected) {
        return Ok(());
    }
    Err(format!(
        "{}: [node] runtime_directory = {found:?}: expected {expected:?}, which the units name",
        file.display()
    ))
}

fn service(config: &Config, file: &Path) -> Result<String, String> {
    let (authority, events) = (&config.authority, &config.events);
    // One phase of a stop: the agent's demotion or the release after it, with the blocking script.
    let stop = authority.demote_timeout + events.timeout + events.kill_after + STOP_SLACK;
    let mut text = format!(
        "[Service]\nWatchdogSec={}\nTimeoutStopSec={}\n",
        millis(authority.watchdog),
        millis(stop)
    );
    if authority.on_demote_timeout == OnDemoteTimeout::Reboot {
        // A restart of the agent replaces the stop job whose age leads to the reboot, so it must
        // come later, even if what ExecStopPost= runs should fail.
        let later = authority.demote_timeout + RESTART_SLACK;
        writeln!(text, "RestartSec={}", millis(later)).expect("text can be written to");
    }
    let state = &config.node.state_directory;
    if *state != Path::new(&format!("/var/lib/raftctl/{}", config.node.name)) {
        let harmless = |c: u8| c.is_ascii_alphanumeric() || b"/._-".contains(&c);
        let shown = state.to_str().filter(|state| state.bytes().all(harmless));
        let Some(path) = shown else {
            return Err(format!(
                "{}: [node] state_directory = {state:?}: expected only letters, digits and the \
                 characters / . _ - in it, since it becomes part of a unit",
                file.display()
            ));
        };
        text += &format!("ReadWritePaths=-{path}\n[Unit]\nRequiresMountsFor={path}\n");
    }
    Ok(text)
}

/// What makes PID 1 reboot the host when the leader target does not stop; the unit says why it is
/// this one.
fn reboot(config: &Config) -> String {
    format!(
        "[Unit]\nJobTimeoutSec={}\nJobTimeoutAction=reboot-immediate\n",
        millis(config.authority.demote_timeout)
    )
}

/// A time span of systemd.time(7). Fractions of a millisecond are for those who wait.
fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_nanos().div_ceil(1_000_000))
}

/// How much later than the reboot an agent would be started again.
const RESTART_SLACK: Duration = Duration::from_millis(500);

/// What a stop needs beside what was configured: bus calls, writes, the last words to the others.
const STOP_SLACK: Duration = Duration::from_secs(5);
