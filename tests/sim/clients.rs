//! Clients of the store: on every node, one request after the other, each with its deadline.
//!
//! What they ask and hear goes into a record (`checker`), which is checked in the end. A client
//! whose node has died knows nothing of its request and goes on elsewhere. Nothing here looks into
//! a node, but for the tokens that a client may have heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftctl::core::kv::{Query, Written};
use raftctl::core::rng::Rng;
use raftctl::core::{Index, Instant, NodeId, Token};
use raftctl::node::event::{Answer, Event, RequestId};
use raftctl::node::kv::{Consistency, KvError, KvPage, KvRead, KvWrite};

use super::checker::kv;
use super::checker::record::{Called, Record};
use super::checker::store::{Call, Return};
use super::checker::workload::{self, Workload};
use super::plan::{Mutation, StorePlan};
use super::world::{Happening, World};

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As a command, also to read.
    Write(Option<Token>),
    Read(Consistency),
}

/// A request that is not answered.
#[derive(Debug)]
struct Asked {
    client: usize,
    called: Called,
    at: NodeId,
    process: u64,
    way: Way,
    /// On the world's axis: it is answered by then, unless the node is kept from it.
    deadline: Instant,
}

/// All clients.
pub struct Clients {
    plan: StorePlan,
    rng: Rng,
    workload: Workload,
    pub record: Record,
    asked: BTreeMap<RequestId, Asked>,
    /// Answered by a planted bug: what the node says later is not heard.
    deaf: BTreeSet<RequestId>,
    /// Whether they go on by themselves.
    goes_on: bool,
    /// Tokens that clients have heard of.
    tokens: Vec<Token>,
    /// The token in force from an index on.
    in_force: BTreeMap<Index, Option<Token>>,
    /// Writes with a token that were carried out, by where they stand.
    with_token: Vec<(Index, Token)>,
    pub violation: Option<String>,
    /// The calls that were refused for want of room.
    full: BTreeSet<usize>,
}

impl Clients {
    pub fn new(seed: u64, plan: StorePlan) -> Clients {
        Clients {
            plan,
            rng: Rng::new(seed ^ 0x0c11_e275),
            workload: Workload::new(seed ^ 0x0770_4ced, 0, 1),
            record: Record::default(),
            asked: BTreeMap::new(),
            deaf: BTreeSet::new(),
            goes_on: true,
            tokens: vec![Token(12_345)],
            in_force: BTreeMap::new(),
            with_token: Vec::new(),
            violation: None,
            full: BTreeSet::new(),
        }
    }

    /// From `index` on this token is in force.
    pub fn activation(&mut self, index: Index, token: Option<Token>) {
        self.in_force.insert(index, token);
        self.tokens.extend(token);
    }

    /// No process of a node answers any more; who had asked it.
    fn lose(&mut self, process: u64) -> Vec<usize> {
        let lost = |asked: &Asked| asked.process == process;
        let requests: Vec<RequestId> = self
            .asked
            .iter()
            .filter(|(_, asked)| lost(asked))
            .map(|(request, _)| *request)
            .collect();
        let mut clients = Vec::new();
        for request in requests {
            let asked = self.asked.remove(&request).expect("just seen");
            if matches!(asked.way, Way::Read(_)) {
                self.record.nothing(asked.called);
            }
            clients.push(asked.client);
        }
        clients
    }

