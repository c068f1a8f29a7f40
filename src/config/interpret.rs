//! What the sections mean together: from located values to [`Config`]s.

use std::path::Path;
use std::time::Duration;

use super::digest::canonical;
use super::error::{ConfigErrors, Problem};
use super::keys::Kind;
use super::nodes::{self, Places};
use super::reader::{self, Bad, Field, Origin, Reader, Section};
use super::{
    Cluster, Config, Eligibility, EventName, Events, Health, Http, Log, LogFormat, LogLevel,
    LogTarget, Member, Node, authority, http, kv, standing, timing,
};
use crate::core::id::is_valid_name;
use crate::core::{Address, NodeId, NodeName};
use crate::limits;

/// Reads the whole file.
pub(super) fn interpret(
    text: &str,
    file: &str,
    base: &Path,
    local: &Path,
) -> Result<Vec<Config>, ConfigErrors> {
    let mut reader = Reader::new(file, text);
    if text.len() as u64 > limits::CONFIG_MAX_BYTES {
        reader.report(0, Problem::TooLarge { limit: limits::CONFIG_MAX_BYTES });
        return Err(ConfigErrors::new(reader.into_errors()));
    }
    let configs = match reader::parse(&mut reader, text) {
        Ok(root) => document(&mut reader, root.get_ref(), Places { base, local }),
        Err(bad) => Err(bad),
    };
    let errors = reader.into_errors();
    match configs {
        Ok(configs) if errors.is_empty() => Ok(configs),
        _ => Err(ConfigErrors::new(errors)),
    }
}

fn document<'a>(
    reader: &mut Reader<'_>,
    root: &'a toml::de::DeTable<'a>,
    places: Places,
) -> Result<Vec<Config>, Bad> {
    let sections = reader.sections(root);
    let section = |kind| sections.get(kind).cloned().unwrap_or_else(|| Section::absent(kind));
    for kind in
        ["cluster", "raft", "authority", "eligibility", "health", "events", "http", "kv", "log"]
    {
        reader.check_keys(&section(kind), &[]);
    }
    let cluster = cluster(reader, &section("cluster"));
    let raft = timing::raft(reader, &section("raft"));
    let authority = authority::authority(reader, &section("authority"), raft);
    let of_all = PerNode {
        eligibility: section("eligibility"),
        health: section("health"),
        events: section("events"),
        http: section("http"),
    };
    let of_all = of_all.read(reader, Own::default(), places);
    let kv = kv::kv(reader, &section("kv"));
    let log = log(reader, &section("log"), places);
    let nodes = match sections.get("nodes") {
        Some(nodes) => several(reader, nodes, &section("node"), cluster.as_ref(), &of_all, places),
        None => {
            let node =
                nodes::single(reader, &section("node"), cluster.as_ref().map_err(|b| *b), places);
            let complete = of_all
                .as_ref()
                .map_err(|bad| *bad)
                .and_then(|own| own.check(reader, &section("health"), &section("http")));
            node.and_then(|node| complete.map(|()| node))
                .and_then(|node| Ok(vec![(node, of_all.clone()?)]))
        }
    };
    let (cluster, raft, authority, kv, log) = (cluster?, raft?, authority?, kv?, log?);
    let config = |(node, own): (Node, Own)| Config {
        node,
        cluster: cluster.clone(),
        raft,
        authority,
        eligibility: own.eligibility,
        health: own.health,
        events: own.events,
        http: own.http,
        kv,
        log: log.clone(),
    };
    Ok(nodes?.into_iter().map(config).collect())
}

/// What each node of a file may have for itself.
#[derive(Clone)]
struct Own {
    eligibility: Eligibility,
    health: Health,
    events: Events,
    http: Http,
}

impl Default for Own {
    fn default() -> Own {
        Own {
            eligibility: Eligibility::default(),
            health: Health::default(),
            events: no_events(),
            http: Http::default(),
        }
    }
}

