//! The HTTP surface of real agents: the texts of the legacy endpoints, the store, the limits.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use serde_json::json;

use super::support::{AgentCommand, Cluster, DEADLINE, Leader, free_ports};
use super::web::{Answer, Web};

/// Agents with HTTP.
pub struct Served {
    pub cluster: Cluster,
    pub leader: Leader,
    ports: Vec<u16>,
}

impl Served {
    /// `count` agents, each with `more` in its `[http]`.
    pub fn started(count: usize, more: &str) -> Served {
        let mut cluster = Cluster::configured(count, "");
        let ports = free_ports(count);
        for (at, port) in ports.iter().enumerate() {
            let section = format!("[http]\nlisten = \"127.0.0.1:{port}\"\n{more}");
            cluster.configure(at, &cluster.members(), &section);
            cluster.start(at);
        }
        let leader = cluster.leader();
        Served { cluster, leader, ports }
    }

    pub fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    pub fn web(&self, at: usize) -> Web {
        Web::connect(&self.address(at))
    }
}

fn legacy_fields(answer: &Answer) -> Vec<String> {
    answer.json().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_legacy_texts_are_those_of_the_example() {
    let served = Served::started(3, "");
    let leader = served.leader.at;
    let follower = (leader + 1) % 3;
    let mut webs: Vec<Web> = (0..3).map(|at| served.web(at)).collect();

    // Forwarded on a follower; seen everywhere.
    let answer = webs[follower].post("/set", r#"{"key":"k","value":"v \"1\""}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), r#"{"success":true,"message":"Key 'k' set successfully"}"#);
    for web in &mut webs {
        let answer = web.get("/get?key=k");
        assert_eq!(answer.text(), r#"{"key":"k","value":"v \"1\""}"#);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(webs[follower].get("/get?key=none").text(), r#"{"key":"none","value":null}"#);
    let answer = webs[follower].post("/delete", r#"{"key":"k"}"#);
    assert_eq!(answer.text(), r#"{"success":true,"message":"Key 'k' deleted successfully"}"#);
    assert_eq!(webs[leader].get("/get?key=k").text(), r#"{"key":"k","value":null}"#);

    let id = leader + 1;
    let answer = webs[follower].post("/set?forward=false", r#"{"key":"k","value":"v"}"#);
    assert_eq!(answer.status, 421);
    let text = format!(r#"{{"error":"This node is not the leader. Current leader: {id}"}}"#);
    assert_eq!(answer.text(), text);
    let answer = webs[leader].post("/set?forward=false", r#"{"key":"k","value":"v"}"#);
    assert_eq!(answer.status, 200);

    let term = served.leader.term;
    let health = |node: usize, is_leader: bool, state: &str| {
        format!(
            "{{\"status\":\"ok\",\"node_id\":{},\"is_leader\":{is_leader},\
             \"current_leader\":{id},\"current_term\":{term},\"state\":\"{state}\"}}",
            node + 1
        )
    };
    assert_eq!(webs[leader].get("/health").text(), health(leader, true, "Leader"));
    assert_eq!(webs[follower].get("/health").text(), health(follower, false, "Follower"));
    let metrics = webs[leader].get("/metrics");
    let mut fields = legacy_fields(&metrics);
    fields.sort();
    let expected = [
        "current_leader",
        "current_term",
        "last_applied",
        "last_log_index",
        "membership",
        "node_id",
        "state",
    ];
    assert_eq!(fields, expected);
    assert_eq!(metrics.json()["membership"]["voters"], json!([1, 2, 3]));
    assert_eq!(metrics.json()["state"], "Leader");
}

#[test]
fn what_a_legacy_endpoint_does_not_take_it_refuses() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    assert_eq!(web.ask("PUT /v1/kv/b", &[], b"\xff\xfe").status, 200);
    let answer = web.get("/get?key=b");
    assert_eq!(answer.status, 406);
    assert!(answer.json()["error"].is_string(), "{answer:?}");
    for bad in ["", "{", "[]", r#"{"key":"k"}"#, r#"{"key":1,"value":"v"}"#] {
        let answer = web.post("/set", bad);
        assert_eq!((answer.status, legacy_fields(&answer)), (400, vec!["error".to_owned()]));
    }
    assert_eq!(web.get("/get").status, 400);
    assert_eq!(web.get("/get?key=%ff").status, 400);
    assert_eq!(web.ask("POST /set", &[], b"{}").status, 415);
    let answer = web.get("/set");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(web.get("/nothing").code(), "no_such_resource");
    let long = format!(r#"{{"key":"{}","value":"v"}}"#, "k".repeat(1025));
    assert_eq!(web.post("/set", &long).status, 400);
}

#[test]
fn without_a_quorum_it_says_so() {
    let mut served = Served::started(3, "");
    let left = (served.leader.at + 1) % 3;
    assert_eq!(served.web(left).get("/readyz").status, 200);
    for at in 0..3 {
        if at != left {
            served.cluster.kill(at);
        }
    }
    served.cluster.until("no leader", &[left], |all| all[0].leader.is_none().then_some(()));
    let mut web = served.web(left);
    let health = web.get("/health");
    assert_eq!(health.status, 503);
    let json = health.json();
    assert_eq!((&json["status"], &json["current_leader"]), (&json!("unavailable"), &json!(null)));
    assert_eq!(web.get("/readyz").status, 503);
    assert_eq!(web.get("/livez").status, 200);
    let answer = web.get("/v1/kv/k?timeout=50ms");
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert!(answer.header("retry-after").is_some());
    let answer = web.ask("PUT /v1/kv/k?timeout=50ms", &[], b"v");
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    // The store of this node is still there.
    assert_eq!(web.get("/v1/kv/k?consistency=stale").status, 404);
    assert_eq!(web.get("/get?key=k&consistency=stale").text(), r#"{"key":"k","value":null}"#);
}

#[test]
fn a_key_is_bytes_and_has_a_revision() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    let path = "/v1/kv/a/b%00%ff%2F";
    assert_eq!(web.get(path).code(), "not_found");
    let put = web.ask(&format!("PUT {path}"), &[], b"\x00\x01\xff");
    let revision = put.json()["revision"].as_u64().unwrap();
    assert_eq!(put.header("etag"), Some(format!("\"{revision}\"").as_str()));
    let got = web.get(path);
    assert_eq!((got.status, got.body.as_slice()), (200, &b"\x00\x01\xff"[..]));
    assert_eq!(got.header("etag"), put.header("etag"));
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));
    assert!(got.header("raft-revision").unwrap().parse::<u64>().unwrap() >= revision);
    let head = web.ask(&format!("HEAD {path}"), &[], b"");
    assert_eq!((head.status, head.header("etag")), (200, put.header("etag")));
    let same = web.ask(&format!("GET {path}"), &[&format!("If-None-Match: \"{revision}\"")], b"");
    assert_eq!((same.status, same.body.len()), (304, 0));
    let stale = web.get(&format!("{path}?consistency=stale"));
    assert!(stale.header("raft-age-ms").unwrap().parse::<u64>().is_ok(), "{stale:?}");
    let empty = web.ask("PUT /v1/kv/empty", &[], b"");
    assert_eq!(empty.status, 200);
    assert_eq!(web.get("/v1/kv/empty").body, b"");
    assert_eq!(web.ask("DELETE /v1/kv/empty", &[], b"").json()["deleted"], 1);
    assert_eq!(web.ask("DELETE /v1/kv/empty", &[], b"").json()["deleted"], 0);
    for bad in ["/v1/kv/", "/v1/kv/%zz", "/v1/kv/k?nonsense=1", "/v1/kv/k?timeout=1d"] {
        assert_eq!(web.get(bad).code(), "invalid_request", "{bad}");
    }
    let answer = web.ask("POST /v1/kv/k", &[], b"");
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
}

#[test]
fn a_write_may_depend_on_the_revision_and_on_the_token() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    let mut put = |header: &str, value: &str| {
        let headers = [header].into_iter().filter(|h| !h.is_empty()).collect::<Vec<_>>();
        web.ask("PUT /v1/kv/k", &headers, value.as_bytes())
    };
    let missing = put("If-Match: *", "v");
    assert_eq!((missing.status, missing.code().as_str()), (412, "precondition_failed"));
    assert_eq!(missing.json()["error"]["revision"], 0);
    let first = put("If-None-Match: *", "1").json()["revision"].as_u64().unwrap();
    let again = put("If-None-Match: *", "2");
    assert_eq!(again.json()["error"]["revision"], first);
    let second = put(&format!("If-Match: \"{first}\""), "3").json()["revision"].as_u64().unwrap();
    assert!(second > first);
    let late = put(&format!("If-Match: \"{first}\""), "4");
    assert_eq!((late.status, &late.json()["error"]["revision"]), (412, &json!(second)));
    assert_eq!(put("If-Match: *", "5").status, 200);
    assert_eq!(put("If-Match: \"1\", \"2\"", "6").status, 400);
    let token = served.leader.token;
    assert_eq!(put(&format!("If-Raft-Token: {token}"), "7").status, 200);
    let refused = put(&format!("If-Raft-Token: {}", token + 1), "8");
    assert_eq!((refused.status, refused.code().as_str()), (412, "token_mismatch"));
    assert_eq!(put("If-Raft-Token: x", "9").status, 400);
    assert_eq!(web.get("/v1/kv/k").text(), "7");
    let delete = web.ask("DELETE /v1/kv/k", &["If-Match: \"1\""], b"");
    assert_eq!(delete.status, 412);
    assert_eq!(web.get("/v1/kv/k").status, 200);
}

#[test]
fn ranges_go_on_where_they_ended() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    for at in 0..5 {
        assert_eq!(web.ask(&format!("PUT /v1/kv/p%FF{at}"), &[], b"v").status, 200);
    }
    assert_eq!(web.ask("PUT /v1/kv/q", &[], b"v").status, 200);
    let mut path = Some("/v1/kv?prefix=p%FF&limit=2".to_owned());
    let (mut keys, mut pages) = (Vec::new(), 0);
    while let Some(next) = path {
        let page = web.get(&next).json();
        for row in page["rows"].as_array().unwrap() {
            assert_eq!(row["value"], "dg==");
            keys.push(row["key"].as_str().unwrap().to_owned());
        }
        assert_eq!(page["more"].as_bool(), Some(page["next"].is_string()));
        path = page["next"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((keys.len(), pages), (5, 3), "{keys:?}");
    assert_eq!(keys[0], "cP8w");
    let all = web.get("/v1/kv?keys_only=true").json();
    assert_eq!(all["rows"].as_array().unwrap().len(), 6);
    assert!(all["rows"][0].get("value").is_none());
    for bad in ["/v1/kv?limit=0", "/v1/kv?limit=1001", "/v1/kv?keys_only=1", "/v1/kv?x=1"] {
        assert_eq!(web.get(bad).status, 400, "{bad}");
    }
    assert_eq!(web.ask("DELETE /v1/kv", &[], b"").status, 400);
    let some = web.ask("DELETE /v1/kv?prefix=p&limit=2", &[], b"").json();
    assert_eq!((&some["deleted"], &some["more"]), (&json!(2), &json!(true)));
    let rest = web.ask("DELETE /v1/kv?prefix=", &[], b"").json();
    assert_eq!((&rest["deleted"], &rest["more"]), (&json!(4), &json!(false)));
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    let text = r#"{"compare":[{"key":"aw==","exists":false}],
        "then":[{"put":{"key":"aw==","value":"AP8="}},{"get":{"key":"aw=="}}],
        "else":[{"get":{"key":"aw=="}},{"delete":{"key":"aw=="}}]}"#;
    let first = web.post("/v1/txn", text).json();
    assert_eq!(first["succeeded"], true);
    assert_eq!(first["reads"][0]["value"], "AP8=");
    assert_eq!(first["reads"][0]["revision"], first["revision"]);
    let second = web.post("/v1/txn", text).json();
    assert_eq!((&second["succeeded"], &second["deleted"]), (&json!(false), &json!(1)));
    assert_eq!(web.get("/v1/kv/k").status, 404);
    assert_eq!(web.post("/v1/txn", "{\"then\":3}").code(), "invalid_request");
    assert_eq!(web.ask("POST /v1/txn", &[], b"{}").status, 415);
    let put = "{\"delete\":{\"key\":\"aw==\"}}";
    let many = format!("{{\"then\":[{}]}}", vec![put; 129].join(","));
    assert_eq!(web.post("/v1/txn", &many).status, 400);
    let status = web.get("/v1/status").json();
    assert_eq!((&status["name"], &status["role"]), (&json!("n1"), &json!("leader")));
    assert!(status["store"]["quota_bytes"].as_u64().unwrap() > 0, "{status}");
}

#[test]
fn metrics_come_in_three_forms() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    assert_eq!(web.ask("PUT /v1/kv/k", &[], b"v").status, 200);
    assert_eq!(web.get("/v1/kv/k").status, 200);
    let mut metrics = |accept: &str| web.ask("GET /metrics", &[&format!("Accept: {accept}")], b"");
    let text = metrics("text/plain");
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let value = |name: &str| -> f64 {
        let line = text.text().lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("{name}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    for name in [
        "raftctl_fsync_seconds_count",
        "raftctl_commit_seconds_count",
        "raftctl_read_seconds_count",
        "raftctl_elections_won_total",
        "raftctl_role{role=\"leader\"}",
        "raftctl_log_last_index",
        "raftctl_script_seconds_count",
        "raftctl_http_answers_total{class=\"2xx\"}",
    ] {
        assert!(value(name) >= 1.0, "{name}\n{}", text.text());
    }
    let open = metrics("application/openmetrics-text");
    assert!(open.text().ends_with("# EOF\n"));
    assert_eq!(metrics("*/*").header("content-type"), Some("application/json"));
    assert_eq!(metrics("application/json").json()["node_id"], 1);
}

#[test]
fn others_are_served_only_with_a_token() {
    let cluster = Cluster::configured(1, "");
    let port = free_ports(1)[0];
    let refused = |section: &str| {
        cluster.configure(0, &cluster.members(), &format!("[http]\n{section}"));
        AgentCommand::new(&cluster.config(0)).refused()
    };
    let (code, said) = refused(&format!("listen = \"0.0.0.0:{port}\"\n"));
    assert_eq!(code, 78, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("there is no token")), "{said:#?}");
    let (code, said) =
        refused(&format!("listen = \"0.0.0.0:{port}\"\ntoken_file = \"/nonexistent\"\n"));
    assert_eq!(code, 78, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("/nonexistent")), "{said:#?}");
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (code, said) = refused(&format!("listen = \"127.0.0.1:{port}\"\n"));
    assert_eq!(code, 69, "{said:#?}");
    drop(taken);
}

#[test]
fn a_token_is_asked_for_and_can_be_changed() {
    let mut cluster = Cluster::configured(1, "");
    let port = free_ports(1)[0];
    let directory = cluster.root().join("credentials");
    fs::create_dir(&directory).unwrap();
    let write = |token: &str| fs::write(directory.join("http-token"), token).unwrap();
    write("the-first-token-is-this\n");
    let section = format!("[http]\nlisten = \"0.0.0.0:{port}\"\n");
    cluster.configure(0, &cluster.members(), &section);
    let mut command = cluster.command(0);
    command.command.env("CREDENTIALS_DIRECTORY", &directory);
    cluster.start_with(0, command);
    cluster.agent(0).log.wait("serving node");
    cluster.leader();
    let address = format!("127.0.0.1:{port}");
    let mut web = Web::connect(&address);
    let mut ask = |path: &str, token: &str| {
        let header = format!("Authorization: Bearer {token}");
        web.ask(path, &[&header], b"").status
    };
    assert_eq!(ask("GET /v1/kv/k", "the-first-token-is-this"), 404);
    assert_eq!(ask("GET /v1/kv/k", "the-first-token-is-not"), 401);
    assert_eq!(ask("PUT /v1/kv/k", ""), 401);
    assert_eq!(ask("GET /livez", ""), 200);
    assert_eq!(ask("GET /readyz", ""), 200);
    let answer = web.get("/v1/status");
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert!(web.get("/metrics").json()["error"].is_string());

    write("the-second-token-is-this");
    cluster.agent(0).signal(nix::sys::signal::Signal::SIGHUP);
    cluster.agent(0).log.wait("read again");
    let mut ask = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        web.ask("GET /v1/status", &[&header], b"").status
    };
    assert_eq!((ask("the-second-token-is-this"), ask("the-first-token-is-this")), (200, 401));
    // A token that is gone does not open the door.
    fs::remove_file(directory.join("http-token")).unwrap();
    cluster.agent(0).signal(nix::sys::signal::Signal::SIGHUP);
    cluster.agent(0).log.wait("[http] stays as it is");
    assert_eq!(web.get("/v1/status").status, 401);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn pages_of_others_are_refused() {
    let served = Served::started(1, "allow_origins = [\"https://panel.example\"]\n");
    let mut web = served.web(0);
    let mut ask = |what: &str, headers: &[&str]| web.ask(what, headers, b"");
    let answer = ask("PUT /v1/kv/k", &["Origin: https://evil.example"]);
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden_origin"));
    assert!(answer.header("access-control-allow-origin").is_none());
    let answer = ask("PUT /v1/kv/k", &["Origin: https://panel.example"]);
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!((answer.status, allowed), (200, Some("https://panel.example")));
    let answer = ask("OPTIONS /v1/kv/k", &["Origin: https://panel.example"]);
    assert_eq!(answer.status, 204);
    assert!(answer.header("access-control-allow-methods").unwrap().contains("PUT"));
    assert_eq!(ask("OPTIONS /v1/kv/k", &[]).status, 405);
    let mut web = served.web(0);
    web.send(b"GET /v1/kv/k HTTP/1.1\r\nHost: evil.example:2379\r\n\r\n");
    assert_eq!(web.answer(false).unwrap().code(), "forbidden_host");
}

#[test]
fn limits_are_answered() {
    let served = Served::started(1, "connections = 2\nrate = 20\n");
    let (mut one, mut two) = (served.web(0), served.web(0));
    assert_eq!((one.get("/livez").status, two.get("/livez").status), (200, 200));
    let mut three = served.web(0);
    let answer = three.answer(false).unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"));
    assert!(three.is_closed());
    drop(two);
    // Asked until the rate is used up; a second's worth fits into the bucket.
    let limited = (0..100).map(|_| one.get("/v1/kv/k")).find(|answer| answer.status == 429);
    let limited = limited.expect("a limit");
    assert_eq!(limited.code(), "too_many_requests");
    assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    let began = Instant::now();
    while one.get("/v1/kv/k").status == 429 {
        assert!(began.elapsed() < DEADLINE, "the bucket does not fill");
    }
}

#[test]
fn an_agent_that_stops_ends_its_connections() {
    let mut served = Served::started(1, "");
    let mut web = served.web(0);
    assert_eq!(web.get("/livez").status, 200);
    served.cluster.stop(0);
    assert!(web.is_closed());
}
