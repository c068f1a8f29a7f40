//! The oracle: shows every invariant what it needs to see.

use std::collections::BTreeMap;

use raftctl::consensus::RaftRole;
use raftctl::core::{Index, Instant, NodeId, Term};
use raftctl::node::event::Effect;

use super::host::Host;
use super::invariants::acked_write_durable::AckedWriteDurable;
use super::invariants::active_is_guarded::ActiveIsGuarded;
use super::invariants::active_within_bound::ActiveWithinBound;
use super::invariants::durable_promises::DurablePromises;
use super::invariants::election_safety::ElectionSafety;
use super::invariants::ineligible_never_active::IneligibleNeverActive;
use super::invariants::leader_completeness::LeaderCompleteness;
use super::invariants::log_matching::LogMatching;
use super::invariants::one_active_node::OneActiveNode;
use super::invariants::paused_keeps_record::PausedKeepsRecord;
use super::invariants::paused_never_expires::PausedNeverExpires;
use super::invariants::promote_only_own_term::PromoteOnlyOwnTerm;
use super::invariants::release_names_dead_invocation::ReleaseNamesDeadInvocation;
use super::invariants::released_only_after_stopped::ReleasedOnlyAfterStopped;
use super::invariants::resume_needs_word::ResumeNeedsWord;
use super::invariants::rows_agree::RowsAgree;
use super::invariants::safety_without_vote_lease::SafetyWithoutVoteLease;
use super::invariants::script_order::ScriptOrder;
use super::invariants::state_machine_safety::StateMachineSafety;
use super::invariants::tokens_increase::TokensIncrease;
use super::plan::Settings;

#[derive(Default)]
pub struct Oracle {
    election_safety: ElectionSafety,
    log_matching: LogMatching,
    leader_completeness: LeaderCompleteness,
    pub state_machine_safety: StateMachineSafety,
    pub acked_write_durable: AckedWriteDurable,
    pub durable_promises: DurablePromises,
    /// Where the store is used, and no bug is planted that clients must notice.
    pub rows_agree: Option<RowsAgree>,
    /// The last index that anybody has applied.
    pub newest: Index,
    alone: bool,
    led: BTreeMap<NodeId, Term>,
    /// Elections seen, to tell a run in which nothing happened.
    pub elections: u64,
    pub authority: Authority,
}

/// What authority promises.
#[derive(Default)]
pub struct Authority {
    pub one_active: OneActiveNode,
    pub within_bound: ActiveWithinBound,
    pub promote: PromoteOnlyOwnTerm,
    pub released: ReleasedOnlyAfterStopped,
    pub dead: ReleaseNamesDeadInvocation,
    pub tokens: TokensIncrease,
    pub without_vote_lease: SafetyWithoutVoteLease,
    pub paused: PausedNeverExpires,
    pub script_order: ScriptOrder,
    pub ineligible: IneligibleNeverActive,
    pub keeps_record: PausedKeepsRecord,
    pub word: ResumeNeedsWord,
    pub guarded: ActiveIsGuarded,
}

impl Oracle {
    /// A single node appends before its new term is durable, because nobody else can see either;
    /// what it loses in a crash never was in any log.
    pub fn new(settings: &Settings) -> Self {
        let without_vote_lease = SafetyWithoutVoteLease::new(settings.vote_lease);
        let script_order = ScriptOrder::new(settings.nodes == 1);
        let authority = Authority { without_vote_lease, script_order, ..Authority::default() };
        let looks = settings.store.is_some_and(|plan| plan.looks_into_nodes);
        let rows_agree = looks.then(RowsAgree::default);
        Oracle { alone: settings.nodes == 1, rows_agree, authority, ..Oracle::default() }
    }

    /// The log begins anew, from a backup; what hosts do goes on.
    pub fn new_history(&mut self, settings: &Settings) {
        let mut fresh = Oracle::new(settings);
        fresh.elections = self.elections;
        fresh.authority = std::mem::take(&mut self.authority);
        fresh.authority.within_bound.new_history();
        *self = fresh;
    }

    /// After a turn of `host`'s node that asked for `effects`.
    pub fn after_turn(
        &mut self,
        now: Instant,
        host: &mut Host,
        effects: &[Effect],
    ) -> Result<(), String> {
        let id = host.id;
        let Some(running) = &mut host.running else { return Ok(()) };
        for effect in effects {
            match effect {
                Effect::Send(message) => self.durable_promises.sends(id, message)?,
                Effect::Persist { number, persist } => {
                    self.durable_promises.writes(id, *number, persist);
                }
                _ => {}
            }
            if !self.alone
                && let Effect::Persist { persist, .. } = effect
                && let Some(first) = persist.entries.first()
            {
                let replica = running.node.replica();
                let before = (first.index > 1).then(|| replica.term_of(first.index - 1)).flatten();
                self.log_matching.appends(id, before, &persist.entries)?;
            }
        }
        self.newest = self.newest.max(running.node.applied().0);
        let machine = running.node.machine_mut();
        if let Some((index, chain)) = machine.restored.take() {
            self.state_machine_safety.restores(id, index, chain)?;
        }
        for entry in std::mem::take(&mut machine.fresh) {
            self.leader_completeness.committed(entry.index, entry.term);
            self.state_machine_safety.applies(id, &entry)?;
        }
        for (index, digest) in std::mem::take(&mut machine.fresh_rows) {
            if let Some(rows_agree) = &mut self.rows_agree {
                rows_agree.applied(id, index, digest)?;
            }
        }
        let replica = running.node.replica();
        let position = replica.position();
        if position.role == RaftRole::Leader {
            self.election_safety.leads(id, position.term)?;
            if self.led.insert(id, position.term) != Some(position.term) {
                self.elections += 1;
                self.authority.without_vote_lease.elected(now, id);
                self.authority.within_bound.elected(now, position.term);
                self.leader_completeness.elected(id, replica, replica.first_index() - 1)?;
            }
        }
        Ok(())
    }
}