impl Own {
    /// Reports sections whose one necessary key is missing.
    fn check(&self, reader: &mut Reader<'_>, health: &Section, http: &Section) -> Result<(), Bad> {
        let command = standing::check_command(reader, health, &self.health);
        let listen = http::check_listen(reader, http, &self.http);
        command.and(listen)
    }
}

/// The sections of that.
struct PerNode<'a> {
    eligibility: Section<'a>,
    health: Section<'a>,
    events: Section<'a>,
    http: Section<'a>,
}

impl<'a> PerNode<'a> {
    /// Those of `[nodes.NAME]`.
    fn of(reader: &mut Reader<'_>, node: &Section<'a>) -> Result<PerNode<'a>, Bad> {
        let mut table = |kind| {
            let found = reader.table(node, kind, kind, "a table")?;
            let found = found.unwrap_or_else(|| Section::absent(kind));
            reader.check_keys(&found, &[]);
            Ok(found)
        };
        let (eligibility, health) = (table("eligibility"), table("health"));
        let (events, http) = (table("events"), table("http"));
        Ok(PerNode { eligibility: eligibility?, health: health?, events: events?, http: http? })
    }

    /// What they say; what they do not is as in `base`.
    fn read(&self, reader: &mut Reader<'_>, base: Own, places: Places) -> Result<Own, Bad> {
        let eligibility = standing::eligibility(reader, &self.eligibility, base.eligibility);
        let health = standing::health(reader, &self.health, base.health);
        let events = events(reader, &self.events, base.events, places);
        let http = http::http(reader, &self.http, base.http, places);
        Ok(Own { eligibility: eligibility?, health: health?, events: events?, http: http? })
    }
}

/// `[nodes.NAME]` tables, in the order of their names.
fn several<'a>(
    reader: &mut Reader<'_>,
    nodes: &Section<'a>,
    node: &Section<'a>,
    cluster: Result<&Cluster, &Bad>,
    of_all: &Result<Own, Bad>,
    places: Places,
) -> Result<Vec<(Node, Own)>, Bad> {
    let shared = nodes::shared(reader, node);
    let expected = "a table [nodes.NAME] for each local node";
    let mut result = Vec::new();
    let mut origins: Vec<(Origin, Node, Http)> = Vec::new();
    let mut good = shared.as_ref().map(|_| ()).map_err(|bad| *bad);
    for name in nodes.keys() {
        let Ok(Some(section)) = reader.table(nodes, name, "node", expected) else {
            good = Err(Bad);
            continue;
        };
        let own = PerNode::of(reader, &section).and_then(|own| {
            let base = of_all.clone().unwrap_or_default();
            let read = own.read(reader, base, places)?;
            read.check(reader, &own.health, &own.http)?;
            of_all.as_ref().map(|_| read).map_err(|bad| *bad)
        });
        let Ok(shared) = &shared else { continue };
        let cluster = cluster.map_err(|bad| *bad);
        let node = nodes::one_of_several(reader, name, &section, cluster, shared, places);
        match (node, own) {
            (Ok(node), Ok(own)) => {
                let origin = section.origin_of_default("name", String::new());
                origins.push((origin, node.clone(), own.http.clone()));
                result.push((node, own));
            }
            _ => good = Err(Bad),
        }
    }
    nodes::check_distinct(reader, &origins);
    if nodes.keys().is_empty() {
        return Err(reader.missing(nodes, "node", expected));
    }
    good.map(|()| result)
}

fn cluster(reader: &mut Reader, section: &Section) -> Result<Cluster, Bad> {
    let name = reader.parsed(section, "name", |t| is_valid_name(t).then(|| t.to_owned()));
    let expected = Kind::Members.expected();
    let members = match reader.table(section, "members", "members", expected) {
        Ok(Some(table)) => members(reader, section, &table),
        Ok(None) => {
            let expected = format!("members = {{ ... }}, {expected}");
            Err(reader.missing(section, "\"members\"", &expected))
        }
        Err(bad) => Err(bad),
    };
    let name = name?.map_or_else(|| CLUSTER_NAME.to_owned(), |f| f.value);
    Ok(Cluster { name, members: members? })
}

