//! `[node]` and `[nodes.NAME]`: who this is, and which directories it has.

use std::path::{Path, PathBuf};

use super::digest::canonical;
use super::keys::Kind;
use super::reader::{Bad, Field, Origin, Reader, Section};
use super::{Cluster, Http, Member, Node, SOCKET_NAME};
use crate::core::{Address, NodeName};
use crate::limits;

/// Where paths are resolved and local nodes live.
#[derive(Clone, Copy)]
pub(super) struct Places<'p> {
    /// The directory that relative paths are relative to.
    pub(super) base: &'p Path,
    /// The directory of several local nodes.
    pub(super) local: &'p Path,
}

/// The directories that several nodes take as parents of theirs.
pub(super) struct Shared {
    state: Option<Field<PathBuf>>,
    runtime: Option<Field<PathBuf>>,
}

/// `[node]` of a file that describes one node.
pub(super) fn single(
    reader: &mut Reader,
    section: &Section,
    cluster: Result<&Cluster, Bad>,
    places: Places,
) -> Result<Node, Bad> {
    reader.check_keys(section, &[]);
    let name = reader.by_from_str::<NodeName>(section, "name");
    let name = match name {
        Ok(None) => {
            let expected = format!("name = \"...\", {}", Kind::Name.expected());
            Err(reader.missing(section, "\"name\"", &expected))
        }
        Ok(Some(field)) => Ok(field),
        Err(bad) => Err(bad),
    };
    let member = match (&name, cluster) {
        (Ok(field), Ok(cluster)) => member(reader, &field.origin, &field.value, cluster),
        _ => Err(Bad),
    };
    let names = match &name {
        Ok(field) => field.value.as_str(),
        Err(_) => "",
    };
    let default = |root: &str| PathBuf::from(format!("{root}/{names}"));
    let defaults = (default("/var/lib/raftctl"), default("/run/raftctl"));
    finish(reader, section, member, &defaults, places)
}

/// `[node]` beside `[nodes.NAME]` tables: only what can be shared.
pub(super) fn shared(reader: &mut Reader, section: &Section) -> Result<Shared, Bad> {
    reader.check_keys(section, &[]);
    let expected = "it in [nodes.NAME] instead, since several nodes cannot share it";
    for key in ["address", "listen"] {
        reader.refuse_key(section, key, expected);
    }
    let expected = "no name here, since each [nodes.NAME] has its own";
    reader.refuse_key(section, "name", expected);
    let state = reader.path(section, "state_directory");
    let runtime = reader.path(section, "runtime_directory");
    Ok(Shared { state: state?, runtime: runtime? })
}

/// `[nodes.NAME]`.
pub(super) fn one_of_several(
    reader: &mut Reader,
    name: &str,
    section: &Section,
    cluster: Result<&Cluster, Bad>,
    shared: &Shared,
    places: Places,
) -> Result<Node, Bad> {
    let expected = "no name here, since the name of the table is the node's name";
    reader.refuse_key(section, "name", expected);
    reader.check_keys(section, &["eligibility", "health", "events", "http"]);
    let origin = section.origin_of_default("name", format!("{name:?}"));
    let member = match (name.parse::<NodeName>(), cluster) {
        (Err(_), _) => Err(reader.refuse(&origin, Kind::Name.expected())),
        (Ok(_), Err(bad)) => Err(bad),
        (Ok(name), Ok(cluster)) => member(reader, &origin, &name, cluster),
    };
    let parent = |given: &Option<Field<PathBuf>>, leaf: &str| match given {
        Some(field) => resolve(places.base, &field.value).join(name),
        None => places.local.join(name).join(leaf),
    };
    let defaults = (parent(&shared.state, "state"), parent(&shared.runtime, "run"));
    finish(reader, section, member, &defaults, places)
}

