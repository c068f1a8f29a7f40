//! Clients of the store over HTTP: each in the network of its node, one request at a time.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::libc;
use serde_json::{Value as Json, json};

use super::checker_support::record::Seen;
use super::checker_support::store::{Call, Key, Return, Value};
use super::checker_support::workload::{self, Workload, group, name, prefix, value, value_of};
use super::http::{Failed, Http, Response};
use super::scene::{NODES, Shared};

/// Clients of each node.
const PER_NODE: usize = 2;

/// After this long the clients go on to other keys: histories of a key stay short.
const ON_ONE_GROUP: Duration = Duration::from_secs(4);

/// One in so many groups is for requests about several keys, which are checked as a whole.
const SEVERAL: u64 = 3;

/// How long a request may wait on its node.
const WITHIN: Duration = Duration::from_secs(5);

/// How long one waits that is in a hurry, and often does not learn the outcome.
const HURRIED: Duration = Duration::from_millis(250);

/// A node that is stopped does not answer at all.
const PATIENCE: Duration = Duration::from_secs(7);

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    Returned {
        result: Return,
        seen: Vec<Seen>,
        /// Of a read: up to which index.
        revision: u64,
    },
    /// It never takes effect.
    Nothing,
    /// It may take effect, or never.
    Unknown,
}

/// A client's way to one node.
pub struct Node {
    at: usize,
    http: Http,
    /// Whether some requests are in a hurry.
    hurries: bool,
}

/// Starts the clients.
pub fn start(shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let client = |number: usize| {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || run(&shared, number))
    };
    (0..NODES * PER_NODE).map(client).collect()
}

fn run(shared: &Shared, number: usize) {
    let seed = fastrand::u64(..);
    let mut workload = Workload::new(seed, number as u64, (NODES * PER_NODE) as u64);
    let mut node = Node { hurries: true, ..Node::new(number % NODES) };
    while !shared.is_stopped() {
        let number_of_group = shared.now() / ON_ONE_GROUP.as_nanos() as u64;
        let several = number_of_group % SEVERAL == SEVERAL - 1;
        let call = workload.call(number_of_group as u32, several);
        let stale = call.is_read() && workload.below(5) == 0;
        let result = node.record(shared, number, &call, stale);
        if let Some(result) = &result {
            workload.saw(&call, result);
        }
        let longest = if several || result.is_none() { 120 } else { 30 };
        shared.pass(Duration::from_millis(workload.below(longest)));
    }
}

