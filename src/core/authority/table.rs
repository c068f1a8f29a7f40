//! The table of authority: what follows when a host in one phase sees one signal (DESIGN 5.5, 5.6).
//!
//! Read it as the specification. The rows are in the order of [`Phase::ALL`], within one phase in
//! the order of [`Signal::ALL`]; the compiler checks that none is missing (end of this file).

use super::{Act, Phase, Rule, Signal};

use Phase::*;
use Signal::*;

const NOTHING: &[Act] = &[];
const START: &[Act] = &[Act::Start];
const STOP: &[Act] = &[Act::Stop];
const FENCE: &[Act] = &[Act::Fence];

/// Every pair of phase and signal, and what follows.
#[rustfmt::skip]
pub const TABLE: &[Rule] = &[
    rule(Unknown,   Entitled,    Unknown,   NOTHING, "not before the target is known inactive"),
    rule(Unknown,   Unentitled,  Unknown,   NOTHING, "not active anyway"),
    rule(Unknown,   Started,     Unknown,   NOTHING, "answers an order that was replaced"),
    rule(Unknown,   StartFailed, Unknown,   NOTHING, "answers an order that was replaced"),
    rule(Unknown,   StopQueued,  Unknown,   NOTHING, "waits for the proof"),
    rule(Unknown,   Stopped,     Settling,  NOTHING, "nothing of an earlier run is left"),
    rule(Unknown,   StopFailed,  Unknown,   NOTHING, "tried again after a pause, by Retry"),
    rule(Unknown,   Down,        Unknown,   NOTHING, "wanted"),
    rule(Unknown,   Retry,       Unknown,   STOP,    "until the target is known inactive"),
    rule(Unknown,   FenceDue,    Unknown,   FENCE,   "an earlier run left something behind"),
    rule(Unknown,   Quiet,       Unknown,   NOTHING, "what runs is not known yet"),
    rule(Unknown,   Owing,       Unknown,   NOTHING, "comes later"),
    rule(Unknown,   Discharged,  Unknown,   NOTHING, "the host comes first"),

    rule(Idle,      Entitled,    Starting,  START,   "the record, the term and the lease are ours"),
    rule(Idle,      Unentitled,  Idle,      NOTHING, "the usual state of a follower"),
    rule(Idle,      Started,     Idle,      NOTHING, "answers an order that was replaced"),
    rule(Idle,      StartFailed, Idle,      NOTHING, "answers an order that was replaced"),
    rule(Idle,      StopQueued,  Idle,      NOTHING, "nothing to wait for"),
    rule(Idle,      Stopped,     Idle,      NOTHING, "known already"),
    rule(Idle,      StopFailed,  Idle,      NOTHING, "tried again after a pause, by Retry"),
    rule(Idle,      Down,        Idle,      NOTHING, "on its way down already, or not up"),
    rule(Idle,      Retry,       Idle,      NOTHING, "no stop is due"),
    rule(Idle,      FenceDue,    Idle,      NOTHING, "nothing of ours runs"),
    rule(Idle,      Quiet,       Idle,      NOTHING, "scripts do not decide here"),
    rule(Idle,      Owing,       Releasing, NOTHING, "what cannot be used is given back"),
    rule(Idle,      Discharged,  Idle,      NOTHING, "nothing was owed"),

    rule(Starting,  Entitled,    Starting,  NOTHING, "goes on"),
    rule(Starting,  Unentitled,  Stopping,  STOP,    "lost again before the target was up"),
    rule(Starting,  Started,     Active,    NOTHING, "up, and still entitled: checked just before"),
    rule(Starting,  StartFailed, Stopping,  STOP,    "this host cannot; another shall try"),
    rule(Starting,  StopQueued,  Starting,  NOTHING, "nothing to wait for"),
    rule(Starting,  Stopped,     Starting,  NOTHING, "answers an order that was replaced"),
    rule(Starting,  StopFailed,  Starting,  NOTHING, "tried again after a pause, by Retry"),
    rule(Starting,  Down,        Stopping,  STOP,    "somebody stopped it: not for us to restart"),
    rule(Starting,  Retry,       Starting,  NOTHING, "no stop is due"),
    rule(Starting,  FenceDue,    Starting,  NOTHING, "the dead-man and the watchdog guard it"),
    rule(Starting,  Quiet,       Starting,  NOTHING, "scripts do not decide here"),
    rule(Starting,  Owing,       Starting,  NOTHING, "it is in use"),
    rule(Starting,  Discharged,  Starting,  NOTHING, "shows as Unentitled"),

    rule(Active,    Entitled,    Active,    NOTHING, "goes on"),
    rule(Active,    Unentitled,  Stopping,  STOP,    "lease, term or record lost, or planned"),
    rule(Active,    Started,     Active,    NOTHING, "said twice"),
    rule(Active,    StartFailed, Active,    NOTHING, "answers an order that was replaced"),
    rule(Active,    StopQueued,  Active,    NOTHING, "nothing to wait for"),
    rule(Active,    Stopped,     Active,    NOTHING, "answers an order that was replaced"),
    rule(Active,    StopFailed,  Active,    NOTHING, "tried again after a pause, by Retry"),
    rule(Active,    Down,        Stopping,  STOP,    "a stop not ordered here is a demotion too"),
    rule(Active,    Retry,       Active,    NOTHING, "no stop is due"),
    rule(Active,    FenceDue,    Active,    NOTHING, "the dead-man and the watchdog guard it"),
    rule(Active,    Quiet,       Active,    NOTHING, "scripts do not decide here"),
    rule(Active,    Owing,       Active,    NOTHING, "it is in use"),
    rule(Active,    Discharged,  Active,    NOTHING, "shows as Unentitled"),

    rule(Stopping,  Entitled,    Stopping,  NOTHING, "a demotion is never taken back"),
    rule(Stopping,  Unentitled,  Stopping,  NOTHING, "already"),
    rule(Stopping,  Started,     Stopping,  NOTHING, "answers an order that was replaced"),
    rule(Stopping,  StartFailed, Stopping,  NOTHING, "answers an order that was replaced"),
    rule(Stopping,  StopQueued,  Waiting,   NOTHING, "the service manager stops it from here"),
    rule(Stopping,  Stopped,     Settling,  NOTHING, "proven, the acknowledgement was lost"),
    rule(Stopping,  StopFailed,  Stopping,  NOTHING, "tried again after a pause, by Retry"),
    rule(Stopping,  Down,        Stopping,  NOTHING, "on its way down already, or not up"),
    rule(Stopping,  Retry,       Stopping,  STOP,    "not acknowledged: the dead-man is armed"),
    rule(Stopping,  FenceDue,    Stopping,  FENCE,   "no time left"),
    rule(Stopping,  Quiet,       Stopping,  NOTHING, "scripts do not decide here"),
    rule(Stopping,  Owing,       Stopping,  NOTHING, "comes later"),
    rule(Stopping,  Discharged,  Stopping,  NOTHING, "the host comes first"),

    rule(Waiting,   Entitled,    Waiting,   NOTHING, "a demotion is never taken back"),
    rule(Waiting,   Unentitled,  Waiting,   NOTHING, "already"),
    rule(Waiting,   Started,     Waiting,   NOTHING, "answers an order that was replaced"),
    rule(Waiting,   StartFailed, Waiting,   NOTHING, "answers an order that was replaced"),
    rule(Waiting,   StopQueued,  Waiting,   NOTHING, "said twice"),
    rule(Waiting,   Stopped,     Settling,  NOTHING, "target and members are proven inactive"),
    rule(Waiting,   StopFailed,  Waiting,   NOTHING, "tried again after a pause, by Retry"),
    rule(Waiting,   Down,        Waiting,   NOTHING, "on its way down already, or not up"),
    rule(Waiting,   Retry,       Stopping,  STOP,    "the job failed or something still runs"),
    rule(Waiting,   FenceDue,    Waiting,   FENCE,   "no time left for a clean stop"),
    rule(Waiting,   Quiet,       Waiting,   NOTHING, "scripts do not decide here"),
    rule(Waiting,   Owing,       Waiting,   NOTHING, "comes later"),
    rule(Waiting,   Discharged,  Waiting,   NOTHING, "the host comes first"),

    rule(Settling,  Entitled,    Settling,  NOTHING, "a demotion is never taken back"),
    rule(Settling,  Unentitled,  Settling,  NOTHING, "already"),
    rule(Settling,  Started,     Settling,  NOTHING, "answers an order that was replaced"),
    rule(Settling,  StartFailed, Settling,  NOTHING, "answers an order that was replaced"),
    rule(Settling,  StopQueued,  Settling,  NOTHING, "nothing to wait for"),
    rule(Settling,  Stopped,     Settling,  NOTHING, "known already"),
    rule(Settling,  StopFailed,  Settling,  NOTHING, "tried again after a pause, by Retry"),
    rule(Settling,  Down,        Settling,  NOTHING, "on its way down already, or not up"),
    rule(Settling,  Retry,       Settling,  NOTHING, "no stop is due"),
    rule(Settling,  FenceDue,    Settling,  FENCE,   "no time left for scripts"),
    rule(Settling,  Quiet,       Releasing, NOTHING, "the follower script has ended"),
    rule(Settling,  Owing,       Settling,  NOTHING, "comes later"),
    rule(Settling,  Discharged,  Settling,  NOTHING, "the host comes first"),

    rule(Releasing, Entitled,    Releasing, NOTHING, "what is being released is not used again"),
    rule(Releasing, Unentitled,  Releasing, NOTHING, "already"),
    rule(Releasing, Started,     Releasing, NOTHING, "answers an order that was replaced"),
    rule(Releasing, StartFailed, Releasing, NOTHING, "answers an order that was replaced"),
    rule(Releasing, StopQueued,  Releasing, NOTHING, "nothing to wait for"),
    rule(Releasing, Stopped,     Releasing, NOTHING, "known already"),
    rule(Releasing, StopFailed,  Releasing, NOTHING, "tried again after a pause, by Retry"),
    rule(Releasing, Down,        Releasing, NOTHING, "on its way down already, or not up"),
    rule(Releasing, Retry,       Releasing, NOTHING, "no stop is due"),
    rule(Releasing, FenceDue,    Releasing, NOTHING, "nothing of ours runs"),
    rule(Releasing, Quiet,       Releasing, NOTHING, "scripts do not decide here"),
    rule(Releasing, Owing,       Releasing, NOTHING, "already"),
    rule(Releasing, Discharged,  Idle,      NOTHING, "the record says so: nothing is owed"),
];

/// The row for one pair.
pub(super) fn lookup(from: Phase, signal: Signal) -> &'static Rule {
    &TABLE[from as usize * Signal::ALL.len() + signal as usize]
}

const fn rule(
    from: Phase,
    signal: Signal,
    to: Phase,
    acts: &'static [Act],
    comment: &'static str,
) -> Rule {
    Rule { from, signal, to, acts, comment }
}

// Total and in order: `lookup` may index, and no pair is without an answer.
const _: () = {
    let columns = Signal::ALL.len();
    assert!(TABLE.len() == Phase::ALL.len() * columns);
    let mut row = 0;
    while row < TABLE.len() {
        assert!(TABLE[row].from as usize == row / columns);
        assert!(TABLE[row].signal as usize == row % columns);
        row += 1;
    }
};
