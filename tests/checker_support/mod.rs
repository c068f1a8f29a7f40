//! Whether a history of operations is linearizable: whether they could have happened one after the
//! other, each at some moment between its call and its return, with the results that were seen.
//!
//! The search of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): which
//! operations are done, together with the state they lead to, is tried once. An operation whose
//! outcome is not known may take effect at any time after its call, or never; but before the first
//! answer that shows it. Such operations are tried last: mostly they explain nothing.
//!
//! It takes what it is given for true: that the clocks of calls and returns agree is the business
//! of whoever recorded them.

#![allow(unused, reason = "each test binary uses its own part")]

pub mod kv;
pub mod record;
pub mod store;
pub mod workload;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What operations do to a state.
pub trait Model: Clone + Debug {
    type State: Clone + Eq + Hash + Debug + Default;
    type Call: Clone + Debug;
    type Return: Clone + Debug;

    /// The state after `call` in `state`, if it can have returned this; `None` as the result: it is
    /// not known, and anything is possible.
    fn step(
        state: &Self::State,
        call: &Self::Call,
        result: Option<&Self::Return>,
    ) -> Option<Self::State>;

    /// Whether nobody can have been told `result` before `call` took effect.
    fn shows(call: &Self::Call, result: &Self::Return) -> bool;
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation<M: Model> {
    /// Who; only for the text of a violation.
    pub client: usize,
    pub call: M::Call,
    pub called: u64,
    /// What it returned and when; `None`: its outcome is not known.
    pub returned: Option<(M::Return, u64)>,
}

/// No order explains the history.
#[derive(Debug)]
pub struct Violation {
    /// The search has given up: it may be none.
    pub undecided: bool,
    /// The longest beginning of an order that could be found, and what could not follow.
    pub text: String,
}

/// The search gives up: the history is too long or has too much at once.
pub const STEPS_MAX: u64 = 2_000_000;

/// Checks a history.
pub fn check<M: Model>(history: &[Operation<M>]) -> Result<(), Violation> {
    Search::new(history).run()
}

/// A call or a return, in a list from which operations that are done are taken out.
#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    is_call: bool,
    before: usize,
    after: usize,
}

struct Search<'a, M: Model> {
    history: &'a [Operation<M>],
    /// In the order of time, between a head (0) and a tail.
    events: Vec<Event>,
    /// Of each operation: its call and its return.
    places: Vec<(usize, usize)>,
    /// Of each operation: whether nothing says when it was over.
    open: Vec<bool>,
    done: Vec<u64>,
    tried: HashSet<(Vec<u64>, M::State)>,
    /// What was done, in order, and the state before it.
    order: Vec<(usize, M::State)>,
    longest: Vec<usize>,
    steps: u64,
}

/// By when an operation of unknown outcome has taken effect; the end of time if nothing shows it.
fn shown<M: Model>(history: &[Operation<M>], of: &Operation<M>) -> u64 {
    let returned = history.iter().filter_map(|operation| operation.returned.as_ref());
    let shows = returned.filter(|(result, _)| M::shows(&of.call, result));
    let first = shows.map(|(_, at)| *at).min().unwrap_or(u64::MAX);
    // One that is shown before it was called is a violation that the search finds.
    first.max(of.called)
}

impl<'a, M: Model> Search<'a, M> {
    fn new(history: &'a [Operation<M>]) -> Self {
        // Of two events at one time the call comes first: that allows more orders, never fewer.
        let mut times = Vec::new();
        let mut open = Vec::new();
        for (at, operation) in history.iter().enumerate() {
            let returned = match &operation.returned {
                Some((_, at)) => *at,
                None => shown(history, operation),
            };
            open.push(returned == u64::MAX);
            assert!(operation.called <= returned, "returned before it was called: {operation:?}");
            times.push((operation.called, 0, at));
            times.push((returned, 1, at));
        }
        times.sort_unstable();
        let mut events = vec![Event { operation: 0, is_call: false, before: 0, after: 1 }];
        let mut places = vec![(0, 0); history.len()];
        for (_, kind, operation) in times {
            let at = events.len();
            let is_call = kind == 0;
            events.push(Event { operation, is_call, before: at - 1, after: at + 1 });
            match is_call {
                true => places[operation].0 = at,
                false => places[operation].1 = at,
            }
        }
        let tail = events.len();
        events.push(Event { operation: 0, is_call: false, before: tail - 1, after: tail });
        let done = vec![0; history.len().div_ceil(64)];
        Search {
            history,
            events,
            places,
            open,
            done,
            tried: HashSet::new(),
            order: Vec::new(),
            longest: Vec::new(),
            steps: 0,
        }
    }

