//! The cluster that `raftctl cluster start` makes when there is none: three nodes on loopback.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::limits;

/// The file an operator keeps beside the work that the cluster is for.
const OWN_FILE: &str = "raftctl-cluster.toml";
/// The file that is made when there is no other.
const MADE_FILE: &str = ".raftctl/cluster.toml";

/// That there is no cluster, and what to do.
pub fn missing() -> anyhow::Error {
    let message = format!(
        "no cluster here: expected --config FILE, RAFTCTL_CLUSTER_CONFIG, ./{OWN_FILE} or \
         ./{MADE_FILE}; \"raftctl cluster start\" makes the last one"
    );
    Exit::Usage.because(message)
}

/// Makes the configuration file in `directory`, saying so on `out`.
pub fn make(directory: &Path, out: &mut dyn Write) -> anyhow::Result<PathBuf> {
    let made = directory.join(MADE_FILE);
    let script = made.with_file_name(MADE_SCRIPT);
    let text = three_nodes(free_ports(FIRST_PORT, out)?);
    for (path, text, mode) in [(&script, SCRIPT, 0o755), (&made, text.as_str(), 0o644)] {
        create(path, text, mode).map_err(|error| {
            let message = format!("{}: {error}: expected to create it", path.display());
            Exit::Failure.because(message)
        })?;
    }
    writeln!(out, "made {}", made.display())?;
    Ok(made)
}

/// The configuration file of the local cluster in `directory`, if there is one.
pub fn here(directory: &Path) -> Option<PathBuf> {
    [OWN_FILE, MADE_FILE].map(|name| directory.join(name)).into_iter().find(|path| path.exists())
}

/// The first of three neighbouring free ports on loopback, from `first` on; those for HTTP are free
/// too.
fn free_ports(first: u16, out: &mut dyn Write) -> anyhow::Result<u16> {
    for triple in 0..limits::LOCAL_PORT_TRIPLES {
        let base = first + 3 * triple;
        let all = (base..base + 3).flat_map(|port| [port, http_port(port)]);
        match all.into_iter().find_map(|port| Some((port, taken(port)?))) {
            None => return Ok(base),
            Some((port, error)) => {
                writeln!(out, "port {port} cannot be used ({error}), trying {}", base + 3)?;
            }
        }
    }
    let last = first + 3 * limits::LOCAL_PORT_TRIPLES - 1;
    let message = format!("no three neighbouring free ports on 127.0.0.1 from {first} to {last}");
    Err(Exit::Failure.because(message))
}

/// Where a node serves HTTP that peers reach at `port`.
fn http_port(port: u16) -> u16 {
    port + HTTP_PORTS
}

fn taken(port: u16) -> Option<io::Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).err()
}

fn three_nodes(first: u16) -> String {
    let mut text = String::from(
        "# Three nodes on this host, made by \"raftctl cluster start\". Change it as you like.\n\
         # What they keep is in cluster.d beside this file.\n\n[cluster]\nmembers = {",
    );
    for (at, comma) in [(1, ","), (2, ","), (3, "")] {
        write!(text, " n{at} = \"127.0.0.1:{}\"{comma}", first + at - 1)
            .expect("text can be written to");
    }
    text.push_str(" }\n\n# The store over HTTP, for programs on this host.\n");
    for at in 1..=3 {
        let port = http_port(first + at - 1);
        write!(text, "[nodes.n{at}]\nhttp.listen = \"127.0.0.1:{port}\"\n")
            .expect("text can be written to");
    }
    write!(text, "\n[events]\nleader = \"{MADE_SCRIPT}\"\nfollower = \"{MADE_SCRIPT}\"\n")
        .expect("text can be written to");
    text
}

/// Creates the file whole or not at all, and never in place of another.
fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension(format!("new.{}", std::process::id()));
    fs::write(&temporary, text)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        // Another command was quicker; its file is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

const FIRST_PORT: u16 = 7101;

/// From the port of a node to the one on which it serves HTTP.
const HTTP_PORTS: u16 = 1000;

/// The event script beside the made file.
const MADE_SCRIPT: &str = "event.sh";

const SCRIPT: &str = "\
#!/bin/sh
# Runs when a node becomes the leader, and when it ceases to be; raftctl-events(7) has all there is
# to know. Put here what your hosts need. What it prints is in the node's log.
echo \"$RAFTCTL_NODE is $RAFTCTL_ROLE: term $RAFTCTL_TERM, token $RAFTCTL_TOKEN\"
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    #[test]
    fn the_made_file_is_a_good_configuration() {
        let file = ConfigFile::parse(&three_nodes(7104), "cluster.toml", Path::new("/x")).unwrap();
        let addresses: Vec<_> = file.nodes().iter().map(|c| c.node.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:7104", "127.0.0.1:7105", "127.0.0.1:7106"]);
        let http = file.nodes().iter().map(|c| c.http.listen.as_ref().unwrap().to_string());
        let http: Vec<_> = http.collect();
        assert_eq!(http, ["127.0.0.1:8104", "127.0.0.1:8105", "127.0.0.1:8106"]);
        assert_eq!(file.nodes()[0].node.socket(), Path::new("/x/cluster.d/n1/run/bus"));
    }

    #[test]
    fn a_taken_port_is_named_and_the_next_three_are_tried() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut said = Vec::new();
        let found = free_ports(port, &mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(&format!("port {port} cannot be used")), "{said}");
        assert!(found >= port + 3);
    }

    #[test]
    fn files_are_found_in_their_order_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(Exit::of(&missing()), Exit::Usage);
        assert_eq!(here(at), None);
        assert_eq!(make(at, &mut io::sink()).unwrap(), at.join(MADE_FILE));
        let made = fs::read_to_string(at.join(MADE_FILE)).unwrap();
        assert_eq!(here(at), Some(at.join(MADE_FILE)));
        create(&at.join(MADE_FILE), "other", 0o644).unwrap();
        assert_eq!(fs::read_to_string(at.join(MADE_FILE)).unwrap(), made);
        fs::write(at.join(OWN_FILE), "").unwrap();
        assert_eq!(here(at), Some(at.join(OWN_FILE)));
        assert_eq!(fs::read_dir(at.join(".raftctl")).unwrap().count(), 2);
    }
}