/// Reports two nodes of one file that would share what each needs for itself.
pub(super) fn check_distinct(reader: &mut Reader, nodes: &[(Origin, Node, Http)]) {
    for (at, (origin, node, http)) in nodes.iter().enumerate() {
        for (_, other, other_http) in &nodes[..at] {
            let name = &other.name;
            let mut clash = |key: &str, value: String| {
                let expected = format!("one of its own, but {name} of this file has the same");
                reader.refuse(&origin.about(key, value), expected);
            };
            if node.listen == other.listen {
                clash("listen", format!("\"{}\"", node.listen));
            }
            if let (Some(listen), true) = (&http.listen, http.listen == other_http.listen) {
                clash("http.listen", format!("\"{listen}\""));
            }
            if node.state_directory == other.state_directory {
                clash("state_directory", format!("{:?}", node.state_directory));
            }
            if node.runtime_directory == other.runtime_directory {
                clash("runtime_directory", format!("{:?}", node.runtime_directory));
            }
        }
    }
}

/// `path` below `base`, without `.` elements.
pub(super) fn resolve(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().collect()
}

fn member<'c>(
    reader: &mut Reader,
    origin: &Origin,
    name: &NodeName,
    cluster: &'c Cluster,
) -> Result<&'c Member, Bad> {
    cluster.member(name).ok_or_else(|| {
        let names: Vec<&str> = cluster.members.iter().map(|m| m.name.as_str()).collect();
        let expected = format!("one of the names in [cluster] members: {}", names.join(", "));
        reader.refuse(origin, expected)
    })
}

fn finish(
    reader: &mut Reader,
    section: &Section,
    member: Result<&Member, Bad>,
    defaults: &(PathBuf, PathBuf),
    places: Places,
) -> Result<Node, Bad> {
    let address = reader.by_from_str::<Address>(section, "address");
    let listen = reader.by_from_str::<Address>(section, "listen");
    let state = reader.path(section, "state_directory");
    let runtime = reader.path(section, "runtime_directory");
    let (member, address, listen) = (member?, address?, listen?);
    let (state, runtime) = (state?, runtime?);

    if let Some(field) = &address
        && canonical(&field.value) != canonical(&member.address)
    {
        let Member { name, address, .. } = member;
        let expected = format!("\"{address}\", the address of {name} in [cluster] members");
        return Err(reader.refuse(&field.origin, expected));
    }
    let directory = |given: Option<Field<PathBuf>>, key: &str, default: &Path| match given {
        Some(field) => (resolve(places.base, &field.value), field.origin),
        None => (default.to_owned(), section.origin_of_default(key, format!("{default:?}"))),
    };
    let (state_directory, _) = directory(state, "state_directory", &defaults.0);
    let (runtime_directory, origin) = directory(runtime, "runtime_directory", &defaults.1);
    // The runtime directory vanishes when the agent stops (systemd.exec(5), RuntimeDirectory=).
    if state_directory.starts_with(&runtime_directory) {
        let expected = format!(
            "a directory without the state directory {state_directory:?}, since it is removed \
             when the agent stops"
        );
        return Err(reader.refuse(&origin, expected));
    }
    check_socket(reader, &origin, &runtime_directory)?;
    Ok(Node {
        name: member.name.clone(),
        id: member.id,
        address: member.address.clone(),
        listen: listen.map_or_else(|| member.address.clone(), |f| f.value),
        state_directory,
        runtime_directory,
    })
}

/// The private socket's path must fit into `sun_path` (unix(7)).
fn check_socket(reader: &mut Reader, origin: &Origin, runtime: &Path) -> Result<(), Bad> {
    let socket = runtime.join(SOCKET_NAME);
    let (bytes, limit) = (socket.as_os_str().len(), limits::SOCKET_PATH_MAX_BYTES);
    if bytes <= limit {
        return Ok(());
    }
    let expected = format!(
        "a shorter directory: the path of the socket {socket:?} has {bytes} bytes, and the limit \
         of Unix sockets is {limit}; set runtime_directory to a shorter path"
    );
    Err(reader.refuse(origin, expected))
}