    fn violates(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    /// How the next request is made.
    fn way(&mut self, call: &Call) -> Way {
        let part = self.rng.below(10);
        if call.is_read() && part < 8 {
            return Way::Read(match part < 6 {
                true => Consistency::Linearizable,
                false => Consistency::Stale,
            });
        }
        let token = (part == 9 && !call.is_read()).then(|| {
            let newest = self.tokens.len() as u64 - 1;
            let at = if self.rng.below(3) > 0 { newest } else { self.rng.below(newest + 1) };
            self.tokens[at as usize]
        });
        Way::Write(token)
    }

    /// A write was answered.
    fn written(
        &mut self,
        asked: &Asked,
        token: Option<Token>,
        result: Result<Written, KvError>,
        now: u64,
    ) {
        let call = self.record.called(asked.called).clone();
        let written = match result {
            Ok(written) => written,
            // It may take effect, or never.
            Err(KvError::Unknown { .. }) if !call.is_read() => return,
            Err(error) => {
                if matches!(error, KvError::Quota { .. }) {
                    self.full.insert(asked.called.number());
                }
                return self.record.nothing(asked.called);
            }
        };
        if let Some(token) = token {
            self.with_token.push((written.revision, token));
        }
        if call.is_read() && written.reads_forgotten {
            return self.record.nothing(asked.called);
        }
        let (result, seen) = kv::written(&call, &written);
        self.answered(asked, &call, result, now);
        self.record.saw(&seen);
    }

    fn read(
        &mut self,
        asked: &Asked,
        consistency: Consistency,
        result: Result<KvPage, KvError>,
        now: u64,
    ) {
        let call = self.record.called(asked.called).clone();
        let Ok(page) = result else { return self.record.nothing(asked.called) };
        let (result, seen) = kv::page(&call, &page.page);
        let stale = consistency == Consistency::Stale;
        match stale {
            true => self.record.nothing(asked.called),
            false => self.answered(asked, &call, result, now),
        }
        self.record.saw(&seen);
        let run = format!("node {} process {:x}", asked.at, asked.process);
        self.record.read(&run, asked.called, (page.revision, now), seen, stale);
    }

    fn answered(&mut self, asked: &Asked, call: &Call, result: Return, now: u64) {
        self.workload.saw(call, &result);
        self.record.returned(asked.called, result, now);
    }

    /// Every write with a token stands where that token was in force.
    fn check_tokens(&self) -> Result<(), String> {
        for (index, token) in &self.with_token {
            let in_force = self.in_force.range(..=index).next_back().and_then(|(_, token)| *token);
            if in_force != Some(*token) {
                let text = format!("a write with {token} stands at {index}, under {in_force:?}");
                return Err(format!("token_keeps_out: {text}"));
            }
        }
        Ok(())
    }
}

impl World {
    /// Clients begin, if there are any.
    pub(super) fn clients_begin(&mut self) {
        let Some(clients) = &self.clients else { return };
        for client in 0..clients.plan.clients {
            self.after(Duration::from_millis(100), Happening::Client(client));
        }
    }

    /// A client asks for the next thing.
    pub(super) fn client_asks(&mut self, client: usize) {
        let Some(clients) = &mut self.clients else { return };
        let plan = clients.plan;
        if !clients.goes_on || clients.record.len() as u64 >= plan.most {
            return;
        }
        let away = clients.rng.below(8) == 0;
        let offset = if away { clients.rng.below(self.settings.nodes) } else { 0 };
        let to = NodeId(1 + (client as u64 + offset) % self.settings.nodes);
        // Where a history is checked as a whole, few outcomes may stay unknown.
        let deadlines =
            if plan.several { [400, 1_000, 2_000, 2_000] } else { [40, 400, 1_000, 2_000] };
        let within = Duration::from_millis(deadlines[clients.rng.below(4) as usize]);
        let group = clients.rng.below(plan.groups.into()) as u32;
        if self.process_of(to).is_none() {
            let later = self.clients_pause();
            return self.after(later, Happening::Client(client));
        }
        let clients = self.clients.as_mut().expect("just seen");
        let call = clients.workload.call(group, plan.several);
        let way = clients.way(&call);
        self.ask_store(client, to, call, way, within);
    }

    fn clients_pause(&mut self) -> Duration {
        let Some(clients) = &mut self.clients else { return Duration::ZERO };
        let longest = clients.plan.pause.as_micros() as u64;
        Duration::from_micros(200 + clients.rng.below(2 * longest))
    }

