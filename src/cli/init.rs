//! `raftctl init`: writes the configuration of this host's node, from flags or a few answers.
//!
//! What it writes is what the agent's own reader accepts: it is read back before it is written. It
//! overwrites nothing without `--force`, and starts nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use super::attach::CONFIGURATION;
use super::attach::place::Place;
use super::exit::Exit;
use super::output::{Format, complain, print};
use crate::config::ConfigFile;
use crate::core::{Address, NodeName};
use crate::limits;

/// Arguments of `init`.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// Name of this host's node; if missing, asked for, or the host's name with --yes.
    #[arg(long, value_name = "NODE")]
    pub name: Option<NodeName>,
    /// Name of the cluster.
    #[arg(long, value_name = "CLUSTER", default_value = "main")]
    pub cluster: NodeName,
    /// A member of the cluster and its address, once for each, the same on every host.
    #[arg(long = "member", value_name = "NODE=HOST:PORT", value_parser = member)]
    pub members: Vec<(NodeName, Address)>,
    /// Where to listen, if that is not this member's address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<Address>,
    /// Ask nothing.
    #[arg(long, short)]
    pub yes: bool,
    /// Overwrite what is there.
    #[arg(long)]
    pub force: bool,
    /// Print what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Write below DIR.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

fn member(text: &str) -> Result<(NodeName, Address), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("expected a name and an address, for example n1=192.0.2.1:7100")?;
    let name = name.trim().parse::<NodeName>().map_err(|error| error.to_string())?;
    let address = address.trim().parse::<Address>().map_err(|error| error.to_string())?;
    Ok((name, address))
}

/// What is to be written.
#[derive(Debug)]
struct Wanted {
    name: NodeName,
    cluster: NodeName,
    members: BTreeMap<NodeName, Address>,
    listen: Option<Address>,
}

/// Writes the configuration.
pub fn run(
    args: &InitArgs,
    format: Format,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let root = args.root.clone().unwrap_or(PathBuf::from("/"));
    if args.root.is_none() && !args.dry_run && !nix::unistd::geteuid().is_root() {
        let message = format!("init: writes to {CONFIGURATION}: run it as root, or --dry-run");
        return Err(Exit::NotPermitted.because(message));
    }
    if !root.is_dir() {
        let message = format!("init: --root {}: expected a directory", root.display());
        return Err(Exit::Usage.because(message));
    }
    let place = Place::new(&root);
    let wanted = wanted(args, input, out)?;
    let path = place.path(CONFIGURATION).join(format!("{}.toml", wanted.name));
    if path.symlink_metadata().is_ok() && !args.force && !args.dry_run {
        let message = format!(
            "{} is there already: expected --force to overwrite it, or `raftctl config check {0}`",
            path.display()
        );
        return Err(Exit::Failure.because(message));
    }
    let text = wanted.text();
    let file = path.display().to_string();
    ConfigFile::parse(&text, &file, Path::new(CONFIGURATION))
        .map_err(|errors| Exit::Usage.because(format!("init: {errors}")))?;
    if args.dry_run {
        print(&text)?;
        return Ok(Exit::Ok);
    }
    let warnings = wanted.warnings();
    warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
    place.write(&path, &text)?;
    let json = serde_json::json!({
        "node": wanted.name.as_str(), "file": file, "warnings": warnings,
    });
    print(&format.json(&json).unwrap_or_else(|| wanted.next(&file)))?;
    Ok(Exit::Ok)
}