fn members(reader: &mut Reader, section: &Section, table: &Section) -> Result<Vec<Member>, Bad> {
    let mut found: Vec<(NodeName, Field<Address>)> = Vec::new();
    let texts = reader.texts(table, Kind::Address.expected());
    let count = texts.len();
    let mut good = Ok(());
    for text in texts {
        match text.and_then(|text| member(reader, table, text, &found)) {
            Ok(member) => found.push(member),
            Err(bad) => good = Err(bad),
        }
    }
    if !(1..=limits::MEMBERS_MAX).contains(&count) {
        let source = format!("a list of {count}");
        let origin = section.origin_of_default("members", source);
        return Err(reader.refuse(&origin, format!("1 to {} members", limits::MEMBERS_MAX)));
    }
    good?;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let member = |(at, (name, address)): (usize, (NodeName, Field<Address>))| Member {
        id: NodeId(at as u64 + 1),
        name,
        address: address.value,
    };
    Ok(found.into_iter().enumerate().map(member).collect())
}

fn member(
    reader: &mut Reader,
    table: &Section,
    text: Field<String>,
    before: &[(NodeName, Field<Address>)],
) -> Result<(NodeName, Field<Address>), Bad> {
    let origin = text.origin;
    let Ok(name) = origin.key.parse::<NodeName>() else {
        let at = origin.moved_to(table.key_at(&origin.key));
        return Err(reader.refuse(&at, format!("its name to be {}", Kind::Name.expected())));
    };
    let Ok(address) = text.value.parse::<Address>() else {
        return Err(reader.refuse(&origin, Kind::Address.expected()));
    };
    if address.host().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        let expected = "an address that the other members can connect to; \
                        the one to bind is [node] listen";
        return Err(reader.refuse(&origin, expected));
    }
    let same =
        |(_, other): &&(NodeName, Field<Address>)| canonical(&other.value) == canonical(&address);
    if let Some((other, field)) = before.iter().find(same) {
        let source = &field.origin.source;
        let expected = format!("an address of its own, but {other} has {source}");
        return Err(reader.refuse(&origin, expected));
    }
    Ok((name, Field { value: address, origin }))
}

fn events(
    reader: &mut Reader,
    section: &Section,
    mut events: Events,
    places: Places,
) -> Result<Events, Bad> {
    let mut good = Ok(());
    for event in EventName::ALL {
        match reader.path(section, event.as_str()) {
            Ok(Some(field)) => {
                events.scripts.insert(event, nodes::resolve(places.base, &field.value));
            }
            Ok(None) => {}
            Err(bad) => good = Err(bad),
        }
    }
    let timeout = timing::script_limit(reader, section, "timeout");
    let kill_after = timing::script_limit(reader, section, "kill_after");
    events.timeout = timeout?.unwrap_or(events.timeout);
    events.kill_after = kill_after?.unwrap_or(events.kill_after);
    good.map(|()| events)
}

fn log(reader: &mut Reader, section: &Section, places: Places) -> Result<Log, Bad> {
    let level = reader.parsed(section, "level", |text| {
        LogLevel::ALL.into_iter().find(|level| level.as_str() == text)
    });
    let format = reader.parsed(section, "format", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let file = reader.path(section, "file");
    Ok(Log {
        level: level?.map_or(LogLevel::Info, |f| f.value),
        format: format?.map_or(LogFormat::Text, |f| f.value),
        target: match file? {
            Some(field) => LogTarget::File(nodes::resolve(places.base, &field.value)),
            None => LogTarget::Stderr,
        },
    })
}

fn no_events() -> Events {
    Events { scripts: Default::default(), timeout: TIMEOUT, kill_after: KILL_AFTER }
}

const CLUSTER_NAME: &str = "main";
const TIMEOUT: Duration = Duration::from_secs(30);
const KILL_AFTER: Duration = Duration::from_secs(5);