    fn ask_store(&mut self, client: usize, to: NodeId, call: Call, way: Way, within: Duration) {
        let (now, process) = (self.now, self.process_of(to).expect("it was asked for"));
        let boot = self.hosts[self.place(to)].reading(now).boot;
        let lies = self.settings.mutation == Some(Mutation::StaleRead);
        let request = self.request(to, |request| match way {
            Way::Write(token) => {
                let write =
                    KvWrite { operation: kv::operation(&call), token, within, forward: true };
                Event::KvWrite { request, write, deadline: boot + within }
            }
            Way::Read(consistency) => {
                let query: Query = kv::query(&call).expect("it reads");
                let consistency = if lies { Consistency::Stale } else { consistency };
                let read = KvRead { query, consistency, within };
                Event::KvRead { request, read, deadline: boot + within }
            }
        });
        let clients = self.clients.as_mut().expect("somebody asks");
        let called = clients.record.call(client, call, now.0);
        // Clocks drift.
        let deadline = now + within + within / 50;
        clients.asked.insert(request, Asked { client, called, at: to, process, way, deadline });
    }

    /// A node answers a request of a client.
    pub(super) fn client_hears(&mut self, request: RequestId, answer: &Answer) {
        let (now, newest) = (self.now.0, self.oracle.newest);
        let Some(clients) = &mut self.clients else { return };
        if clients.deaf.contains(&request) {
            return;
        }
        let Some(asked) = clients.asked.remove(&request) else {
            return clients.violates(format!("answers: {request:?} was answered twice"));
        };
        match (asked.way, answer) {
            (Way::Write(token), Answer::Written(result)) => {
                clients.written(&asked, token, result.clone(), now);
            }
            (Way::Read(consistency), Answer::Read(result)) => {
                if let Ok(page) = result
                    && page.revision > newest
                {
                    let text = format!("a read at {} of a log up to {newest}", page.revision);
                    clients.violates(format!("from_the_future: {text}"));
                }
                clients.read(&asked, consistency, result.clone(), now);
            }
            (way, answer) => {
                clients.violates(format!("answers: {way:?} was answered by {answer:?}"));
            }
        }
        let pause = self.clients_pause();
        self.after(pause, Happening::Client(asked.client));
    }

    /// The planted bug: a write is acknowledged by the leader that has only just taken it.
    pub(super) fn acknowledge_write(&mut self, request: RequestId) {
        let Some(clients) = &mut self.clients else { return };
        let Some(asked) = clients.asked.get(&request) else { return };
        let Call::Put(..) = clients.record.called(asked.called) else { return };
        let asked = clients.asked.remove(&request).expect("just seen");
        clients.record.returned(asked.called, Return::Done, self.now.0);
        clients.deaf.insert(request);
        let pause = self.clients_pause();
        self.after(pause, Happening::Client(asked.client));
    }

    /// A process is gone, and what it was asked is not answered.
    pub(super) fn clients_lose(&mut self, process: u64) {
        let Some(clients) = &mut self.clients else { return };
        for client in clients.lose(process) {
            let pause = self.clients_pause();
            self.after(pause, Happening::Client(client));
        }
    }