/// What the flags say, and the answers to what they do not say.
fn wanted(args: &InitArgs, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<Wanted> {
    let mut members = BTreeMap::new();
    for (name, address) in &args.members {
        if members.insert(name.clone(), address.clone()).is_some() {
            return Err(Exit::Usage.because(format!("init: member {name} is given twice")));
        }
    }
    let own = host_name();
    let name = match (&args.name, args.yes) {
        (Some(name), _) => name.clone(),
        (None, true) => own.ok_or_else(|| Exit::Usage.because("init: expected --name NODE"))?,
        (None, false) => ask_name(own, input, out)?,
    };
    if members.is_empty() && !args.yes {
        ask_members(&name, &mut members, input, out)?;
    }
    if !members.contains_key(&name) {
        let names: Vec<_> = members.keys().map(NodeName::as_str).collect();
        let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!(
            "init: the members are {found}: expected {name} among them, --member {name}=HOST:PORT"
        );
        return Err(Exit::Usage.because(message));
    }
    if members.len() > limits::MEMBERS_MAX {
        let (count, max) = (members.len(), limits::MEMBERS_MAX);
        return Err(Exit::Usage.because(format!("init: {count} members: expected at most {max}")));
    }
    Ok(Wanted { name, cluster: args.cluster.clone(), members, listen: args.listen.clone() })
}

/// The first part of this host's name, if a node can be called so.
fn host_name() -> Option<NodeName> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.').next()?.to_lowercase().parse().ok()
}

/// The next line; an end of the input is no answer.
fn answer(question: &str, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<String> {
    write!(out, "{question}")?;
    out.flush()?;
    let mut line = String::new();
    let limited = &mut std::io::Read::take(input, ANSWER_MAX_BYTES);
    if limited.read_line(&mut line)? == 0 {
        writeln!(out)?;
        let message = "init: no answer: expected --name, --member and --yes, or a terminal";
        return Err(Exit::Usage.because(message));
    }
    Ok(line.trim().to_owned())
}

fn ask_name(
    own: Option<NodeName>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<NodeName> {
    let proposed = own.as_ref().map_or(String::new(), |own| format!(" [{own}]"));
    for _ in 0..ATTEMPTS {
        let text = answer(&format!("Name of this host's node{proposed}: "), input, out)?;
        match (text.as_str(), &own) {
            ("", Some(own)) => return Ok(own.clone()),
            _ => match text.parse() {
                Ok(name) => return Ok(name),
                Err(error) => writeln!(out, "{error}")?,
            },
        }
    }
    Err(Exit::Usage.because("init: no name: expected --name NODE"))
}

fn ask_members(
    own: &NodeName,
    members: &mut BTreeMap<NodeName, Address>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let example = format!("{own}=192.0.2.1:7100");
    writeln!(out, "Members of the cluster, {own} among them, for example {example}.")?;
    writeln!(out, "Three or five are usual. An empty line ends the list.")?;
    for _ in 0..ATTEMPTS {
        let question = format!("Member {}: ", members.len() + 1);
        let text = answer(&question, input, out)?;
        if text.is_empty() {
            return Ok(());
        }
        match member(&text) {
            Ok((name, _)) if members.contains_key(&name) => {
                writeln!(out, "member {name} is in the list already")?;
            }
            Ok((name, address)) => {
                members.insert(name, address);
            }
            Err(error) => writeln!(out, "{error}")?,
        }
    }
    Ok(())
}

impl Wanted {
    /// The file. Names and addresses have grammars without quotes, so nothing has to be escaped.
    fn text(&self) -> String {
        let Wanted { name, cluster, members, listen } = self;
        let mut text = format!(
            "# Node {name} of cluster {cluster}; raftctl.toml(5) has all keys. After a change:\n\
             #   raftctl config check {CONFIGURATION}/{name}.toml && systemctl daemon-reload\n\n\
             [node]\nname = \"{name}\"\n"
        );
        if let Some(listen) = listen {
            text += &format!("listen = \"{listen}\"\n");
        }
        text += &format!("\n# The same on every host.\n[cluster]\nname = \"{cluster}\"\n");
        text += "\n[cluster.members]\n";
        for (name, address) in members {
            text += &format!("{name} = \"{address}\"\n");
        }
        text
    }

    /// What may be wrong with names and ports, and what to do about it.
    fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let own = self.listen.as_ref().unwrap_or(&self.members[&self.name]);
        found.extend(cannot_bind(own));
        for (name, address) in self.members.iter().filter(|(name, _)| **name != self.name) {
            found.extend(unreachable(name, address));
        }
        match self.members.len() {
            1 => {}
            2 => found.push(
                "of two members none may be lost: a third one, on a small host, makes that one"
                    .to_owned(),
            ),
            even if even % 2 == 0 => found.push(format!(
                "{even} members tolerate the loss of no more of them than {} do",
                even - 1
            )),
            _ => {}
        }
        found
    }

    /// What to type next.
    fn next(&self, file: &str) -> String {
        let Wanted { name, cluster, members, .. } = self;
        let mut text = format!("Wrote {file}\nNext, on this host:\n");
        text += &format!("    systemctl enable --now raftctl@{name}\n");
        let all = members.iter().map(|(name, address)| format!(" --member {name}={address}"));
        let all: String = all.collect();
        let others: Vec<_> = members.keys().filter(|other| *other != name).collect();
        if !others.is_empty() {
            text += "on the others, with their own name:\n";
        }
        for other in others {
            text += &format!("    raftctl init --yes --name {other} --cluster {cluster}{all}\n");
        }
        text + "and then:\n    raftctl doctor\n    raftctl status\n    raftctl attach UNIT\n"
    }
}

/// Why this host cannot listen at `address`, if so.
fn cannot_bind(address: &Address) -> Option<String> {
    let error = TcpListener::bind(address.as_str()).err()?;
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!("another program, or the agent itself, has it: `ss -ltnp sport = :{port}`")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("this host does not have that address: --listen 0.0.0.0:{}", address.port())
        }
        std::io::ErrorKind::PermissionDenied => "expected a port from 1024 up".to_owned(),
        _ => "expected an address of this host".to_owned(),
    };
    Some(format!("cannot listen at {address}: {error}; {hint}"))
}

