//! Tests of the configuration file.

use super::*;

const THREE: &str = r#"
[node]
name = "n2"
[cluster]
members = { n3 = "192.0.2.3:7100", n2 = "192.0.2.2:7100", n1 = "192.0.2.1:7100" }
"#;

fn parse(text: &str) -> Result<ConfigFile, ConfigErrors> {
    ConfigFile::parse(text, "conf/n2.toml", Path::new("/base"))
}

#[test]
fn a_name_and_a_list_are_enough() {
    let file = parse(THREE).unwrap();
    let config = file.node(None).unwrap();
    assert_eq!(config, file.node(Some("n2")).unwrap());
    assert_eq!(config.node.id, NodeId(2));
    assert_eq!(config.node.address.as_str(), "192.0.2.2:7100");
    assert_eq!(config.node.listen, config.node.address);
    assert_eq!(config.node.socket(), Path::new("/run/raftctl/n2/bus"));
    assert_eq!(config.node.state_directory, Path::new("/var/lib/raftctl/n2"));
    assert_eq!(config.cluster.name, "main");
    assert_eq!(file.local_directory(), Path::new("/base/n2.d"));
    let ids: Vec<_> = config.cluster.members.iter().map(|m| (m.id.0, m.name.as_str())).collect();
    assert_eq!(ids, [(1, "n1"), (2, "n2"), (3, "n3")]);
    let ms = Duration::from_millis;
    let Raft { heartbeat, election_min, election_max } = config.raft;
    assert_eq!((heartbeat, election_min, election_max), (ms(40), ms(200), ms(400)));
}

#[test]
fn the_order_of_the_list_does_not_count_for_the_digest() {
    let other = THREE
        .replace("n3 = \"192.0.2.3:7100\", ", "")
        .replace("n1 = \"192.0.2.1:7100\" }", "n1 = \"192.0.2.1:7100\", n3 = \"192.0.2.3:7100\" }");
    let digest = |text: &str| parse(text).unwrap().node(None).unwrap().bootstrap_digest();
    assert_ne!(other, THREE);
    assert_eq!(digest(THREE), digest(&other));
    assert_ne!(digest(THREE), digest(&THREE.replace("192.0.2.3", "192.0.2.4")));
    assert_ne!(digest(THREE), digest(&THREE.replace("[cluster]", "[cluster]\nname = \"b\"")));
}

#[test]
fn a_node_is_chosen_by_name() {
    let text = r#"
        cluster.members = { n1 = "a:1", n2 = "b:1", n3 = "c:1" }
        [nodes.n1]
        [nodes.n3]
    "#;
    let file = parse(text).unwrap();
    assert_eq!(file.nodes().len(), 2);
    assert_eq!(file.node(Some("n3")).unwrap().node.id, NodeId(3));
    let ambiguous = file.node(None).unwrap_err().to_string();
    assert_eq!(ambiguous, "conf/n2.toml: describes n1, n3: expected one of them to be named");
    let absent = file.node(Some("n2")).unwrap_err().to_string();
    assert_eq!(absent, "conf/n2.toml: no node \"n2\": expected one of n1, n3");
}

#[test]
fn errors_are_all_there_and_in_order() {
    let errors = parse("[log]\nlevel = 1\n[node]\nname = 2\nx = 3\n").unwrap_err();
    let places: Vec<_> = errors.iter().map(|e| (e.line, e.column)).collect();
    assert_eq!(places, [(1, 1), (2, 9), (4, 8), (5, 1)]);
    assert_eq!(errors.to_string().lines().count(), 4);
}

#[test]
fn a_large_file_is_refused_unread() {
    let large = " ".repeat(limits::CONFIG_MAX_BYTES as usize + 1);
    for result in [parse(&large), ConfigFile::parse_bytes(large.as_bytes(), "f", Path::new("/"))] {
        let errors = result.unwrap_err();
        assert!(errors.to_string().contains("1048576 bytes"), "{errors}");
    }
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let errors = ConfigFile::parse_bytes(b"[node]\n\xc3\xa9 = \xff", "f", Path::new("/"));
    let expected = "f:2:5: byte 0xff: expected UTF-8 text";
    assert_eq!(errors.unwrap_err().to_string(), expected);
    assert!(ConfigFile::parse_bytes(THREE.as_bytes(), "f", Path::new("/")).is_ok());
}

/// Cuts, changed bytes and repetitions of a good file never panic.
#[test]
fn damaged_files_are_refused_or_read() {
    let whole = "[nodes.n1]\nlisten=\"a:1\"\n[nodes.n1.events]\nleader='é'\n".to_owned()
        + &THREE.replace("[node]\nname = \"n2\"", "[raft]\nheartbeat = \"40ms\"");
    assert!(parse(&whole).is_ok());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = b"\"'[]{}=.\n#\x00\xffa0-"[random.usize(..15)],
                _ => bytes.extend_from_within(at..),
            }
        }
        if let Err(errors) = ConfigFile::parse_bytes(&bytes, "f", Path::new("/")) {
            assert!(errors.iter().all(|e| e.line >= 1 && e.column >= 1));
        }
    }
}
