//! What operators ask of the cluster: to take over from a host that is down, to pause, to resume.
//!
//! Guarantees: a resumption without force is proposed only when nothing is active, or by the active
//! node itself, AFTER it has given its word and is guarded by its lease (`core::authority`).
//!
//! Does not: judge what a forced one leads to. That is the operator's.

use crate::core::command::{Body, Command, Expired, Pause, Resume};
use crate::core::state::Activation;
use crate::core::{Index, Reading, Term, Token};

use super::authority::view;
use super::event::{Answer, Effect, RequestId};
use super::handle::{PauseError, TakeoverError};
use super::machine::StateMachine;
use super::node::Node;

/// A pause or resumption under way.
pub(super) struct Pausing {
    request: RequestId,
    on: bool,
    force: bool,
    /// Nothing is proposed in another term.
    term: Term,
    /// Where its entry is.
    pub proposed: Option<Index>,
}

impl<M: StateMachine> Node<M> {
    /// An operator says that what is active elsewhere has stopped.
    pub(super) fn take_over(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        let result = self.try_take_over();
        effects.push(Effect::Answer { request, answer: Answer::TakenOver(result) });
    }

    fn try_take_over(&mut self) -> Result<Token, TakeoverError> {
        if self.stopping {
            return Err(TakeoverError::Stopping);
        }
        let position = self.replica.position();
        if !self.leads() {
            let leader = position.leader.map(|id| self.name_of(id));
            return Err(TakeoverError::NotLeader { leader });
        }
        if self.applied.1 != position.term {
            let reason = "it has only just been elected, try again".to_owned();
            return Err(TakeoverError::Refused { reason });
        }
        let record = self.machine.cluster().activation().filter(|a| a.is_active());
        let record = record.filter(|a| a.invocation() != self.config.invocation);
        let Some(token) = record.map(Activation::token) else {
            return Err(TakeoverError::NothingActive);
        };
        let expired = Body::Expired(Expired { token: token.0, forced: true });
        let proposed = self.replica.propose(self.now, vec![Command::from(expired).to_bytes()]);
        let refused = proposed.map_err(|why| TakeoverError::Refused { reason: why.to_string() });
        refused.map(|_| token)
    }

    /// An operator pauses the cluster or lets it go on. Answered when it is applied.
    pub(super) fn pause_or_resume(
        &mut self,
        now: Reading,
        request: RequestId,
        on: bool,
        force: bool,
        effects: &mut Vec<Effect>,
    ) {
        let result = self.may_pause(on).and_then(|()| match self.machine.cluster().paused() {
            Some(pause) if !on => self.may_resume(now, pause, force).map(Some),
            None if on => Ok(Some(false)),
            _ => Ok(None),
        });
        let term = self.replica.position().term;
        let answer = match result {
            Ok(Some(force)) => {
                self.pausing = Some(Pausing { request, on, force, term, proposed: None });
                return;
            }
            Ok(None) => Ok(()), // It is so already.
            Err(error) => Err(error),
        };
        effects.push(Effect::Answer { request, answer: Answer::Paused(answer) });
    }

    fn may_pause(&self, on: bool) -> Result<(), PauseError> {
        if self.stopping {
            return Err(PauseError::Stopping);
        }
        let position = self.replica.position();
        if !self.leads() {
            let leader = position.leader.map(|id| self.name_of(id));
            return Err(PauseError::NotLeader { leader });
        }
        if self.applied.1 != position.term {
            return Err(refused("it has only just been elected, try again"));
        }
        if self.pausing.is_some() {
            return Err(refused("it is busy with the one before, try again"));
        }
        // An agent that does not know the command could not go on.
        let silent = self.connected.keys().find(|id| self.standing_of(**id).is_none());
        if let Some(id) = silent.filter(|_| on) {
            let name = self.name_of(*id);
            return Err(refused(&format!("node {name:?} runs a version that cannot be paused")));
        }
        Ok(())
    }

    /// Whether the pause may end, and whether that needs force. What is active here gives its word,
    /// or stops relying on the pause because an operator says so: BEFORE anything is proposed.
    fn may_resume(&mut self, now: Reading, pause: Index, force: bool) -> Result<bool, PauseError> {
        let record = self.machine.cluster().activation().filter(|a| a.is_active());
        let Some(record) = record else { return Ok(force) };
        let node = record.node();
        if record.invocation() != self.config.invocation {
            if force {
                return Ok(true);
            }
            if node == self.config.id {
                return Err(refused("its former run is not released yet, try again"));
            }
            return Err(PauseError::ActiveElsewhere { node: self.name_of(node) });
        }
        let released = self.release_committed();
        let view = view(&self.config, &self.replica, &self.machine, released, now);
        let guarded = self.authority.can_give_word(&view);
        if !guarded && !force {
            return Err(refused("it is not active under a lease now, try again"));
        }
        self.authority.give_word(pause);
        Ok(force && !guarded)
    }

    /// What is due for an operator who waits.
    pub(super) fn pausing_command(&self, term: Term) -> Option<Body> {
        let waits = self.pausing.as_ref().filter(|p| p.term == term && p.proposed.is_none())?;
        let cluster = self.machine.cluster();
        let Some(pause) = cluster.paused() else {
            return waits.on.then_some(Body::Pause(Pause {}));
        };
        if waits.on {
            return None;
        }
        let resume = Resume { pause, forced: waits.force, token: 0, term };
        match cluster.activation().filter(|a| a.is_active() && !waits.force) {
            None => Some(Body::Resume(resume)),
            Some(record) if self.word_given => {
                Some(Body::Resume(Resume { token: record.token().0, ..resume }))
            }
            // It demotes after all: then nothing is active.
            Some(_) => None,
        }
    }

    /// Answers an operator who waits, as soon as the outcome is known.
    pub(super) fn check_pausing(&mut self, effects: &mut Vec<Effect>) {
        let Some(waits) = &self.pausing else { return };
        let done = self.machine.cluster().paused().is_some() == waits.on;
        let led = self.leads() && self.replica.position().term == waits.term;
        let applied = waits.proposed.is_some_and(|index| self.applied.0 >= index);
        let result = match () {
            () if done => Ok(()),
            () if !led => Err(refused("leadership was lost; it may still take effect")),
            () if applied => Err(refused("something else came before it, try again")),
            () => return,
        };
        let answer = Answer::Paused(result);
        effects.push(Effect::Answer { request: waits.request, answer });
        self.pausing = None;
    }
}

fn refused(reason: &str) -> PauseError {
    PauseError::Refused { reason: reason.to_owned() }
}