/// Why `name` cannot be reached at `address`, if so.
fn unreachable(name: &NodeName, address: &Address) -> Option<String> {
    let resolved = match address.as_str().to_socket_addrs() {
        Ok(mut addresses) => addresses.next()?,
        Err(error) => {
            return Some(format!("{name}: {} has no address: {error}", address.host()));
        }
    };
    let error = TcpStream::connect_timeout(&resolved, limits::CLIENT_PROBE_TIMEOUT).err()?;
    match error.kind() {
        // Nobody listens yet, but the host is there.
        std::io::ErrorKind::ConnectionRefused => None,
        _ => Some(format!(
            "{name} was not reached at {address}: {error}; is a firewall between the hosts?"
        )),
    }
}

/// Longest answer, in bytes. Beyond it: a wrong answer.
const ANSWER_MAX_BYTES: u64 = 4096;

/// How often a question is asked before that is the end.
const ATTEMPTS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answers: &str) -> (anyhow::Result<Wanted>, String) {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: InitArgs,
        }
        let args = Line::try_parse_from(["init"]).unwrap().args;
        let mut out = Vec::new();
        let wanted = wanted(&args, &mut answers.as_bytes(), &mut out);
        (wanted, String::from_utf8(out).unwrap())
    }

    #[test]
    fn questions_are_asked_until_they_are_answered() {
        let (wanted, out) = answered(
            "N_1\nn1\nn1=192.0.2.1:7100\nn1=x\nn1=192.0.2.9:7100\nn2=db2.example:7100\n\n",
        );
        let wanted = wanted.unwrap();
        assert_eq!(wanted.name.as_str(), "n1");
        assert_eq!(wanted.members.len(), 2);
        assert!(out.contains("lower-case") && out.contains("in the list already"), "{out}");
        let text = wanted.text();
        let file = ConfigFile::parse(&text, "n1.toml", Path::new("/etc/raftctl")).unwrap();
        assert_eq!(file.nodes()[0].node.address.as_str(), "192.0.2.1:7100");
    }

    #[test]
    fn answers_that_never_come_are_not_waited_for() {
        for answers in ["", "n1\n", "n1\nn1=h:1\n", "x\u{0}y\n", &"?\n".repeat(100)] {
            let (wanted, _) = answered(answers);
            assert_eq!(Exit::of(&wanted.unwrap_err()), Exit::Usage, "{answers:?}");
        }
        let (wanted, _) = answered("n1\nn2=192.0.2.2:7100\n\n");
        let error = wanted.unwrap_err().to_string();
        assert!(error.contains("the members are n2: expected n1 among them"), "{error}");
    }
}