    fn run(mut self) -> Result<(), Violation> {
        let tail = self.events.len() - 1;
        let mut state = M::State::default();
        let mut at = self.events[0].after;
        // Whether those are tried that nothing shows.
        let mut late = false;
        while self.events[0].after != tail {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                let (all, open) =
                    (self.history.len(), self.open.iter().filter(|open| **open).count());
                let text = format!(
                    "no answer after {STEPS_MAX} steps for {all} operations, {open} of them \
                     open; {}",
                    self.explain()
                );
                return Err(Violation { undecided: true, text });
            }
            let event = self.events[at];
            if at != tail && event.is_call {
                if self.open[event.operation] != late {
                    at = event.after;
                    continue;
                }
                let operation = &self.history[event.operation];
                let result = operation.returned.as_ref().map(|(result, _)| result);
                let next = M::step(&state, &operation.call, result);
                if let Some(next) = next.filter(|next| self.is_new(event.operation, next)) {
                    self.order.push((event.operation, std::mem::replace(&mut state, next)));
                    self.take_out(event.operation);
                    (at, late) = (self.events[0].after, false);
                    continue;
                }
                at = event.after;
                continue;
            }
            if !late {
                (at, late) = (self.events[0].after, true);
                continue;
            }
            // A return: what it belongs to must be done by now. So take the last one back.
            if self.order.len() > self.longest.len() {
                self.longest = self.order.iter().map(|(operation, _)| *operation).collect();
            }
            let Some((operation, before)) = self.order.pop() else {
                return Err(Violation { undecided: false, text: self.explain() });
            };
            state = before;
            self.put_back(operation);
            late = self.open[operation];
            at = self.events[self.places[operation].0].after;
        }
        Ok(())
    }

    /// Whether this operation, done now, leads to something that was not tried.
    fn is_new(&mut self, operation: usize, next: &M::State) -> bool {
        let mut done = self.done.clone();
        done[operation / 64] |= 1 << (operation % 64);
        self.tried.insert((done, next.clone()))
    }

    fn take_out(&mut self, operation: usize) {
        self.done[operation / 64] |= 1 << (operation % 64);
        let (call, end) = self.places[operation];
        for at in [call, end] {
            let Event { before, after, .. } = self.events[at];
            self.events[before].after = after;
            self.events[after].before = before;
        }
    }

    fn put_back(&mut self, operation: usize) {
        self.done[operation / 64] &= !(1 << (operation % 64));
        let (call, end) = self.places[operation];
        for at in [end, call] {
            let Event { before, after, .. } = self.events[at];
            self.events[before].after = at;
            self.events[after].before = at;
        }
    }

    fn explain(&self) -> String {
        let mut state = M::State::default();
        let mut text = String::from("no order explains these; the longest that does:\n");
        let shown = |operation: &Operation<M>| {
            let end = operation.returned.as_ref();
            let end = end.map_or("outcome unknown".to_owned(), |(r, at)| format!("{r:?} at {at}"));
            format!(
                "client {} at {}: {:?} -> {end}",
                operation.client, operation.called, operation.call
            )
        };
        for at in &self.longest {
            let operation = &self.history[*at];
            let result = operation.returned.as_ref().map(|(result, _)| result);
            state = M::step(&state, &operation.call, result).expect("it was possible");
            text += &format!("  {} then {state:?}\n", shown(operation));
        }
        text += "and what does not follow:\n";
        let rest = (0..self.history.len()).filter(|at| !self.longest.contains(at));
        for at in rest.take(10) {
            text += &format!("  {}\n", shown(&self.history[at]));
        }
        text
    }
}
