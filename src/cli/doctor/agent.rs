//! What the agent says, and whether its peers can be reached.

use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};

use super::Check;
use crate::cli::discover::Found;
use crate::cli::output::date;
use crate::config::Config;
use crate::dbus::client::Client;
use crate::dbus::describe::{Describe, PeerView};
use crate::limits;

/// Looks at the agent of `config`, at the other members and at the way between them.
pub async fn look(config: &Config, found: Option<Found>) -> Vec<Check> {
    let name = config.node.name.as_str();
    let mut checks = Vec::new();
    let asked = async {
        let found = found?;
        let client = found.open(found.named(name)?).await.ok()?;
        let own = client.describe().await.ok()?;
        Some((own, client))
    };
    let Some((own, client)) = asked.await else {
        let advice = format!("systemctl start raftctl@{name}; systemctl status raftctl@{name}");
        checks.push(Check::fail("agent", "it does not answer", &advice));
        checks.push(port(config));
        checks.extend(reach(config));
        return checks;
    };
    checks.push(leader(&own));
    checks.extend(standing(&own));
    checks.extend(members(&client, &own).await);
    checks
}

fn leader(own: &Describe) -> Check {
    let role = if own.active { format!("{}, active", own.role) } else { own.role.clone() };
    match &own.leader {
        Some(leader) => Check::ok("agent", format!("{role} in term {}, leader {leader}", own.term)),
        None => Check::fail(
            "agent",
            format!("{role} in term {}, without a leader", own.term),
            "see below which members do not answer; a majority has to",
        ),
    }
}

/// What keeps the host from being active, and what the agent warns of.
fn standing(own: &Describe) -> Vec<Check> {
    let mut checks = Vec::new();
    let name = &own.name;
    if own.maintenance {
        let advice = format!("raftctl maintenance off {name}");
        checks.push(Check::warn("eligible", "the host is in maintenance", &advice));
    } else if let Some(until) = own.held_down_until_usec {
        let found = format!("held down until {}: {}", date(until), own.ineligible.join("; "));
        checks.push(Check::warn("eligible", found, &format!("raftctl clear {name}")));
    } else if !own.eligible {
        let found = format!("not eligible: {}", own.ineligible.join("; "));
        checks.push(Check::warn("eligible", found, "put that right"));
    } else {
        checks.push(Check::ok("eligible", "the host may be active"));
    }
    if own.paused {
        checks.push(Check::warn("cluster", "it is paused", "raftctl resume"));
    }
    let units = own.units.iter().filter(|unit| unit.state == "failed" || unit.failures > 0);
    checks.extend(units.map(|unit| {
        let found = format!("{} is {}, failed {} times", unit.name, unit.state, unit.failures);
        Check::warn("unit", found, &format!("systemctl status {}; raftctl clear", unit.name))
    }));
    let warnings = own.warnings.iter();
    checks.extend(warnings.map(|text| Check::warn("agent", text.clone(), "see raftctld(8)")));
    checks
}

/// Whether the other members answer, and with which version.
async fn members(client: &Client, own: &Describe) -> Vec<Check> {
    let views = client.describe_cluster().await.unwrap_or_default();
    let mut checks: Vec<Check> = views.iter().filter(|v| v.name != own.name).map(peer).collect();
    checks.push(versions(&views, own));
    checks
}

fn peer(view: &PeerView) -> Check {
    let check = format!("peer {}", view.name);
    match (&view.status, &view.error) {
        (Some(_), _) => Check::ok(&check, format!("answers at {}", view.address)),
        (None, error) => {
            let error = error.as_deref().unwrap_or("no answer");
            let found = format!("{error} ({})", view.address);
            let advice = format!(
                "on its host: systemctl status raftctl@{}; is port {} open between the hosts?",
                view.name,
                view.address.rsplit(':').next().unwrap_or_default()
            );
            Check::fail(&check, found, &advice)
        }
    }
}

/// All agents, and this program, shall be of one version; a mixture is for the time of an upgrade.
pub fn versions(views: &[PeerView], own: &Describe) -> Check {
    let this = env!("CARGO_PKG_VERSION");
    let statuses = views.iter().filter_map(|view| view.status.as_ref()).chain([own]);
    let mut all: Vec<String> = statuses
        .filter(|status| status.version != this)
        .map(|status| format!("{} has {}", status.name, status.version))
        .collect();
    all.sort();
    all.dedup();
    match all.is_empty() {
        true => Check::ok("version", format!("{this} everywhere that answers")),
        false => Check::warn(
            "version",
            format!("this program is {this}; {}", all.join(", ")),
            "finish the upgrade, one host after the other, the active one last",
        ),
    }
}

/// Without an agent: whether one could listen.
fn port(config: &Config) -> Check {
    let listen = &config.node.listen;
    match TcpListener::bind(listen.as_str()) {
        Ok(_) => Check::ok("port", format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Check::warn(
            "port",
            format!("{listen} is in use: by the socket of systemd, or by another program"),
            &format!("ss -ltnp sport = :{}", listen.port()),
        ),
        Err(error) => Check::fail(
            "port",
            format!("cannot listen at {listen}: {error}"),
            "set [node] listen to an address of this host",
        ),
    }
}

/// Without an agent: whether the others could be reached.
fn reach(config: &Config) -> Vec<Check> {
    let others = config.cluster.members.iter().filter(|member| member.name != config.node.name);
    let check = |member: &crate::config::Member| {
        let (name, address) = (format!("peer {}", member.name), &member.address);
        let resolved = address.as_str().to_socket_addrs().map(|mut all| all.next());
        let connected = match resolved {
            Ok(Some(to)) => TcpStream::connect_timeout(&to, limits::CLIENT_PROBE_TIMEOUT),
            Ok(None) => Err(std::io::Error::other("no address")),
            Err(error) => Err(error),
        };
        match connected {
            Ok(_) => Check::ok(&name, format!("listens at {address}")),
            Err(error) => Check::warn(
                &name,
                format!("{address}: {error}"),
                "start its agent, or open the port between the hosts",
            ),
        }
    };
    others.map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Result;
    use super::*;

    #[test]
    fn versions_that_differ_are_named() {
        let describe = |name: &str, version: &str| -> Describe {
            let text = format!(
                r#"{{"name":"{name}","id":1,"cluster_name":"c","role":"follower","active":false,
                "term":1,"version":"{version}"}}"#
            );
            Describe::from_json(&text).unwrap()
        };
        let own = describe("n1", env!("CARGO_PKG_VERSION"));
        assert_eq!(versions(&[], &own).result, Result::Ok);
        let old = describe("n2", "0.0.9");
        let view = PeerView {
            name: "n2".to_owned(),
            id: 2,
            address: "h:1".to_owned(),
            kind: "voter".to_owned(),
            error: None,
            status: Some(old),
        };
        let check = versions(&[view], &own);
        assert_eq!(check.result, Result::Warn);
        assert!(check.found.ends_with("n2 has 0.0.9"), "{check:?}");
    }
}