impl Node {
    /// Enters the network of node `at` for this thread's connections.
    pub fn new(at: usize) -> Node {
        let there = File::open(format!("/run/netns/n{}", at + 1)).unwrap();
        // SAFETY: setns(2) takes an open descriptor and moves this thread only.
        let moved = unsafe { libc::setns(there.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "{}", std::io::Error::last_os_error());
        Node { at, http: Http::new(([127, 0, 0, 1], 2379).into(), PATIENCE), hurries: false }
    }

    /// Asks, and records what was asked and heard.
    pub fn record(
        &mut self,
        shared: &Shared,
        client: usize,
        call: &Call,
        stale: bool,
    ) -> Option<Return> {
        let run = shared.run(self.at);
        let called = shared.record.lock().unwrap().call(client, call.clone(), shared.now());
        let answer = self.ask(call, stale);
        let mut record = shared.record.lock().unwrap();
        let now = shared.now();
        match answer {
            Answer::Returned { result, seen, revision } => {
                record.saw(&seen);
                // A restart in between: which run has answered is not known.
                if call.is_read() && run == shared.run(self.at) {
                    record.read(&run, called, (revision, now), seen, stale);
                }
                match stale {
                    true => record.nothing(called),
                    false => record.returned(called, result.clone(), now),
                }
                drop(record);
                shared.answered(self.at);
                Some(result)
            }
            Answer::Unknown if !call.is_read() => None,
            Answer::Nothing | Answer::Unknown => {
                record.nothing(called);
                None
            }
        }
    }

    /// Asks.
    pub fn ask(&mut self, call: &Call, stale: bool) -> Answer {
        let asked = self.send(call, stale);
        match asked {
            Err(Failed::NotSent) => Answer::Nothing,
            Err(Failed::Sent) => Answer::Unknown,
            Ok(response) => heard(call, &response),
        }
    }

    fn send(&mut self, call: &Call, stale: bool) -> Result<Response, Failed> {
        let within = if self.hurries && fastrand::u8(..4) == 0 { HURRIED } else { WITHIN };
        let options = format!("timeout={}ms", within.as_millis());
        let read = if stale { "&consistency=stale" } else { "" };
        let path = |key: Key| String::from_utf8(name(key)).unwrap().replace('/', "%2F");
        let under = |key: Key| String::from_utf8(prefix(key)).unwrap().replace('/', "%2F");
        match call {
            Call::Get(key) => {
                let line = format!("GET /v1/kv/{}?{options}{read}", path(*key));
                self.http.ask(&line, "", b"")
            }
            Call::GetAll(keys) => {
                let line = format!("GET /v1/kv?prefix={}&{options}{read}", under(keys[0]));
                self.http.ask(&line, "", b"")
            }
            Call::Put(key, new) => {
                let line = format!("PUT /v1/kv/{}?{options}", path(*key));
                self.http.ask(&line, "", &value(*new))
            }
            Call::Delete(key) => {
                self.http.ask(&format!("DELETE /v1/kv/{}?{options}", path(*key)), "", b"")
            }
            Call::DeleteAll(keys) => {
                let line = format!("DELETE /v1/kv?prefix={}&{options}", under(keys[0]));
                self.http.ask(&line, "", b"")
            }
            Call::Swap(key, old, new) => {
                self.transaction(&options, &[(*key, *old)], &[(*key, *new)])
            }
            Call::PutAll(new) => self.transaction(&options, &[], new),
            Call::SwapAll(old, new) => self.transaction(&options, old, new),
        }
    }

    fn transaction(
        &mut self,
        options: &str,
        old: &[(Key, Option<Value>)],
        new: &[(Key, Value)],
    ) -> Result<Response, Failed> {
        let bytes = |bytes: Vec<u8>| STANDARD.encode(bytes);
        let compare = |(key, old): &(Key, Option<Value>)| match old {
            Some(old) => json!({"key": bytes(name(*key)), "value": bytes(value(*old))}),
            None => json!({"key": bytes(name(*key)), "exists": false}),
        };
        let put = |(key, new): &(Key, Value)| {
            let put = json!({"key": bytes(name(*key)), "value": bytes(value(*new))});
            json!({ "put": put })
        };
        let compare: Vec<Json> = old.iter().map(compare).collect();
        let then: Vec<Json> = new.iter().map(put).collect();
        let body = json!({"compare": compare, "then": then}).to_string();
        let headers = "Content-Type: application/json\r\n";
        self.http.ask(&format!("POST /v1/txn?{options}"), headers, body.as_bytes())
    }
}

/// What an answer says.
fn heard(call: &Call, response: &Response) -> Answer {
    let Response { status, headers, body } = response;
    match (status, call) {
        (504, _) => return Answer::Unknown,
        (503, _) => return Answer::Nothing,
        (200, _) => {}
        (404, Call::Get(_)) => {}
        _ => panic!("{call:?}: {status} {}", String::from_utf8_lossy(body)),
    }
    let at = headers.get("raft-revision").and_then(|text| text.parse().ok()).unwrap_or_default();
    let (result, seen) = match call {
        Call::Get(key) => {
            let value = (*status == 200).then(|| value_of(body).expect("a value of a client"));
            let revision = headers.get("etag").map_or(0, |tag| {
                tag.trim_matches('"').parse().expect("an entity tag is a revision")
            });
            let seen = value.map(|_| Seen { key: *key, value, revision });
            (Return::Found(vec![value]), seen.into_iter().collect())
        }
        Call::GetAll(keys) => rows(keys, &serde_json::from_slice(body).expect("JSON")),
        _ => written(call, &serde_json::from_slice(body).expect("JSON")),
    };
    Answer::Returned { result, seen, revision: at }
}

fn rows(keys: &[Key], page: &Json) -> (Return, Vec<Seen>) {
    let mut seen = Vec::new();
    for row in page["rows"].as_array().expect("rows") {
        let bytes = |name: &str| STANDARD.decode(row[name].as_str().expect("base64")).unwrap();
        let key = workload::key(&bytes("key")).expect("a key of a client");
        let revision = row["revision"].as_u64().expect("a revision");
        seen.push(Seen { key, value: value_of(&bytes("value")), revision });
    }
    let value = |key: &Key| seen.iter().find(|seen| seen.key == *key).and_then(|seen| seen.value);
    (Return::Found(keys.iter().map(value).collect()), seen)
}

fn written(call: &Call, answer: &Json) -> (Return, Vec<Seen>) {
    let revision = answer["revision"].as_u64().expect("a revision");
    let wrote = || {
        let seen = |(key, value)| Seen { key, value: Some(value), revision };
        call.writes().into_iter().map(seen).collect()
    };
    match call {
        Call::Swap(..) | Call::SwapAll(..) => {
            let swapped = answer["succeeded"].as_bool().expect("succeeded");
            (Return::Swapped(swapped), if swapped { wrote() } else { Vec::new() })
        }
        Call::Delete(_) | Call::DeleteAll(_) => {
            let deleted = answer["deleted"].as_u64().expect("deleted");
            let removed = |key| Seen { key, value: None, revision };
            (Return::Deleted(deleted), group_of(call).into_iter().map(removed).collect())
        }
        _ => (Return::Done, wrote()),
    }
}

/// What a removal removes.
fn group_of(call: &Call) -> Vec<Key> {
    match call {
        Call::DeleteAll(keys) => group(keys[0] / workload::GROUP),
        call => call.keys(),
    }
}