    /// After healing: every request is answered; each node takes a write and has all that was
    /// acknowledged; and what clients were told hangs together.
    pub(super) fn clients_end(&mut self) -> Result<(), String> {
        let Some(clients) = &mut self.clients else { return Ok(()) };
        clients.goes_on = false;
        let last = clients.asked.values().map(|asked| asked.deadline).max();
        // What happened to a host while it was frozen waits for its time, though it thawed early.
        let frozen = self.settings.authority.map_or(Duration::ZERO, |_| Duration::from_secs(10));
        self.until_answered(last.map_or(self.now, |at| at.max(self.now)) + frozen)?;
        self.must_succeed(|world, at| {
            let clients = world.clients.as_mut().expect("there are");
            let call = clients.workload.call(LAST_GROUP, false);
            let way = match call.is_read() {
                true => Way::Read(Consistency::Linearizable),
                false => Way::Write(None),
            };
            world.ask_store(usize::MAX, at, call, way, WITHIN_CALM);
        })?;
        self.must_succeed(|world, at| {
            let StorePlan { groups, several, .. } = world.clients.as_ref().expect("there are").plan;
            for group in (0..groups).chain([LAST_GROUP]) {
                let keys = workload::group(group);
                let calls = match several {
                    true => vec![Call::GetAll(keys)],
                    // One by one: what is asked for together is checked together.
                    false => keys.into_iter().map(Call::Get).collect(),
                };
                for call in calls {
                    let way = Way::Read(Consistency::Linearizable);
                    world.ask_store(usize::MAX, at, call, way, WITHIN_CALM);
                }
            }
        })?;
        let clients = self.clients.as_ref().expect("there are");
        clients.check_tokens()?;
        clients.record.check()
    }

    /// Waits until everything is answered, which must be so soon after `deadline`.
    fn until_answered(&mut self, deadline: Instant) -> Result<(), String> {
        while self.now < deadline + ANSWERED_WITHIN && self.all_answered().is_err() {
            self.run_until(self.now + ANSWERED_WITHIN / 5)?;
        }
        self.all_answered()
    }

    fn all_answered(&self) -> Result<(), String> {
        let clients = self.clients.as_ref().expect("there are");
        match clients.asked.values().next() {
            None => Ok(()),
            Some(asked) => {
                let call = clients.record.called(asked.called);
                let here = self.describe();
                Err(format!("answers: {call:?} is not answered: {asked:?}; {here}"))
            }
        }
    }

    /// Nothing is wrong any more: every node must do what it is asked, and in time; the second time
    /// at the latest, because one may still have been about to end.
    fn must_succeed(&mut self, asks: impl Fn(&mut World, NodeId)) -> Result<(), String> {
        let mut left = self.ids();
        for _ in 0..2 {
            self.everybody_runs()?;
            let mut failed = Vec::new();
            for at in left {
                let before = self.clients.as_ref().expect("there are").record.len();
                asks(self, at);
                let after = self.clients.as_ref().expect("there are").record.len();
                failed.push((at, before..after));
            }
            self.until_answered(self.now + WITHIN_CALM)?;
            let Clients { record, full, .. } = self.clients.as_ref().expect("there are");
            let served = |at| record.has_returned(at) || full.contains(&at);
            failed.retain(|(_, calls)| !calls.clone().all(served));
            left = failed.into_iter().map(|(at, _)| at).collect();
            if left.is_empty() {
                return Ok(());
            }
        }
        let here = self.describe();
        let record = &self.clients.as_ref().expect("there are").record;
        let last = (record.len() - 20..record.len()).map(|at| record.describe(at));
        let here = format!("{here}\n{}", last.collect::<Vec<_>>().join("\n"));
        Err(format!("liveness: nodes {left:?} did not serve within {WITHIN_CALM:?}; {here}"))
    }

    fn everybody_runs(&mut self) -> Result<(), String> {
        let deadline = self.now + Duration::from_secs(5);
        while self.now < deadline && self.ids().iter().any(|id| self.process_of(*id).is_none()) {
            self.come_back()?;
            self.run_until(self.now + Duration::from_millis(100))?;
        }
        match self.ids().into_iter().find(|id| self.process_of(*id).is_none()) {
            None => Ok(()),
            Some(id) => Err(format!("liveness: node {id} does not come back")),
        }
    }
}

/// How long an answer may be late.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// Where nothing is wrong any more everything is answered in this time.
const WITHIN_CALM: Duration = Duration::from_secs(1);

/// Keys that only the last writes are about.
const LAST_GROUP: u32 = 100;
